"""Encoders: features -> prepared -> tokens."""

from __future__ import annotations

from xmodal.encoders.base import Encoder
from xmodal.encoders.descriptor import Descriptor
from xmodal.encoders.image import Cnn

ENCODERS: dict[str, type[Encoder]] = {"descriptor": Descriptor, "cnn": Cnn}
