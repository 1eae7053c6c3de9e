from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles import pointed

from xmodal.batch import tensors
from xmodal.encoders.plain import BINS, Plain, cycles, lookup, place, quantiles
from xmodal.features.column import FeatureColumn

VALUES = st.lists(st.floats(-1e9, 1e9) | st.integers(0, 3).map(float), min_size=1, max_size=60)


def group(number: np.ndarray, category: np.ndarray, date: np.ndarray) -> FeatureColumn:
    dense = {"number": number, "category": category.astype(np.uint64), "date": date}
    return pointed(dense, {}, np.arange(len(number)))


@given(VALUES, VALUES)
def test_piecewise_linear_encoding_is_the_formula(train: list[float], asked: list[float]) -> None:
    """Gorishniy et al. 2022, eq. 1, bin by bin; the outer bins end at the training range."""
    edges = quantiles(np.array(train))
    b = np.unique(edges)
    ramps = np.clip(place(np.array(asked)[:, None], edges[None])[0:, 0][:, None] - np.arange(BINS), 0, 1)
    for x, found in zip(asked, ramps, strict=True):
        expected = np.zeros(BINS)
        for t in range(1, len(b)):
            expected[t - 1] = 1 if x >= b[t] else 0 if x < b[t - 1] else (x - b[t - 1]) / (b[t] - b[t - 1])
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_not_finite_numbers() -> None:
    edges = quantiles(np.array([1.0, np.nan, 3.0, np.inf]))[None]
    found = place(np.array([[np.nan], [np.inf], [-np.inf], [1e300]]), edges)[:, 0]
    assert np.isnan(found[0])
    assert found[1] == found[3] == len(np.unique(edges)) - 1
    assert found[2] == 0
    assert quantiles(np.array([np.nan])).tolist() == [0.0] * (BINS + 1)


def test_categories() -> None:
    train = group(np.zeros((6, 0)), np.array([[7, 1], [7, 1], [9, 2], [9, 2], [5, 3], [0, 0]]), np.zeros((6, 0)))
    fitted = Plain.fit(train, {}, 0)
    assert fitted.arrays["known"].tolist() == [7, 9, 1, 2], "seen twice"
    asked = np.array([[7, 1], [9, 2], [5, 7], [4, 3], [0, 0]], np.uint64)
    # rows of the table: 0 missing; column 0: 1 unknown, 2, 3; column 1: 4 unknown, 5, 6
    assert lookup(asked, fitted.arrays["known"], fitted.arrays["known_count"]).tolist() == [[2, 5], [3, 6], [1, 4], [1, 4], [0, 0]]
    assert Plain(fitted, 8).table.num_embeddings == 7  # type: ignore[union-attr]


def test_dates_come_round() -> None:
    day = 86_400.0
    found = cycles(np.array([[0.0], [7 * day], [3.5 * day], [np.nan]]), np.array([[0.0, 7 * day]]))[:, 0]
    assert found[:3, 0].tolist() == [0, 1, 0.5]
    np.testing.assert_allclose(found[0, [1, 2, 4, 5]], found[1, [1, 2, 4, 5]], atol=1e-9)
    np.testing.assert_allclose(found[2, [1, 2, 4, 5]], [0, 0, -1, -1], atol=1e-9)
    assert np.isnan(found[3]).all()


def test_a_mask_a_column_and_missing_counts_for_nothing() -> None:
    number = np.array([[1.0, np.nan], [2.0, 5.0], [np.nan, 6.0], [4.0, 7.0]])
    column = group(number, np.array([[3], [3], [0], [8]]), np.array([[1e9], [np.nan], [1.1e9], [1.2e9]]))
    fitted = Plain.fit(column, {}, 0)
    encoder = Plain(fitted, 8).eval()
    tokens = encoder(tensors(Plain.transform(fitted, column).take(np.arange(4))))
    assert tokens.mask_BN.int().tolist() == [[1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0], [1, 1, 1, 1]]
    tokens.x_BND.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


def test_kinds_that_are_not_there() -> None:
    for kinds in ((2, 0, 0), (0, 2, 0), (0, 0, 2)):
        number, category, date = (np.ones((3, p)) * np.arange(1, 4)[:, None] for p in kinds)
        column = group(number, category, date)
        fitted = Plain.fit(column.hidden().rows(np.arange(2)), {}, 0)
        tokens = Plain(fitted, 8)(tensors(Plain.transform(fitted, column).take(np.arange(3))))
        assert tokens.x_BND.shape == (3, 2, 8)


@given(st.lists(st.integers(-50, 50), max_size=40))
def test_private_quantiles_are_those_of_the_means_of_three_neighbours(cells):
    x = sorted(map(float, cells))
    means = [np.mean(x[i : i + 3]) for i in range(len(x) - 2)]
    edges = quantiles(np.array(cells, float), private=True)
    if not means or np.ptp(means) < 1e-9:
        assert np.ptp(edges) == 0 and edges[0] == pytest.approx(means[0] if means else 0)
    else:
        assert [edges[0], edges[-1]] == pytest.approx([means[0], means[-1]])
        wanted = np.quantile(means, np.linspace(0, 1, 17))
        assert np.abs(edges[:, None] - wanted).min(0).max() < 1e-9
