"""Encoders: features -> prepared -> tokens."""

from __future__ import annotations

from xmodal.encoders.audio import Acoustic
from xmodal.encoders.base import Encoder
from xmodal.encoders.descriptor import Descriptor
from xmodal.encoders.image import Cnn, FineCnn
from xmodal.encoders.plain import Plain
from xmodal.encoders.sequence import Recurrent, Transformer
from xmodal.encoders.stroke import Stroke
from xmodal.encoders.text import BiLstm
from xmodal.encoders.video import Clip

ENCODERS: dict[str, type[Encoder]] = {
    "descriptor": Descriptor, "acoustic": Acoustic, "cnn": Cnn, "fine": FineCnn, "bilstm": BiLstm, "clip": Clip, "stroke": Stroke,
    "recurrent": Recurrent, "transformer": Transformer, "plain": Plain,
}  # fmt: skip
