from __future__ import annotations

import warnings

import numpy as np
import pytest

from xmodal.features.column import FeatureColumn
from xmodal.job import State

ROWS = [[2, -1], [-1, -1], [0, 1], [1, -1]]


def column(x_UD: np.ndarray, rows: list[list[int]]) -> FeatureColumn:
    row_BK = np.array(rows)
    state_B = np.where((row_BK >= 0).any(1), State.PRESENT, State.MISSING).astype(np.int8)
    return FeatureColumn({"x": x_UD}, {}, row_BK, state_B)


@pytest.mark.parametrize("last", [4.0, np.nan, np.inf])
def test_pooled_is_the_mean_over_the_files_that_are_there(last: float) -> None:
    x_UD = np.array([[1.0, 10], [2, 20], [3, 30], [last, last]], np.float32)  # no row points to the last cell
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pooled = column(x_UD, ROWS).pooled("x", -1.0)
    assert pooled.dtype == np.float64
    assert pooled.tolist() == [[3, 30], [-1, -1], [1.5, 15], [2, 20]]


def test_a_gap_in_a_cell_stays_one() -> None:
    pooled = column(np.array([[np.nan, 1], [2, 3]]), [[0, -1], [0, 1]]).pooled("x")
    np.testing.assert_array_equal(pooled, [[np.nan, 1], [np.nan, 2]])


@pytest.mark.parametrize("rows", [[[-1], [-1]], [[-1, -1]]])
def test_pooled_without_a_cell_is_the_fill(rows: list[list[int]]) -> None:
    none = column(np.zeros((0, 3), np.float32), rows)
    assert none.pooled("x", 7.0).tolist() == [[7.0] * 3] * len(rows)
    assert np.isnan(none.pooled("x")).all()
    assert none.rows(np.zeros(0, np.int64)).pooled("x").shape == (0, 3)
