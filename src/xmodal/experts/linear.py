"""A linear model over the classic descriptors of one input or several: logistic or ridge regression, from scikit-learn."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge

from xmodal.experts.base import Data
from xmodal.experts.classic import Classic, linear_matrix
from xmodal.job import Budget, Key, Rows

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # 1 / (2 alpha) of the ridge penalty; the round is the place in this list


class Linear(Classic):
    """A round is a strength of regularisation: `valid` chooses it."""

    name: ClassVar[str] = "linear"

    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """Strengths from the strongest penalty on, each from the last one's solution, until `valid` gets worse."""
        self.config = {"terms": {k: p.config["width"] for k, p in self.parts.items() if "width" in p.config}}
        x, y = linear_matrix(self, data, rows, frozenset()), self.target(data, rows)
        if valid is None:
            self.solve(x, y, STRENGTHS[(budget.epochs or 2) - 1])
            return budget.epochs or 2
        x_valid, y_valid = linear_matrix(self, data, valid, frozenset()), self.target(data, valid)
        best, used, kept = np.inf, 1, self.arrays
        for number, strength in enumerate(STRENGTHS, 1):
            self.solve(x, y, strength)
            loss = self.loss(x_valid, y_valid)
            if loss >= best:
                break
            best, used, kept = loss, number, self.arrays
        self.arrays = kept
        return used

    def solve(self, x: csr_matrix, y: np.ndarray, strength: float) -> None:
        """The coefficients at one strength."""
        if self.task.kind != "classify":
            model = Ridge(alpha=0.5 / strength, solver="lsqr", tol=1e-4).fit(x, y)
            self.arrays = {"weight": model.coef_[None].astype(np.float32), "bias": np.array([model.intercept_], np.float32)}
            return
        classes = np.unique(y)
        if len(classes) == 1:
            self.arrays = {"weight": np.zeros((1, x.shape[1]), np.float32), "bias": np.zeros(1, np.float32), "classes": classes}
            return
        model = LogisticRegression(C=strength, tol=1e-3, max_iter=200).fit(x, y)
        sign = np.array([[-1], [1]]) if len(classes) == 2 else np.ones((len(classes), 1))
        weight, bias = model.coef_ * sign / (2 if len(classes) == 2 else 1), model.intercept_ * sign[:, 0] / (2 if len(classes) == 2 else 1)
        self.arrays = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32), "classes": classes}

    def loss(self, x: csr_matrix, y: np.ndarray) -> float:
        """Mean log-loss or squared error."""
        score = self.decide(x)
        if self.task.kind != "classify":
            return float(((score[:, 0] - y) ** 2).mean())
        return float(-self.task.pool(score)[np.arange(len(y)), y].mean())

    def decide(self, x: csr_matrix) -> np.ndarray:
        """Softmax of the linear score, or the score."""
        z = np.asarray(x @ self.arrays["weight"].T + self.arrays["bias"])
        if self.task.kind != "classify":
            return z
        p = np.exp(z - z.max(1, keepdims=True))
        return self.spread(np.asarray(p / p.sum(1, keepdims=True)), self.arrays["classes"])

    def score(self, data: Data, rows: Rows, hide: frozenset[Key]) -> np.ndarray:
        return self.decide(linear_matrix(self, data, rows, hide))
