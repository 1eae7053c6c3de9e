"""The contract of an encoder: features -> prepared (no network, once a fit) -> Tokens (the network)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import Extractor
from xmodal.job import Json
from xmodal.tokens import Tokens


class Encoder(nn.Module):
    """Turns U distinct present cells of one input into tokens; never meets a missing cell.

    Every shape comes from `Fitted`, so that `load_state_dict(strict=True)` always fits.
    """

    modality: ClassVar[frozenset[str]]  # which modalities it reads
    kind: ClassVar[Literal["descriptor", "raw"]]  # the two never share one network: the raw one memorises first
    extractor: ClassVar[Mapping[str, Extractor]]  # whose outputs it reads

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """The state that turns features into prepared ones, from training rows only."""
        raise NotImplementedError

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Features -> prepared; the same code for a table and for one row."""
        raise NotImplementedError

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__()

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """Another view of the same cells; the identity where nothing is safe."""
        return x

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        """U cells -> Tokens of U rows, all PRESENT."""
        raise NotImplementedError
