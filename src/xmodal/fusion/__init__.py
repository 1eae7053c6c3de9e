"""Fusions: the inputs' tokens of a row -> one Joint."""

from __future__ import annotations

from xmodal.fusion.base import Fusion
from xmodal.fusion.concat import Concat
from xmodal.fusion.mean import Mean
from xmodal.fusion.transformer import Transformer

FUSIONS: dict[str, type[Fusion]] = {"mean": Mean, "concat": Concat, "transformer": Transformer}
