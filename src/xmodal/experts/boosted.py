"""Boosted trees: scikit-learn's histogram gradient boosting, kept as arrays of nodes and walked without it.

B rows · F features · T trees · K trees a round
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.ensemble._hist_gradient_boosting.predictor import PREDICTOR_RECORD_DTYPE, TreePredictor
from threadpoolctl import threadpool_limits

from xmodal.experts.base import Data
from xmodal.experts.classic import Classic
from xmodal.job import Budget, Key, Rows

NODE = PREDICTOR_RECORD_DTYPE
ROUNDS, STEP, PATIENCE = 200, 10, 20
FEW = 64  # rows: below, the own walk is faster than the library's


class Boosted(Classic):
    """A round is one tree a class (one in all for two classes and for values)."""

    name: ClassVar[str] = "boosted"

    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """STEP rounds at a time until `valid` gets no better, or exactly `budget.epochs`."""
        x, y = self.matrix(data, rows), self.target(data, rows)
        classes = np.unique(y) if self.task.kind == "classify" else np.zeros(0, np.int64)
        kind = HistGradientBoostingClassifier if len(classes) else HistGradientBoostingRegressor
        settings = {"learning_rate": 0.08, "max_leaf_nodes": 15, "min_samples_leaf": 10, "l2_regularization": 1.0, "max_bins": 128}
        model = kind(warm_start=valid is not None, early_stopping=False, random_state=seed, max_iter=budget.epochs or ROUNDS, **settings)
        if len(classes) == 1:
            self.arrays, self.config = {"classes": classes}, {}
            return 1
        with threadpool_limits(1):
            if valid is None:
                model.fit(x, y)
                return self.keep(model, model.n_iter_, classes)
            x_valid, y_valid = self.matrix(data, valid), self.target(data, valid)
            best, used = np.inf, STEP
            for rounds in range(STEP, ROUNDS + 1, STEP):
                model.set_params(max_iter=rounds).fit(x, y)
                self.keep(model, rounds, classes)
                score = self.proba(x_valid)
                wrong = -self.task.pool(score)[np.arange(len(y_valid)), y_valid] if len(classes) else (score[:, 0] - y_valid) ** 2
                if wrong.mean() < best:
                    best, used = wrong.mean(), rounds
                elif rounds - used >= PATIENCE:
                    break
        return self.keep(model, used, classes)

    def keep(self, model: HistGradientBoostingClassifier | HistGradientBoostingRegressor, rounds: int, classes: np.ndarray) -> int:
        """The first rounds as arrays."""
        trees = [tree.nodes for one in model._predictors[:rounds] for tree in one]
        self.config = {"trees_a_round": len(model._predictors[0])}
        self.arrays = {
            "nodes": np.frombuffer(np.concatenate(trees).tobytes(), np.uint8), "ends": np.cumsum([len(t) for t in trees]),
            "baseline": np.asarray(model._baseline_prediction, np.float64).ravel(), "classes": classes,
        }  # fmt: skip
        return rounds

    def score(self, data: Data, rows: Rows, hide: frozenset[Key]) -> np.ndarray:
        return self.proba(self.matrix(data, rows, hide))

    def proba(self, x_BF: np.ndarray) -> np.ndarray:
        """Probabilities [B, C], or standardised values [B, 1]."""
        classes = self.arrays["classes"]
        if len(classes) == 1:
            return self.spread(np.ones((len(x_BF), 1)), classes)
        nodes = self.arrays["nodes"].view(NODE)
        value_TB = (walk if len(x_BF) <= FEW else library)(nodes, self.arrays["ends"], x_BF)
        trees = int(self.config["trees_a_round"])  # type: ignore[arg-type]
        raw_BK = self.arrays["baseline"] + value_TB.reshape(len(value_TB) // trees, trees, len(x_BF)).sum(0).T
        if not len(classes):
            return np.asarray(raw_BK)
        if raw_BK.shape[1] == 1:
            raw_BK = np.concatenate([np.zeros_like(raw_BK), raw_BK], 1)
        p_BC = np.exp(raw_BK - raw_BK.max(1, keepdims=True))
        return self.spread(p_BC / p_BC.sum(1, keepdims=True), classes)


def walk(nodes: np.ndarray, ends: np.ndarray, x_BF: np.ndarray) -> np.ndarray:
    """The value of the leaf of each tree that a row falls in, [T, B]: all trees a level at a time."""
    root_T1 = np.concatenate([[0], ends[:-1]])[:, None]
    at_TB, row_B = np.repeat(root_T1, len(x_BF), 1), np.arange(len(x_BF))
    for _ in range(int(nodes["depth"].max())):
        here = nodes[at_TB]
        x_TB = x_BF[row_B, here["feature_idx"]]
        left_TB = np.where(np.isnan(x_TB), here["missing_go_to_left"] > 0, x_TB <= here["num_threshold"])
        at_TB = np.where(here["is_leaf"] > 0, at_TB, root_T1 + np.where(left_TB, here["left"], here["right"]))
    return np.asarray(nodes["value"][at_TB])


def library(nodes: np.ndarray, ends: np.ndarray, x_BF: np.ndarray) -> np.ndarray:
    """The same by scikit-learn's own trees, which are faster in bulk."""
    none, sets = np.zeros(0, np.uint32), np.zeros((0, 8), np.uint32)
    trees = [TreePredictor(np.ascontiguousarray(t), sets, sets) for t in np.split(nodes, ends[:-1])]
    return np.stack([t.predict(np.ascontiguousarray(x_BF, np.float64), sets, none, 1) for t in trees])
