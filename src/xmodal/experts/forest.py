"""Extremely randomised trees (Geurts, Ernst & Wehenkel, 2006) that have seen inputs missing: one forest for every subset.

B rows · F features · T trees · M inputs
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.tree import BaseDecisionTree
from threadpoolctl import threadpool_limits

from xmodal.batch import uniform
from xmodal.experts.base import Data, states
from xmodal.experts.classic import Classic, Nodes, Problem, between, pack, walk
from xmodal.job import Budget, Key, Rows, State

TREES, COPIES = 200, 3
LEAST = 20  # trees a label
LEAVES, NUMBERS = 2000, 40_000  # of a tree, at most; and in its leaves: what a leaf holds grows with rows and classes
CHUNK = 4096


class Forest(Classic):
    """Trained on the rows and three copies of them with inputs hidden. Its round is the whole forest."""

    name: ClassVar[str] = "forest"

    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """All trees at once; there is nothing for `valid` to choose."""
        there_RM = states(data, self.inputs, rows, frozenset()) == State.PRESENT
        blocks = self.blocks(data, rows)
        copies = [np.concatenate(blocks, 1)]
        for copy in range(COPIES):
            off_RM = hidden(there_RM, rows, seed * COPIES + copy)
            copies.append(np.concatenate([np.where(off_RM[:, m, None], np.nan, x) for m, x in enumerate(blocks)], 1))
        problems = self.problems(data, rows)
        classes = np.unique(problems[0].y) if self.task.kind == "classify" else np.zeros(0, np.int64)
        least = COPIES + 2 if data.private and self.task.kind == "regress" else 2  # a leaf of one row and its copies says its target
        leaf = max(least, -(-len(rows) * len(copies) // min(LEAVES, NUMBERS // max(len(classes), 1))))
        kind = ExtraTreesClassifier if len(classes) else ExtraTreesRegressor
        trees, share_L = [], self.task.unpool(self.task.prior)  # what a forest says of a label that no row here tells
        with threadpool_limits(1):
            for label, problem in enumerate(problems):
                at, y, weight = problem if len(problem.y) else Problem(np.zeros(1, np.int64), share_L[label : label + 1], None)
                x_BF = np.concatenate([x[at] for x in copies]).astype(np.float32)
                weight_B = None if weight is None else np.tile(weight, len(copies))
                forest = kind(max(TREES // len(problems), LEAST), min_samples_leaf=leaf, max_features="sqrt", random_state=seed)
                trees += forest.fit(x_BF, np.tile(y, len(copies)), weight_B).estimators_
        kept = np.float32 if self.task.kind == "regress" else np.float16
        self.arrays = {**pack([nodes(tree, kept) for tree in trees]), "classes": classes}
        self.arrays["threshold"] = between(self.arrays, copies[0].astype(np.float32))
        return budget.epochs or 1

    def score(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> np.ndarray:
        x_BF, chunks = self.matrix(data, rows, hide).astype(np.float32), []
        for start in range(0, max(len(x_BF), 1), CHUNK):
            value_BTC = self.arrays["value"][walk(self.arrays, x_BF[start : start + CHUNK])]
            if self.task.kind == "multilabel":  # the trees of each label in turn
                labels = self.task.width
                value_BTC = value_BTC.reshape(len(value_BTC), labels, value_BTC.shape[1] // labels).transpose(0, 2, 1)
            chunks.append(value_BTC.mean(1, dtype=np.float64))
        mean_BC = np.concatenate(chunks)
        return self.spread(mean_BC / mean_BC.sum(1, keepdims=True)) if len(self.arrays["classes"]) else mean_BC


def nodes(tree: BaseDecisionTree, kept: type[np.floating]) -> Nodes:
    """The nodes of one tree, small: the largest 32-bit number below a threshold parts 32-bit numbers as it does."""
    t = tree.tree_
    threshold = t.threshold.astype(np.float32)
    threshold = np.where(threshold > t.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    found = {"left": t.children_left, "right": t.children_right, "feature": t.feature, "missing": t.missing_go_to_left}
    return found | {"leaf": t.children_left < 0, "threshold": threshold, "value": t.value[:, 0].astype(kept)}


def hidden(there_RM: np.ndarray, rows: Rows, salt: int) -> np.ndarray:
    """Which inputs a copy of each row hides: each present one with chance one half, never the last."""
    draw_RM = np.where(there_RM, np.stack([uniform(salt, m, rows) for m in range(there_RM.shape[1])], 1), -1.0)
    off_RM = there_RM & (draw_RM < 0.5)
    off_RM[np.arange(len(rows)), draw_RM.argmax(1)] = False
    return np.asarray(off_RM)
