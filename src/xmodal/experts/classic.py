"""What the classic experts share: their targets, their matrices, how they are kept.

B rows · F features · C classes
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from scipy.sparse import csr_matrix, hstack

from xmodal.experts.base import Data, Expert, Settings, states
from xmodal.experts.descriptors import DESCRIPTORS, Descriptor
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.job import Budget, Input, Json, Key, Rows, State, TaskName, registered
from xmodal.tasks import Prediction, Task

COLUMNS = 100  # of a tree's matrix: more cost boosting minutes


class Classic(Expert):
    """An expert on one task over classic descriptors. `arrays` and `config` are all that its fit leaves."""

    family: ClassVar[Literal["features", "deep", "hybrid"]] = "features"

    def __init__(self, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], settings: Settings) -> None:
        super().__init__(tasks, inputs, settings)
        (self.task,) = tasks.values()
        self.parts: dict[Key, Fitted] = {}
        self.config: dict[str, Json] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def fit(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """Learn on the labelled ones of `rows`; the round that `valid` prefers, or exactly `budget.epochs`."""
        self.parts = {k: data.prepared(k, self.reader(k), {}, rows)[0] for k in self.inputs}
        return self.learn(data, self.labelled(data, rows), None if valid is None else self.labelled(data, valid), budget, seed)

    @abstractmethod
    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """Fill `config` and `arrays`."""

    @abstractmethod
    def score(self, data: Data, rows: Rows, hide: frozenset[Key]) -> np.ndarray:
        """Probabilities [B, C], or standardised values [B, 1]."""

    def predict(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> dict[TaskName, Prediction]:
        score = self.score(data, rows, hide)
        if self.task.kind != "classify":
            score = self.task.unpool(score)
        return {self.task.name: Prediction(score, states(data, self.inputs, rows, hide))}

    def fitted(self) -> Fitted:
        parts = {str(i): part for i, part in enumerate(self.parts.values())} | {"model": Fitted(self.config, self.arrays)}
        return Fitted.merge(parts, {"settings": dict(self.settings)})

    @classmethod
    def restore(cls, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], fitted: Fitted) -> Classic:
        expert = cls(tasks, inputs, fitted.config["settings"])  # type: ignore[arg-type]
        expert.parts = {key: fitted.part(str(i)) for i, key in enumerate(expert.inputs)}
        model = fitted.part("model")
        expert.config, expert.arrays = model.config, model.arrays
        return expert

    def reader(self, key: Key) -> type[Descriptor]:
        """The descriptor of an input's modality."""
        return registered("descriptors", DESCRIPTORS, self.inputs[key].modality)

    def described(self, data: Data, key: Key, rows: Rows, hide: frozenset[Key]) -> FeatureColumn:
        """One input of these rows, described."""
        column = data.transformed(key, self.reader(key), self.parts[key]).rows(rows)
        return column.hidden() if key in hide else column

    def labelled(self, data: Data, rows: Rows) -> Rows:
        """Those that carry a label that is known."""
        examples = data.examples[self.task.name]
        assert examples.y is not None
        good_B = examples.weight_R.numpy() > 0
        if self.task.kind == "classify":
            good_B &= examples.y.numpy() >= 0
        return np.asarray(rows[good_B[rows]])

    def target(self, data: Data, rows: Rows) -> np.ndarray:
        """Class indices or standardised values."""
        y_B = data.examples[self.task.name].y
        assert y_B is not None
        return np.asarray(y_B.numpy()[rows])

    def blocks(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> list[np.ndarray]:
        """`dims` of each input, [B, F] each, NaN where missing; of media only so many that COLUMNS suffice."""
        found = [self.described(data, k, rows, hide).pooled("dims") for k in self.inputs]
        plain = [i.modality == "table" for i in self.inputs.values()]
        wide = sum(x.shape[1] for x, p in zip(found, plain, strict=True) if p)
        each = max((COLUMNS - wide) // max(plain.count(False), 1), 3)
        return [x if p else x[:, :each] for x, p in zip(found, plain, strict=True)]

    def matrix(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> np.ndarray:
        """The blocks side by side, as trees read them, [B, F]."""
        return np.concatenate(self.blocks(data, rows, hide), 1)

    def spread(self, score_BK: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Probabilities over all of the task's classes; a class that the fold lacked has none."""
        if len(classes) == self.task.width:
            return score_BK
        out_BC = np.zeros((len(score_BK), self.task.width))
        out_BC[:, classes] = score_BK
        return out_BC


def linear_matrix(expert: Classic, data: Data, rows: Rows, hide: frozenset[Key]) -> csr_matrix:
    """`linear` of every input side by side, sparse, and a 1 for each input that a row lacks (where it isn't the only)."""
    blocks = []
    for key in expert.inputs:
        column = expert.described(data, key, rows, hide)
        if "linear" in column.dense:
            blocks.append(csr_matrix(column.pooled("linear", fill=0.0)))
        else:
            weight, ends = column.ragged["linear.weight"]
            cells = csr_matrix((weight, column.ragged["linear.index"][0], ends), (len(ends) - 1, expert.config["terms"][key]))  # type: ignore[index,call-overload]
            there_BK = column.row_BK >= 0
            row, file = np.nonzero(there_BK)
            share = 1 / there_BK.sum(1)[row]
            point = csr_matrix((share, (row, column.row_BK[row, file])), (len(rows), len(ends) - 1))
            blocks.append(point @ cells)
        if len(expert.inputs) > 1:
            blocks.append(csr_matrix((column.state_B != State.PRESENT).astype(float)[:, None]))
    return hstack(blocks, format="csr")
