from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge
from tests.doubles import INPUTS, table

from xmodal.experts.linear import STRENGTHS, Linear
from xmodal.job import Budget

ROWS = np.arange(80)


def features(expert: Linear, data) -> np.ndarray:  # type: ignore[no-untyped-def]
    blocks = []
    for key in expert.inputs:
        column = expert.described(data, key, ROWS)
        cells = column.dense.get("linear")
        if cells is None:
            weight, ends = column.ragged["linear.weight"]
            cells = csr_matrix((weight, column.ragged["linear.index"][0], ends)).toarray()
        row = column.row_BK[:, 0]
        blocks += [np.where(row[:, None] >= 0, cells[row], 0), (row < 0)[:, None]]
    return np.concatenate(blocks, 1)


@pytest.mark.parametrize("kind", ["classify", "regress"])
def test_equals_scikit_learn_on_the_joined_matrix(kind: str) -> None:
    task, data = table(kind)
    expert = Linear({"y": task}, INPUTS, {})
    assert expert.fit(data, ROWS, None, Budget(epochs=4), 0) == 4
    x, y = features(expert, data), data.examples["y"].y.numpy()
    seen = ROWS[:-1]  # the last row is unlabelled
    if kind == "classify":
        model = LogisticRegression(C=STRENGTHS[3], tol=1e-3, max_iter=200).fit(x[seen], y[seen])
        expected = model.predict_proba(x)
    else:
        model = Ridge(alpha=0.5 / STRENGTHS[3], solver="lsqr", tol=1e-4).fit(x[seen], y[seen])
        expected = task.unpool(model.predict(x)[:, None])
    np.testing.assert_allclose(expert.predict(data, ROWS)["y"].score, expected, atol=5e-3)


def test_a_hidden_input_that_was_always_there_says_what_it_says_on_average() -> None:
    task, data = table("regress")
    full = {key: c.rows(np.where(c.row_BK[:, 0] >= 0, ROWS, np.flatnonzero(c.row_BK[:, 0] >= 0)[0])) for key, c in data.columns.items()}
    data = type(data)(full, data.examples, 0)
    expert = Linear({"y": task}, INPUTS, {})
    expert.fit(data, ROWS, None, Budget(epochs=4), 0)
    every, hidden = (expert.predict(data, ROWS[:-1], hide)["y"].score for hide in (frozenset(), frozenset(["main.table"])))
    assert np.isclose(every.mean(), hidden.mean(), rtol=1e-3) and not np.allclose(every, hidden, atol=1e-2)


def test_several_files_of_a_cell_count_as_their_mean() -> None:
    task, data = table("classify")
    expert = Linear({"y": task}, {"main.pic": INPUTS["main.pic"]}, {})
    expert.fit(data, ROWS, None, Budget(epochs=3), 0)
    column = data.columns["main.pic"]
    some = [np.array([[0, 1]]), np.array([[0, -1]]), np.array([[1, -1]])]
    both, one, two = (
        type(data)({"main.pic": type(column)(column.dense, {}, row_BK, np.zeros(1, np.int8))}, data.examples) for row_BK in some
    )
    z_both, z_one, z_two = (np.log(expert.predict(d, np.zeros(1, np.int64))["y"].score[0]) for d in (both, one, two))
    middle = np.exp((z_one + z_two) / 2)
    np.testing.assert_allclose(np.exp(z_both), middle / middle.sum(), rtol=1e-6)


def test_valid_chooses_the_strength() -> None:
    task, data = table("classify", rows=200)
    expert = Linear({"y": task}, INPUTS, {})
    used = expert.fit(data, np.arange(0, 200, 2), np.arange(1, 199, 2), Budget(), 0)
    losses = []
    for number in range(1, len(STRENGTHS) + 1):
        expert.fit(data, np.arange(0, 200, 2), None, Budget(epochs=number), 0)
        losses.append(expert.loss(data, np.arange(1, 199, 2)))
    assert losses[used - 1] == min(losses[: used + 1]) and 1 < used < len(STRENGTHS)
