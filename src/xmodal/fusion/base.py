"""The contract of a fusion: the inputs' tokens of each row -> one Joint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import nn

from xmodal.job import Json, Key
from xmodal.tokens import Joint, Tokens


class Fusion(nn.Module, ABC):
    """Built for a table's inputs; row by row; free of their order. `tokens` always holds every input: absence is a
    mask and nothing else, so dropped, hidden and missing are one. Nothing present: finite, with gradient."""

    def __init__(self, inputs: Sequence[Key], width: int, settings: Mapping[str, Json]) -> None:
        super().__init__()
        self.inputs = tuple(sorted(inputs))

    @abstractmethod
    def forward(self, tokens: Mapping[Key, Tokens]) -> Joint:
        """Every input's tokens of the same B rows -> their Joint."""
