"""What is asked: no network, shared by every family of experts.

R examples · C classes. `pool` maps a score to the space where answers are added, `unpool` maps it back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from xmodal.batch import Examples, View
from xmodal.errors import TargetError
from xmodal.features.column import Fitted
from xmodal.job import Json, TableName, TaskName
from xmodal.metrics import classification_metrics, regression_metrics


@dataclass(frozen=True)
class Prediction:
    """What every family answers with; ensembles, calibration, bootstrap and files act on this and on nothing else."""

    score: np.ndarray  # probabilities [R, C] | value [R]
    state_RM: np.ndarray
    item_RK: np.ndarray | None = None
    rank_R: np.ndarray | None = None


@dataclass(frozen=True)
class Task(ABC):
    """A task knows its name, what it reads, its fitted classes or scale, and the space where answers are added."""

    name: TaskName
    views: tuple[View, ...]
    fitted: Fitted | None = None
    refers: TableName | None = None
    weight: float = 1.0
    kind: ClassVar[str]

    @property
    def config(self) -> Mapping[str, Any]:
        """What `fit` found. Raises TargetError before it."""
        if self.fitted is None:
            raise TargetError("a fitted task", f"task {self.name!r} before its fit", "call fit first")
        return self.fitted.config

    @property
    @abstractmethod
    def width(self) -> int:
        """C, how many numbers a score in pool space has."""

    @property
    @abstractmethod
    def prior(self) -> np.ndarray:
        """What is said of a row that has nothing, in pool space, [C]."""

    @abstractmethod
    def fit(self, train: pa.Array) -> Task:
        """A copy that holds its classes or scale. Raises TargetError where there is nothing to tell apart."""

    @abstractmethod
    def recount(self, train: pa.Array) -> Task:
        """The same classes, with the shares or scale of other rows: a fold's."""

    @abstractmethod
    def pool(self, score: np.ndarray) -> np.ndarray:
        """Score -> the space where answers are added, [R, C]."""

    @abstractmethod
    def unpool(self, z: np.ndarray) -> np.ndarray:
        """Back again, normalised."""

    @abstractmethod
    def encode(self, values: pa.Array) -> tuple[Tensor, Tensor]:
        """y and weight of each row; an unlabelled one has weight 0."""

    @abstractmethod
    def metrics(self, prediction: Prediction, examples: Examples) -> dict[str, float | None]:
        """Over the labelled examples; an undefined one is None."""


@dataclass(frozen=True)
class Classify(Task):
    """One class of several. Pool space: the log-probability of each class, floored at 1 / (n + C)."""

    kind: ClassVar[str] = "classify"

    @property
    def classes(self) -> list[str]:
        """Canonical names, in canonical order."""
        return list(self.config["classes"])

    @property
    def width(self) -> int:
        return len(self.classes)

    @property
    def prior(self) -> np.ndarray:
        """Log of the class shares in training, floored as `pool` is, [C]."""
        count_C = np.asarray(self.config["counts"], float)
        return self.pool(count_C / count_C.sum())

    @property
    def positive(self) -> int:
        """The positive class of two: the rarer one (the later in order when equal)."""
        count_C = np.asarray(self.config["counts"], float)
        return int(len(count_C) - 1 - np.argmin(count_C[::-1]))

    def fit(self, train: pa.Array) -> Classify:
        """Classes and their counts. Raises TargetError where fewer than two are left to tell apart."""
        counts = Counter(v for v in train.to_pylist() if v is not None)
        classes = sorted(counts, key=class_order)
        if len(classes) < 2:
            found = f"only {classes[0]!r}" if classes else "no labelled row"
            raise TargetError(f"at least two classes in target {self.name!r}", found, "choose another target or label more rows")
        return replace(self, fitted=Fitted({"classes": list(classes), "counts": [counts[c] for c in classes]}))

    def recount(self, train: pa.Array) -> Classify:
        counts = Counter(v for v in train.to_pylist() if v is not None)
        config: dict[str, Json] = {"classes": list(self.classes), "counts": [counts[c] for c in self.classes]}
        return replace(self, fitted=Fitted(config))

    def pool(self, score: np.ndarray) -> np.ndarray:
        floor = 1.0 / (float(np.sum(self.config["counts"])) + self.width)
        return np.asarray(np.log(np.maximum(score, floor)))

    def unpool(self, z: np.ndarray) -> np.ndarray:
        p = np.exp(z - z.max(-1, keepdims=True))
        return np.asarray(p / p.sum(-1, keepdims=True))

    def encode(self, values: pa.Array) -> tuple[Tensor, Tensor]:
        """Class of each row, and weight 1; an unlabelled row has class -1 and weight 0, a class that training never
        saw has class -1 and weight 1 (nothing learns from it, and every metric counts it as wrong)."""
        index = {c: i for i, c in enumerate(self.classes)}
        labels = values.to_pylist()
        y = torch.tensor([index.get(v, -1) for v in labels], dtype=torch.int64)
        return y, torch.tensor([float(v is not None) for v in labels])

    def metrics(self, prediction: Prediction, examples: Examples) -> dict[str, float | None]:
        y_R, keep = labelled(examples)
        return classification_metrics(y_R[keep].astype(int), prediction.score[keep], self.positive)


@dataclass(frozen=True)
class Regress(Task):
    """One value. Pool space: the standardised value, [R, 1]."""

    kind: ClassVar[str] = "regress"

    @property
    def width(self) -> int:
        return 1

    @property
    def prior(self) -> np.ndarray:
        return np.zeros(1)

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and deviation in training."""
        return float(self.config["mean"]), float(self.config["deviation"])

    def fit(self, train: pa.Array) -> Regress:
        """Mean and deviation. Raises TargetError where the target is constant or has an infinite value."""
        y = np.asarray(train.drop_null().cast(pa.float64()), float)
        y = y[~np.isnan(y)]
        if not np.isfinite(y).all():
            raise TargetError(f"finite numbers in target {self.name!r}", "an infinite value", "correct or empty that cell")
        if len(y) < 2 or np.ptp(y) == 0:
            found = f"only the value {y[0]:g}" if len(y) else "no labelled row"
            raise TargetError(f"at least two values in target {self.name!r}", found, "choose another target or label more rows")
        return replace(self, fitted=Fitted({"mean": float(y.mean()), "deviation": float(y.std())}))

    def recount(self, train: pa.Array) -> Regress:
        return self.fit(train) if len(train.drop_null().unique()) > 1 else self

    def pool(self, score: np.ndarray) -> np.ndarray:
        mean, deviation = self.scale
        return np.asarray((score.reshape(-1, 1) - mean) / deviation)

    def unpool(self, z: np.ndarray) -> np.ndarray:
        mean, deviation = self.scale
        return np.asarray(z[..., 0] * deviation + mean)

    def encode(self, values: pa.Array) -> tuple[Tensor, Tensor]:
        """Standardised value [R] (0 where unlabelled), and weight: 0 where unlabelled."""
        mean, deviation = self.scale
        y = values.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(float)
        there = np.isfinite(y)
        z = (np.where(there, y, mean) - mean) / deviation
        return torch.from_numpy(z.astype(np.float32)), torch.from_numpy(there.astype(np.float32))

    def metrics(self, prediction: Prediction, examples: Examples) -> dict[str, float | None]:
        """Over the labelled examples, in the target's own units."""
        y_R, keep = labelled(examples)
        mean, deviation = self.scale
        return regression_metrics(y_R[keep] * deviation + mean, prediction.score[keep])


def labelled(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """y and which examples carry a label."""
    if examples.y is None:
        raise TargetError("labelled examples", "examples without labels", "give rows that hold the target column")
    return examples.y.double().numpy(), examples.weight_R.numpy() > 0


def class_order(name: str) -> tuple[int, float, str]:
    """Numbers in numeric order, then words in code-point order: the same on every machine."""
    try:
        value = float(name)
        return (0, value, name) if np.isfinite(value) else (1, 0.0, name)
    except ValueError:
        return (1, 0.0, name)


TASKS: dict[str, type[Task]] = {"classify": Classify, "regress": Regress}
