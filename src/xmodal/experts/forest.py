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
from xmodal.experts.classic import Classic, Nodes, pack, walk
from xmodal.job import Budget, Key, Rows, State

TREES, COPIES = 200, 3
LEAVES, NUMBERS = 2000, 40_000  # of a tree, at most; and in its leaves: what a leaf holds grows with rows and classes
CHUNK = 4096


class Forest(Classic):
    """Trained on the rows and three copies of them with inputs hidden. Its round is the whole forest."""

    name: ClassVar[str] = "forest"

    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """All trees at once; there is nothing for `valid` to choose."""
        there_RM = states(data, self.inputs, rows, frozenset()) == State.PRESENT
        blocks = self.blocks(data, rows)
        parts = [np.concatenate(blocks, 1)]
        for copy in range(COPIES):
            off_RM = hidden(there_RM, rows, seed * COPIES + copy)
            parts.append(np.concatenate([np.where(off_RM[:, m, None], np.nan, x) for m, x in enumerate(blocks)], 1))
        x_BF, y_B = np.concatenate(parts).astype(np.float32), np.tile(self.target(data, rows), 1 + COPIES)
        classes = np.unique(y_B) if self.task.kind == "classify" else np.zeros(0, np.int64)
        leaf = max(2, -(-len(x_BF) // min(LEAVES, NUMBERS // max(len(classes), 1))))
        kind = ExtraTreesClassifier if len(classes) else ExtraTreesRegressor
        with threadpool_limits(1):
            model = kind(TREES, min_samples_leaf=leaf, max_features="sqrt", random_state=seed).fit(x_BF, y_B)
        kept = np.float16 if len(classes) else np.float32
        self.arrays = {**pack([nodes(tree, kept) for tree in model.estimators_]), "classes": classes}
        return budget.epochs or 1

    def score(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> np.ndarray:
        x_BF, value = self.matrix(data, rows, hide).astype(np.float32), self.arrays["value"]
        chunks = [value[walk(self.arrays, x_BF[i : i + CHUNK])].mean(1, dtype=np.float64) for i in range(0, max(len(x_BF), 1), CHUNK)]
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
