"""Encoders: features -> prepared -> tokens."""

from __future__ import annotations

from xmodal.encoders.audio import Acoustic
from xmodal.encoders.base import Encoder
from xmodal.encoders.descriptor import Descriptor
from xmodal.encoders.image import Cnn
from xmodal.encoders.plain import Plain
from xmodal.encoders.text import BiLstm
from xmodal.encoders.video import Clip

ENCODERS: dict[str, type[Encoder]] = {
    "descriptor": Descriptor, "acoustic": Acoustic, "cnn": Cnn, "bilstm": BiLstm, "clip": Clip, "plain": Plain
}  # fmt: skip
