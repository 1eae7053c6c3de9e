"""Encoders: features -> prepared -> tokens."""

from __future__ import annotations

from xmodal.encoders.base import Encoder
from xmodal.encoders.descriptor import Descriptor
from xmodal.encoders.image import Cnn
from xmodal.encoders.plain import Plain
from xmodal.encoders.sequence import Recurrent, Transformer
from xmodal.encoders.text import BiLstm

ENCODERS: dict[str, type[Encoder]] = {
    "descriptor": Descriptor, "cnn": Cnn, "bilstm": BiLstm, "recurrent": Recurrent, "transformer": Transformer, "plain": Plain
}  # fmt: skip
