"""What is asked: no network, shared by every family of experts.

R examples · C classes. `pool` maps a score to the space where answers are added, `unpool` maps it back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from xmodal.batch import Examples, View
from xmodal.errors import TargetError
from xmodal.features.column import Fitted
from xmodal.job import Json, TableName, TaskName
from xmodal.metrics import drawn, metric_names

T = TypeVar("T", bound="Task")
MARKS = (";", "|", ",")  # between the labels of a cell


@dataclass(frozen=True)
class Prediction:
    """What every family answers with; ensembles, calibration, bootstrap and files act on this and on nothing else."""

    score: np.ndarray  # probabilities [R, C] (of labels, each of its own) | value [R]
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
        """What `fit` found."""
        return self.fitted.config if self.fitted else {}

    def found(self: T, **values: Json) -> T:
        """A copy that has found more."""
        return replace(self, fitted=Fitted({**self.config, **values}))

    @property
    def classes(self) -> list[str]:
        """Canonical names of classes or labels, in canonical order; of a value none."""
        return list(self.config.get("classes", ()))

    @property
    def width(self) -> int:
        """C, how many numbers a score in pool space has."""
        return max(len(self.classes), 1)

    @property
    def positive(self) -> int:
        """The positive class, where there are two."""
        return 0

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
    def decide(self, score: np.ndarray) -> np.ndarray:
        """What is said of each row, [R]: class names, labels joined, values."""

    def guess(self, score: np.ndarray) -> np.ndarray | None:
        """The class that is said, [R]; None where classes are not what is asked."""
        return None

    def truth(self, y_R: np.ndarray) -> np.ndarray:
        """Of labelled examples: class indices (-1: never seen in training), labels (-1: unlabelled), or values in the target's units."""
        return y_R.astype(int)

    def misfit(self, y_R: np.ndarray, score: np.ndarray) -> np.ndarray:
        """How ill a score fits the truth, for split-conformal sets and intervals."""
        return np.asarray(np.abs(y_R - score))

    def conformal(self: T, y_R: np.ndarray, score: np.ndarray, coverage: float) -> T:
        """A copy that knows the misfit that this share of unseen rows stays below (split-conformal: Lei et al., 2018); None where
        there are too few rows to say."""
        misfit_R = np.sort(self.misfit(y_R, score))
        at = int(np.ceil((len(misfit_R) + 1) * coverage)) - 1
        most = float(misfit_R[at]) if at < len(misfit_R) else None
        return self.found(conformal={"coverage": coverage, "misfit": most, "rows": len(misfit_R)})

    @property
    def most_misfit(self) -> float:
        """That misfit; infinite where it isn't known."""
        found = self.config.get("conformal", {}).get("misfit")
        return np.inf if found is None else float(found)

    def metrics(self, prediction: Prediction, examples: Examples) -> dict[str, float | None]:
        """Over the labelled examples; an undefined one is None."""
        y_R, keep = labelled(examples)
        y_R, score, once_WR = self.truth(y_R[keep]), prediction.score[keep], np.ones((1, keep.sum()))
        guess_R, names = self.guess(score), metric_names(self.kind, self.width) if keep.any() else ()
        values = {name: float(drawn(name, y_R, score, self.positive, once_WR, guess_R)[0]) for name in names}
        return {name: value if np.isfinite(value) else None for name, value in values.items()}


@dataclass(frozen=True)
class Classify(Task):
    """One class of several. Pool space: the log-probability of each class, floored at 1 / (n + C)."""

    kind: ClassVar[str] = "classify"

    @property
    def prior(self) -> np.ndarray:
        """Log of the class shares in training, floored as `pool` is, [C]."""
        count_C = np.asarray(self.config["counts"], float)
        return self.pool(count_C / count_C.sum())

    @property
    def positive(self) -> int:
        """The positive class of two: as asked for, else the rarer one (the later in order when equal)."""
        if "positive" in self.config:
            return self.classes.index(self.config["positive"])
        count_C = np.asarray(self.config["counts"], float)
        return int(len(count_C) - 1 - np.argmin(count_C[::-1]))

    def fit(self, train: pa.Array) -> Classify:
        """Classes and their counts. Raises TargetError where fewer than two are left to tell apart."""
        classes = sorted(train.drop_null().unique().to_pylist(), key=class_order)
        if len(classes) < 2:
            found = f"only {classes[0]!r}" if classes else "no labelled row"
            raise TargetError(f"at least two classes in target {self.name!r}", found, "choose another target or label more rows")
        return self.found(classes=classes).recount(train)

    def recount(self, train: pa.Array) -> Classify:
        counts = Counter(train.to_pylist())
        return self.found(counts=[counts[c] for c in self.classes])

    def guess(self, score: np.ndarray) -> np.ndarray:
        """The class that is said, [R]: by the threshold of the positive class, by the least expected cost, or the likeliest."""
        decision = self.config.get("decision", {})
        if "threshold" in decision:
            return np.asarray(np.where(score[:, self.positive] >= decision["threshold"], self.positive, 1 - self.positive))
        return np.asarray((score @ np.array(decision["cost"])).argmin(1) if "cost" in decision else score.argmax(1))

    def decide(self, score: np.ndarray) -> np.ndarray:
        return np.asarray(np.array(self.classes, object)[self.guess(score)])

    def misfit(self, y_R: np.ndarray, score: np.ndarray) -> np.ndarray:
        """What is missing to certainty of the true class; 1 for one that training never saw."""
        return np.asarray(1 - np.where(y_R >= 0, score[np.arange(len(y_R)), np.maximum(y_R, 0)], 0.0))

    def sets(self, score: np.ndarray) -> np.ndarray:
        """Which classes cannot be ruled out, [R, C]; none where none is likely enough (Sadinle, Lei & Wasserman, 2019)."""
        return np.asarray(1 - score <= self.most_misfit)

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


@dataclass(frozen=True)
class MultiLabel(Task):
    """Any number of labels. A row's target is a struct, true, false or null (unlabelled) a label. Pool space: the logit of each
    label, floored as the class probabilities are."""

    kind: ClassVar[str] = "multilabel"

    @property
    def prior(self) -> np.ndarray:
        """Logit of each label's share, [L]."""
        return self.pool(np.asarray(self.config["counts"], float) / np.maximum(self.config["labelled"], 1))

    def fit(self, train: pa.Array) -> MultiLabel:
        """Raises TargetError where no label is both there and not there."""
        task = self.found(classes=[f.name for f in train.type]).recount(train)
        if not any(0 < n < m for n, m in zip(task.config["counts"], task.config["labelled"], strict=True)):
            do = "label more rows, or choose another target"
            raise TargetError(f"a label of {self.name!r} that some training rows have and others lack", "none", do)
        return task

    def recount(self, train: pa.Array) -> MultiLabel:
        y_RL = self.encode(train)[0].numpy()
        return self.found(counts=(y_RL == 1).sum(0).tolist(), labelled=(y_RL >= 0).sum(0).tolist())

    def pool(self, score: np.ndarray) -> np.ndarray:
        floor = 1.0 / (float(np.max(self.config["labelled"])) + 2)
        p = np.clip(score, floor, 1 - floor)
        return np.asarray(np.log(p / (1 - p)))

    def unpool(self, z: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-np.clip(z, -500, 500))))

    def encode(self, values: pa.Array) -> tuple[Tensor, Tensor]:
        """y [R, L]: 1, 0, or -1 where unlabelled; weight 0 where all are."""
        fields = [pc.cast(values.field(i), pa.float32()).fill_null(-1).to_numpy(zero_copy_only=False) for i in range(self.width)]
        y_RL = np.stack(fields, 1).astype(np.float32)
        return torch.from_numpy(y_RL), torch.from_numpy((y_RL >= 0).any(1).astype(np.float32))

    def decide(self, score: np.ndarray) -> np.ndarray:
        """The labels of at least even odds, joined by the first of MARKS that none of them holds."""
        names, mark = np.array(self.classes, object), mark_of(self.classes)
        return np.array([mark.join(names[p >= 0.5]) for p in score], object)


@dataclass(frozen=True)
class Regress(Task):
    """One value. Pool space: the standardised value, [R, 1]."""

    kind: ClassVar[str] = "regress"

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
        return self.found(mean=float(y.mean()), deviation=float(y.std()))

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

    def decide(self, score: np.ndarray) -> np.ndarray:
        return score

    def truth(self, y_R: np.ndarray) -> np.ndarray:
        return self.unpool(y_R[:, None])


def mark_of(names: Sequence[str]) -> str:
    """What joins several of them: the first of MARKS that none of them holds."""
    return next((m for m in MARKS if not any(m in name for name in names)), MARKS[0])


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


TASKS: dict[str, type[Task]] = {"classify": Classify, "regress": Regress, "multilabel": MultiLabel}
