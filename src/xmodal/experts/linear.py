"""A linear model over the classic descriptors of one input or several: logistic or ridge regression, from scikit-learn.

B rows · U cells · F features · C classes that the fit saw (1 for a value)
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression, Ridge

from xmodal.experts.base import Data
from xmodal.experts.classic import Classic, Problem
from xmodal.experts.descriptors import product
from xmodal.features.column import FeatureColumn
from xmodal.job import Budget, Key, Rows

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # 1 / (2 alpha) of the ridge penalty; the round is the place in this list


class Linear(Classic):
    """A round is a strength of regularisation: `valid` chooses it. `weight` holds the inputs' features one below the
    other, after each a row for those who lack the input: what its absence said in training, or what it says on average."""

    name: ClassVar[str] = "linear"

    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """Strengths from the strongest penalty on, until `valid` gets worse."""
        columns = [self.described(data, key, rows) for key in self.inputs]
        blocks = [self.design(key, column) for key, column in zip(self.inputs, columns, strict=True)]
        self.config = {"ends": np.cumsum([0, *(b.shape[1] for b in blocks)]).tolist()}
        x_BF = hstack(blocks, "csr") if any(isinstance(b, csr_matrix) for b in blocks) else np.concatenate(blocks, 1)
        best, used, kept, problems = np.inf, budget.epochs or 3, self.arrays, self.problems(data, rows)
        for number in [used] if valid is None else range(1, len(STRENGTHS) + 1):
            self.solve(x_BF, problems, STRENGTHS[number - 1])
            for column, block_FC in zip(columns, self.by_input(), strict=True):
                if not lacks(column).any():
                    block_FC[-1] = said(column, block_FC).mean(0)
            loss = 0.0 if valid is None else self.loss(data, valid)
            if loss >= best:
                break
            best, used, kept = loss, number, self.arrays
        self.arrays = kept
        return used

    def solve(self, x_BF: csr_matrix | np.ndarray, problems: list[Problem], strength: float) -> None:
        """The coefficients at one strength, in half precision: a two-thousandth of a weight. Of labels, a model each."""
        classes = np.unique(problems[0].y) if self.task.kind == "classify" else np.zeros(0, np.int64)
        bias_C = self.task.prior.copy() if self.task.kind == "multilabel" else np.zeros(max(len(classes), 1))
        tolerance = 1e-4 if self.settings.get("reads") == "frozen" else 1e-3  # dense, and stopped early its loss is by chance
        weight_CF = np.zeros((len(bias_C), x_BF.shape[1]))
        for label, (at, y, weight) in enumerate(problems):
            if self.task.kind == "regress":
                model = Ridge(alpha=0.5 / strength, solver="lsqr", tol=1e-4)
            elif len(np.unique(y)) > 1:
                model = LogisticRegression(C=strength, tol=tolerance, max_iter=200)
            else:
                continue
            model.fit(x_BF[at], y, weight)
            coefficients = np.atleast_2d(model.coef_)  # of two classes, the second's log-odds
            into = slice(label, label + 1) if self.task.kind == "multilabel" else slice(-len(coefficients), None)
            weight_CF[into], bias_C[into] = coefficients, model.intercept_
        self.arrays = {"weight": np.ascontiguousarray(weight_CF.T, np.float16), "bias": bias_C}
        if len(classes):
            self.arrays["classes"] = classes

    def design(self, key: Key, column: FeatureColumn) -> csr_matrix | np.ndarray:
        """One input's features a row, the mean of its files, and a last one that is 1 where a joint's row lacks it."""
        gone_B1 = lacks(column) & (len(self.inputs) > 1)
        if "linear" in column.dense:
            return np.concatenate([column.pooled("linear", 0.0), gone_B1], 1)
        column = column.compact()  # what is mapped would be read whole
        row, file = np.nonzero(column.row_BK >= 0)
        share = 1 / (column.row_BK >= 0).sum(1)[row]
        pick_BU = csr_matrix((share, (row, column.row_BK[row, file])), (len(column), column.cells))
        return hstack([pick_BU @ cells(column, int(self.parts[key].config["width"])), csr_matrix(gone_B1)], "csr")  # type: ignore[arg-type]

    def by_input(self) -> list[np.ndarray]:
        """The weights of each input."""
        return [self.arrays["weight"][a:b] for a, b in pairwise(self.config["ends"])]  # type: ignore[arg-type]

    def score(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> np.ndarray:
        z_BC = np.repeat(self.arrays["bias"][None], len(rows), 0)
        for key, block_FC in zip(self.inputs, self.by_input(), strict=True):
            z_BC += said(self.described(data, key, rows, hide), block_FC)
        if self.task.kind == "multilabel":
            return self.task.unpool(z_BC)
        return self.probabilities(z_BC) if "classes" in self.arrays else z_BC


def lacks(column: FeatureColumn) -> np.ndarray:
    """Which rows have no cell, [B, 1]."""
    return np.asarray(column.row_BK.max(1, keepdims=True) < 0)


def cells(column: FeatureColumn, width: int) -> csr_matrix | np.ndarray:
    """`linear` of each cell, [U, F]."""
    if "linear" in column.dense:
        return np.asarray(column.dense["linear"])
    weight, ends = column.ragged["linear.weight"]
    return csr_matrix((weight, column.ragged["linear.index"][0], ends), (column.cells, width))


def said(column: FeatureColumn, block_FC: np.ndarray) -> np.ndarray:
    """What an input adds to each row's score, [B, C]; its last weight where the row lacks it."""
    gone_BC = lacks(column) * block_FC[-1].astype(np.float64)
    column = column.compact() if column.cells > len(column) else column
    z_UC = product(cells(column, len(block_FC) - 1), block_FC[:-1])
    return np.asarray(replace(column, dense={"z": z_UC}, ragged={}).pooled("z", 0.0) + gone_BC)
