"""Boosted trees: scikit-learn's histogram gradient boosting, kept as arrays of nodes and walked without it.

B rows · F features · T trees · K trees a round
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.ensemble._hist_gradient_boosting.predictor import PREDICTOR_RECORD_DTYPE, TreePredictor
from threadpoolctl import threadpool_limits

from xmodal.experts.base import Data
from xmodal.experts.classic import Classic, Nodes, between, pack, walk
from xmodal.job import Budget, Key, Rows

SETTINGS = {"learning_rate": 0.08, "max_leaf_nodes": 15, "min_samples_leaf": 10, "l2_regularization": 1.0, "max_bins": 128}
ROUNDS, STEP, PATIENCE = 200, 10, 20
FEW = 64  # rows: below, the own walk is faster than the library's
NAMES = {"feature": "feature_idx", "threshold": "num_threshold", "missing": "missing_go_to_left", "leaf": "is_leaf"}

STUMP = np.zeros(1, PREDICTOR_RECORD_DTYPE)  # a tree that says 0
STUMP["is_leaf"] = True
Model: TypeAlias = HistGradientBoostingClassifier | HistGradientBoostingRegressor


class Boosted(Classic):
    """A round is one tree a class, or a label (one in all for two classes and for values)."""

    name: ClassVar[str] = "boosted"

    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """STEP rounds at a time until `valid` gets no better, or exactly `budget.epochs`."""
        x_BF, problems = self.matrix(data, rows), self.problems(data, rows)
        x_BF[:, np.isnan(x_BF).all(0)] = 0.0  # the library cannot bin a column without values
        classes = np.unique(problems[0].y) if self.task.kind == "classify" else np.zeros(0, np.int64)
        if len(classes) == 1:
            self.arrays, self.config = {"classes": classes}, {}
            return budget.epochs or 1
        kind = HistGradientBoostingRegressor if self.task.kind == "regress" else HistGradientBoostingClassifier
        told = [self.task.kind == "regress" or len(np.unique(y)) > 1 for _, y, _ in problems]  # not a label that all have, or all lack
        models = [kind(warm_start=True, early_stopping=False, random_state=seed, **SETTINGS) if t else None for t in told]
        best, used = np.inf, budget.epochs or 0
        with threadpool_limits(1):
            for rounds in [used] if valid is None else range(STEP, ROUNDS + 1, STEP):
                for model, (at, y, w) in zip(models, problems, strict=True):
                    if model:
                        model.set_params(max_iter=rounds).fit(x_BF[at], y, w)
                self.keep(models, rounds, classes)
                loss = 0.0 if valid is None else self.loss(data, valid)
                if loss < best:
                    best, used = loss, rounds
                elif rounds - used >= PATIENCE:
                    break
        self.keep(models, used, classes)
        self.arrays["threshold"] = between(self.arrays, x_BF)
        return used

    def keep(self, models: Sequence[Model | None], rounds: int, classes: np.ndarray) -> None:
        """The first rounds as arrays, the labels' trees in turn."""
        said = [tree for r in range(rounds) for m in models for tree in ([p.nodes for p in m._predictors[r]] if m else [STUMP])]
        trees = [{name: nodes[NAMES.get(name, name)] for name in (*NAMES, "left", "right", "value")} for nodes in said]
        ones = [np.ravel(m._baseline_prediction) if m else self.task.prior[i : i + 1] for i, m in enumerate(models)]
        baseline = np.concatenate(ones).astype(np.float64)
        self.arrays = {**pack(trees), "baseline": baseline, "classes": classes}

    def score(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> np.ndarray:
        x_BF, a = self.matrix(data, rows, hide), self.arrays
        if len(a["classes"]) == 1:
            return self.probabilities(np.zeros((len(x_BF), 1)))
        value_BT = a["value"][walk(a, x_BF)] if len(x_BF) <= FEW else library(a, x_BF)
        z_BK = a["baseline"] + value_BT.reshape(len(x_BF), value_BT.shape[1] // len(a["baseline"]), len(a["baseline"])).sum(1)
        if not len(a["classes"]):
            return np.asarray(self.task.unpool(z_BK) if self.task.kind == "multilabel" else z_BK)
        return self.probabilities(z_BK if z_BK.shape[1] > 1 else np.concatenate([np.zeros_like(z_BK), z_BK], 1))


def library(nodes: Nodes, x_BF: np.ndarray) -> np.ndarray:
    """The leaves' values by scikit-learn's own trees, [B, T]: faster in bulk."""
    leaf = nodes["left"] == np.arange(len(nodes["left"]))
    record = np.zeros(len(leaf), PREDICTOR_RECORD_DTYPE)
    for name in ("feature", "threshold", "missing"):
        record[NAMES[name]] = nodes[name]
    record["is_leaf"], record["value"][leaf] = leaf, nodes["value"]
    size = np.diff(np.append(nodes["root"], len(leaf)))
    for side in ("left", "right"):
        record[side] = np.where(leaf, 0, nodes[side] - np.repeat(nodes["root"], size))
    none, sets, x_BF = np.zeros(0, np.uint32), np.zeros((0, 8), np.uint32), np.ascontiguousarray(x_BF, np.float64)
    return np.stack([TreePredictor(tree, sets, sets).predict(x_BF, sets, none, 1) for tree in np.split(record, nodes["root"][1:])], 1)
