"""Extremely randomised trees (Geurts, Ernst & Wehenkel, 2006) that have seen inputs missing: one forest for every subset.

B rows · F features · T trees · M inputs
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from threadpoolctl import threadpool_limits

from xmodal.batch import uniform
from xmodal.experts.base import Data, states
from xmodal.experts.classic import Classic
from xmodal.job import Budget, Key, Rows, State

TREES = 200
COPIES = 3
LEAVES = 1000  # of a tree, at most: what a leaf holds grows with n
CHUNK = 4096


class Forest(Classic):
    """Trained on the rows and three copies of them with inputs hidden. Its round is the whole forest."""

    name: ClassVar[str] = "forest"

    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """All trees at once; there is nothing for `valid` to choose."""
        there_RM = states(data, self.inputs, rows, frozenset()) == State.PRESENT
        blocks, parts = self.blocks(data, rows), [self.matrix(data, rows)]
        for copy in range(COPIES):
            off_RM = hidden(there_RM, rows, seed * COPIES + copy)
            parts.append(np.concatenate([np.where(off_RM[:, m, None], np.nan, x) for m, x in enumerate(blocks)], 1))
        x, y = np.concatenate(parts).astype(np.float32), np.tile(self.target(data, rows), 1 + COPIES)
        kind = ExtraTreesClassifier if self.task.kind == "classify" else ExtraTreesRegressor
        with threadpool_limits(1):
            model = kind(TREES, min_samples_leaf=max(2, len(x) // LEAVES // 2), max_features="sqrt", random_state=seed).fit(x, y)
        trees = [t.tree_ for t in model.estimators_]
        starts = np.concatenate([[0], np.cumsum([t.node_count for t in trees])[:-1]])
        leaf = np.concatenate([t.children_left for t in trees]) < 0
        value = np.concatenate([t.value[:, 0, :] for t in trees])
        row = np.cumsum(leaf) - 1  # of a leaf in the table of values

        def shifted(name: str) -> np.ndarray:
            return np.concatenate([getattr(t, name) + s for t, s in zip(trees, starts, strict=True)])

        self.arrays = {
            "root": starts.astype(np.int32),
            "feature": np.where(leaf, 0, np.concatenate([t.feature for t in trees])).astype(np.int16),
            "threshold": np.concatenate([t.threshold for t in trees]),
            "left": np.where(leaf, np.arange(len(leaf)), shifted("children_left")).astype(np.int32),
            "right": np.where(leaf, row, shifted("children_right")).astype(np.int32),  # of a leaf: its row of values
            "missing": np.concatenate([t.missing_go_to_left for t in trees]).astype(bool),
            "value": value[leaf].astype(np.float32),
        }  # fmt: skip
        self.config = {"depth": max(t.max_depth for t in trees)}
        if self.task.kind == "classify":
            self.arrays["classes"] = np.asarray(model.classes_, np.int64)
        return 1

    def score(self, data: Data, rows: Rows, hide: frozenset[Key]) -> np.ndarray:
        x_BF = self.matrix(data, rows, hide).astype(np.float32)
        score = np.concatenate([self.walk(x_BF[i : i + CHUNK]) for i in range(0, max(len(x_BF), 1), CHUNK)])
        return self.spread(score, self.arrays["classes"]) if "classes" in self.arrays else score

    def walk(self, x_BF: np.ndarray) -> np.ndarray:
        """The mean over trees of the value of the leaf that a row falls in: all trees a level at a time."""
        a, row_B1 = self.arrays, np.arange(len(x_BF))[:, None]
        at_BT = np.repeat(a["root"][None], len(x_BF), 0)
        for _ in range(int(self.config["depth"])):  # type: ignore[arg-type]
            x_BT = x_BF[row_B1, a["feature"][at_BT]]
            left_BT = (x_BT <= a["threshold"][at_BT]) | (np.isnan(x_BT) & a["missing"][at_BT]) | (a["left"][at_BT] == at_BT)
            at_BT = np.where(left_BT, a["left"][at_BT], a["right"][at_BT])
        return np.asarray(a["value"][a["right"][at_BT]].mean(1, dtype=np.float64))


def hidden(there_RM: np.ndarray, rows: Rows, salt: int) -> np.ndarray:
    """Which inputs a copy of each row hides: each present one with chance one half, never the last."""
    draw_RM = np.stack([uniform(salt, m, rows) for m in range(there_RM.shape[1])], 1)
    off_RM = there_RM & (draw_RM < 0.5)
    luckiest = np.where(there_RM, draw_RM, -1.0).argmax(1)
    off_RM[np.arange(len(rows)), luckiest] = False
    return off_RM
