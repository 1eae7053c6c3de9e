"""What the classic experts share: their targets, their matrices, how they are kept.

B rows · F features · C classes · N nodes · T trees · L leaves
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
from scipy.special import softmax

from xmodal.errors import ArtefactError
from xmodal.experts.base import Data, Expert, Settings, states
from xmodal.experts.data import MOST
from xmodal.experts.descriptors import DESCRIPTORS, Descriptor, FrozenDescriptor, with_frozen
from xmodal.experts.networks import is_frozen
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.job import Budget, Input, Json, Key, Rows, TaskName, registered, registry
from xmodal.splits import thin
from xmodal.tasks import Prediction, Task

Nodes = Mapping[str, np.ndarray]
NODES = ("feature", "threshold", "missing", "left", "right")  # arrays with an entry a node
COLUMNS = 100  # of a tree's matrix: more cost boosting minutes


class Problem(NamedTuple):
    """One target of a model that has one."""

    at: np.ndarray | slice  # which of the rows; a slice copies nothing
    y: np.ndarray
    weight: np.ndarray | None


class Classic(Expert):
    """An expert on one task over classic descriptors. `arrays` and `config` are all that its fit leaves."""

    family = "features"

    def __init__(self, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], settings: Settings) -> None:
        super().__init__(tasks, inputs, settings)
        (self.task,) = tasks.values()
        self.config: dict[str, Json] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.reads = 0  # columns that restored trees need

    def fit(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """Learn on the labelled ones of `rows`; the round that `valid` prefers, or exactly `budget.epochs`."""
        self.parts = {k: data.fit_part(k, self.reader(k), {}, rows) for k in self.inputs}
        some = thin(self.labelled(data, rows), MOST, seed)
        return self.learn(data, some, None if valid is None else self.labelled(data, valid), budget, seed)

    @abstractmethod
    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """Fill `config` and `arrays`."""

    @abstractmethod
    def score(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> np.ndarray:
        """Probabilities [B, C] (of labels, each of its own), or standardised values [B, 1]."""

    def predict(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> dict[TaskName, Prediction]:
        score = self.score(data, rows, hide)
        if self.task.kind == "regress":
            score = self.task.unpool(score)
        return {self.task.name: Prediction(score, states(data, self.inputs, rows, hide))}

    def fitted(self) -> Fitted:
        parts = {str(i): part for i, part in enumerate(self.parts.values())} | {"model": Fitted(self.config, self.arrays)}
        return Fitted.merge(parts, {"settings": dict(self.settings)})

    @classmethod
    def restore(cls, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], fitted: Fitted) -> Classic:
        expert = cls(tasks, inputs, cast(Settings, fitted.config["settings"]))
        expert.parts = {key: fitted.part(str(i)) for i, key in enumerate(expert.inputs)}
        model = fitted.part("model")
        expert.config, expert.arrays = model.config, model.arrays
        expert.reads = check(model.arrays) if "root" in model.arrays else 0
        return expert

    def reader(self, key: Key) -> type[Descriptor]:
        """The descriptor of an input's modality, with what a frozen network made of it where one is asked for; `settings`: reads, classic
        or frozen alone."""
        given, alone = self.inputs[key], self.settings.get("reads")
        if not is_frozen(given) or alone == "classic":
            return registered("descriptors", DESCRIPTORS, given.modality)
        if alone == "frozen" or given.modality not in registry("descriptors", DESCRIPTORS):
            return FrozenDescriptor
        return with_frozen(registered("descriptors", DESCRIPTORS, given.modality))

    def described(self, data: Data, key: Key, rows: Rows, hide: frozenset[Key] = frozenset()) -> FeatureColumn:
        """One input of these rows, described."""
        column = data.transformed(key, self.reader(key), self.parts[key], rows)
        return column.hidden() if key in hide else column

    def labelled(self, data: Data, rows: Rows) -> Rows:
        """Those that carry a label that is known."""
        good_R = data.examples[self.task.name].weight_R.numpy()[rows] > 0
        if self.task.kind == "classify":
            good_R &= self.target(data, rows) >= 0
        return np.asarray(rows[good_R])

    def target(self, data: Data, rows: Rows) -> np.ndarray:
        """Class indices, standardised values, or labels [B, L]: 1, 0, -1 unlabelled."""
        y_B = data.examples[self.task.name].y
        assert y_B is not None
        return np.asarray(y_B.numpy()[rows])

    def weights(self, data: Data, rows: Rows) -> np.ndarray | None:
        """How much each row counts, the mean 1; None where all count alike."""
        weight_B = data.examples[self.task.name].weight_R.numpy()[rows].astype(float)
        return weight_B / weight_B.mean() if len(rows) and np.ptp(weight_B) > 0 else None

    def problems(self, data: Data, rows: Rows) -> list[Problem]:
        """What is to be learnt from these rows: one problem, or one a label, of the rows where it is known."""
        y_B, weight_B = self.target(data, rows), self.weights(data, rows)
        if y_B.ndim == 1:
            return [Problem(slice(None), y_B, weight_B)]
        known = [np.flatnonzero(y >= 0) for y in y_B.T]
        return [Problem(at, y[at].astype(int), None if weight_B is None else weight_B[at]) for at, y in zip(known, y_B.T, strict=True)]

    def blocks(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> list[np.ndarray]:
        """`dims` of each input, [B, F] each, NaN where missing; of media only so many that COLUMNS suffice."""
        found = [self.described(data, k, rows, hide).pooled("dims") for k in self.inputs]
        plain = [i.modality == "table" for i in self.inputs.values()]
        wide = sum(x.shape[1] for x, p in zip(found, plain, strict=True) if p)
        each = max((COLUMNS - wide) // max(plain.count(False), 1), 3)
        cut = [x if p else x[:, :each] for x, p in zip(found, plain, strict=True)]
        return [x if x.shape[1] else np.zeros((len(x), 1)) for x in cut]  # trees need a column

    def matrix(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> np.ndarray:
        """The blocks side by side, as trees read them, [B, F]."""
        x_BF = np.concatenate(self.blocks(data, rows, hide), 1)
        if x_BF.shape[1] < self.reads:
            raise ArtefactError(f"trees over {x_BF.shape[1]} columns", f"trees that read column {self.reads}", "fit the model again")
        return x_BF

    def loss(self, data: Data, rows: Rows) -> float:
        """Mean log-loss or squared error; 0 where nothing is labelled."""
        if not len(rows):
            return 0.0
        score, y = self.score(data, rows), self.target(data, rows)
        if self.task.kind == "regress":
            loss_B = (score[:, 0] - y) ** 2
        elif self.task.kind == "multilabel":
            z_BL = self.task.pool(score)
            loss_B = ((np.logaddexp(0, z_BL) - y * z_BL) * (y >= 0)).sum(1) / np.maximum((y >= 0).sum(1), 1)
        else:
            loss_B = -self.task.pool(score)[np.arange(len(y)), y]
        return float(np.average(loss_B, weights=self.weights(data, rows)))

    def probabilities(self, z_BK: np.ndarray) -> np.ndarray:
        """The softmax over the classes that the fit saw, spread over all."""
        return self.spread(softmax(z_BK, 1))

    def spread(self, score_BK: np.ndarray) -> np.ndarray:
        """Probabilities over all of the task's classes; one that the fit did not see has none."""
        classes = self.arrays["classes"]
        if len(classes) in (0, self.task.width):
            return score_BK
        out_BC = np.zeros((len(score_BK), self.task.width))
        out_BC[:, classes] = score_BK
        return out_BC


def pack(trees: Sequence[Nodes]) -> dict[str, np.ndarray]:
    """Trees with `feature`, `threshold`, `left`, `right`, `missing` (goes left), `leaf` and `value` a node, one after
    the other. A leaf is its own left child; its right one is its row of `value` [L, C]."""
    joined = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    size = np.array([len(tree["leaf"]) for tree in trees])
    root = np.cumsum(size) - size
    leaf, shift = joined.pop("leaf").astype(bool), np.repeat(root, size)
    return {
        "root": root.astype(np.int32),
        "feature": np.where(leaf, 0, joined["feature"]).astype(np.int16),
        "threshold": joined["threshold"],
        "missing": joined["missing"].astype(bool),
        "left": np.where(leaf, np.arange(len(leaf)), joined["left"] + shift).astype(np.int32),
        "right": np.where(leaf, np.cumsum(leaf) - 1, joined["right"] + shift).astype(np.int32),
        "value": joined["value"][leaf],
    }


def between(nodes: Nodes, x_BF: np.ndarray) -> np.ndarray:
    """The thresholds, [N]; one that is a cell moves halfway to the next greater one (from the greatest to infinity): the rows are parted
    as before, and no cell is kept."""
    threshold_N, inner_N = nodes["threshold"].copy(), nodes["left"] != np.arange(len(nodes["left"]))
    for feature in np.unique(nodes["feature"][inner_N]).tolist():
        cell_U = np.unique(x_BF[np.isfinite(x_BF[:, feature]), feature])
        at = np.flatnonzero(inner_N & (nodes["feature"] == feature) & np.isin(threshold_N, cell_U))
        low, next_U = threshold_N[at], np.append(cell_U[1:], np.inf)
        threshold_N[at] = low + (next_U[np.searchsorted(cell_U, low)] - low) / 2
    return threshold_N


def check(nodes: Nodes) -> int:
    """How many columns the trees read. Raises ArtefactError unless nodes are as `pack` makes them: then every walk ends, and no
    index leads out of an array."""
    root, left, right, feature = (nodes[name].astype(np.int64) for name in ("root", "left", "right", "feature"))
    count = len(left)
    ends = np.append(root[1:], count)
    whole = len(root) > 0 and root[0] == 0 and (root < ends).all() and {nodes[n].shape for n in NODES} == {(count,)}
    if whole:
        at, end = np.arange(count), np.repeat(ends, ends - root)
        leaf = left == at
        inner = (np.minimum(left, right) > at) & (np.maximum(left, right) < end)
        whole = (leaf | inner).all() and np.array_equal(right[leaf], np.arange(len(nodes["value"])))
    if not whole or feature.min() < 0:
        raise ArtefactError("trees whose nodes lead to leaves", "some that lead elsewhere", "trust no such model: fit it again")
    return int(feature.max()) + 1


def walk(nodes: Nodes, x_BF: np.ndarray) -> np.ndarray:
    """The row of `value` of the leaf of each tree that a row falls in, [B, T]."""
    at_BT, row_B1 = np.repeat(nodes["root"][None], len(x_BF), 0), np.arange(len(x_BF))[:, None]
    while True:
        left_BT = nodes["left"][at_BT]
        leaf_BT = left_BT == at_BT
        if leaf_BT.all():
            return np.asarray(nodes["right"][at_BT])
        x_BT = x_BF[row_B1, nodes["feature"][at_BT]]
        go_BT = leaf_BT | (x_BT <= nodes["threshold"][at_BT]) | (np.isnan(x_BT) & nodes["missing"][at_BT])
        at_BT = np.where(go_BT, left_BT, nodes["right"][at_BT])
