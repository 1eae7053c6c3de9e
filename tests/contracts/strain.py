"""What the strain tests share: an encoder of vectors, a task of so many classes, columns of random vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import torch
from tests.doubles import pointed
from torch import Tensor, nn

from xmodal.batch import View
from xmodal.encoders.base import Encoder, present
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import Extractor
from xmodal.job import Json, Key
from xmodal.tasks import Classify
from xmodal.tokens import Tokens

WIDTH = 16


class Vectors(Encoder):
    """`x` [U, N, F] -> N tokens; `unit` [U, N], if there, says to which label unit each belongs."""

    modality: ClassVar[frozenset[str]] = frozenset({"vector"})
    kind: ClassVar[Literal["descriptor", "raw"]] = "descriptor"
    extractor: ClassVar[Mapping[str, Extractor]] = {}

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        return Fitted({"size": train.dense["x"].shape[2]})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        return column

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.linear, self.calls = nn.Linear(fitted.config["size"], width), 0  # type: ignore[arg-type]

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        self.calls += 1
        tokens = present(self.linear(x["x"]))
        return replace(tokens, unit_BN=x["unit"]) if "unit" in x else tokens


def vectors(x_UNF: np.ndarray, row_B: np.ndarray | None = None, **more: np.ndarray) -> FeatureColumn:
    return pointed({"x": x_UNF.astype(np.float32), **more}, {}, np.arange(len(x_UNF)) if row_B is None else row_B)


def encoder(column: FeatureColumn) -> Vectors:
    return Vectors(Vectors.fit(column, {}, 0), WIDTH)


def classes(name: str, count: int, *views: tuple[str, set[Key]], weight: float = 1.0) -> Classify:
    fitted = Fitted({"classes": [str(c) for c in range(count)], "counts": [1] * count})
    return Classify(name, tuple(View(table, frozenset(keys)) for table, keys in views), fitted, weight=weight)


def learn(module: nn.Module, loss: Callable[[], Tensor], steps: int = 150, rate: float = 0.02) -> None:
    optimiser = torch.optim.Adam(module.parameters(), rate)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    module.eval()
