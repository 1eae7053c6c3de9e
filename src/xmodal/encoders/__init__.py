"""Encoders: features -> prepared -> tokens."""

from __future__ import annotations

from xmodal.encoders.base import Encoder
from xmodal.encoders.descriptor import Descriptor
from xmodal.encoders.image import Cnn
from xmodal.encoders.plain import Plain
from xmodal.encoders.stroke import Stroke
from xmodal.encoders.text import BiLstm

ENCODERS: dict[str, type[Encoder]] = {"descriptor": Descriptor, "cnn": Cnn, "stroke": Stroke, "bilstm": BiLstm, "plain": Plain}
