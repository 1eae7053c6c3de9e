"""The contract of an encoder: features -> prepared (no network, once a fit) -> Tokens (the network)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import Extractor
from xmodal.job import Json
from xmodal.tokens import Tokens


class Encoder(nn.Module, ABC):
    """Turns U distinct present cells of one input into tokens; never meets a missing cell.

    Every shape comes from `Fitted`, so that `load_state_dict(strict=True)` always fits.
    """

    modality: ClassVar[frozenset[str]]  # which modalities it reads
    kind: ClassVar[Literal["descriptor", "raw"]]  # the two never share one network: the raw one memorises first
    extractor: ClassVar[Mapping[str, Extractor]] = {}  # whose outputs it reads, by modality

    @classmethod
    @abstractmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """The state that turns features into prepared ones, from training rows only."""

    @staticmethod
    @abstractmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Features -> prepared; the same code for a table and for one row. A dense `unread` [U, 2] says how many units each cell has,
        and how many of them are left out."""

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__()

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """Another view of the same cells; the identity where nothing is safe."""
        return x

    def pace(self, parameter: str) -> float:
        """The learning rate of a parameter, as a share of the others'."""
        return 1.0

    @abstractmethod
    def forward(self, x: dict[str, Tensor]) -> Tokens:
        """U cells -> Tokens of U rows, all PRESENT."""


def number(value: Json) -> float:
    """A setting that is a number."""
    assert isinstance(value, (int, float))
    return float(value)


def present(x_UND: Float[Tensor, "U N D"], mask_UN: Bool[Tensor, "U N"] | None = None) -> Tokens:
    """Tokens of U present cells."""
    there_UN = torch.ones(x_UND.shape[:2], dtype=torch.bool, device=x_UND.device) if mask_UN is None else mask_UN
    return Tokens(x_UND, there_UN, torch.zeros(len(x_UND), dtype=torch.int64, device=x_UND.device))
