"""Splits keep groups whole and shares of classes near."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from xmodal.errors import ConfigError, TableError
from xmodal.features.column import FeatureColumn
from xmodal.splits import PARTS, SHARES, allocate, by_time, carve, folds, given, ties, uneven


def texts(words: list[str | None]) -> FeatureColumn:
    distinct = sorted({w for w in words if w is not None})
    data = [w.encode() for w in distinct]
    offsets = np.cumsum([0, *map(len, data)])
    row = np.array([[distinct.index(w) if w is not None else -1] for w in words])
    return FeatureColumn(
        {}, {"text": (np.frombuffer(b"".join(data), np.uint8), offsets)}, row, np.where(row[:, 0] < 0, 1, 0).astype(np.int8)
    )


@settings(max_examples=40, deadline=None)
@forall(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=10, max_size=80), st.integers(0, 5))
def test_groups_are_never_divided(rows, seed):
    groups, strata = np.array(rows).T
    part = allocate(groups, strata, SHARES, seed)
    assert all(len(set(part[groups == g])) == 1 for g in set(groups))
    assert (part == allocate(groups, strata, SHARES, seed)).all()


def test_shares_hold_for_every_class():
    strata = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.2, 0.08, 0.02])
    part = allocate(np.arange(1000), strata, SHARES, 0)
    for c in range(4):
        share = np.bincount(part[strata == c], minlength=3) / (strata == c).sum()
        assert share == pytest.approx(SHARES, abs=1.5 / (strata == c).sum() + 0.01)
    assert (part != allocate(np.arange(1000), strata, SHARES, 1)).any()


def test_a_class_of_one_row_goes_to_train():
    strata = np.array([0] * 50 + [1])
    assert allocate(np.arange(51), strata, SHARES, 3)[50] == 0


def test_five_rows():
    assert set(allocate(np.arange(5), np.array([0, 1, 0, 1, 0]), SHARES, 0)) <= {0, 1, 2}


def test_equal_long_texts_and_groups_tie_but_short_and_common_ones_do_not():
    long, short = "the same long sentence twice", "short"
    tied = ties([texts([long, "another sentence entirely", long, short, short, None, None])], None, 7)
    assert tied[0] == tied[2] and len(set(tied)) == 6
    group = pa.array(["p", "q", None, None, "p", None, "q"])
    tied = ties([texts([long, None, long, None, None, None, None])], group, 7)
    assert tied[0] == tied[2] == tied[4] and tied[1] == tied[6] and tied[3] != tied[5]
    common = [f"a sentence of its own, number {i}" for i in range(100)] + ["see the attached picture"] * 100
    assert len(set(ties([texts(common)], None, 200))) == 200


def test_folds_are_even_and_need_groups():
    fold = folds(np.arange(100), np.arange(100) % 3, 5, 0)
    assert np.bincount(fold).tolist() == [20] * 5
    with pytest.raises(ConfigError, match="at most 3 folds"):
        folds(np.repeat([0, 1, 2], 20), np.zeros(60, int), 5, 0)


def test_split_words_and_carving():
    assert given(pa.array(["train", "Validation", "TEST"]), "s").tolist() == ["train", "val", "test"]
    with pytest.raises(TableError, match="'holdout' in row 2"):
        given(pa.array(["train", "holdout"]), "s")
    rows = np.arange(50, 150)
    first, second = carve(np.arange(200), np.zeros(200, int), rows, 0.15, 0)
    assert len(second) == 15 and sorted([*first, *second]) == rows.tolist()


@settings(max_examples=60, deadline=None)
@forall(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30)), min_size=3, max_size=80))
def test_by_time_the_past_trains_and_ties_stay_together(rows):
    time, group = np.array(rows, float)[:, 0], np.unique(np.array(rows)[:, 1], return_inverse=True)[1]
    if len(np.unique(time)) < 3:
        with pytest.raises(ConfigError, match="three different times"):
            by_time(time, group)
        return
    part, (low, high), moved = by_time(time, np.arange(len(time)))
    assert low < high and moved == 0 and set(part) == {"train", "val", "test"}
    assert time[part == "train"].max() < low <= time[part == "val"].min() <= time[part == "val"].max() < high <= time[part == "test"].min()
    tied, _, moved = by_time(time, group)
    assert all(len(set(tied[group == g])) == 1 for g in group) and (time[tied == "train"] < low).all()
    assert moved == (tied != part).sum()


@pytest.mark.parametrize(("rows", "rare"), [(555, 5), (200, 3), (40, 4)])
def test_a_rare_class_is_in_every_part(rows, rare):
    for seed in range(20):
        strata = (np.arange(rows) < rare).astype(int)
        part = allocate(np.arange(rows), strata, SHARES, seed)
        assert np.bincount(part[strata == 1], minlength=3).min() >= 1
        assert np.bincount(part) / rows == pytest.approx(SHARES, abs=2.5 / rows)


@settings(max_examples=60, deadline=None)
@forall(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), min_size=5, max_size=60), st.integers(2, 5))
def test_no_fold_is_empty(rows, count):
    group, stratum = np.array(rows).T
    if len(np.unique(group)) >= count:
        assert np.bincount(folds(group, stratum, count, 0), minlength=count).min() >= 1


def test_a_patient_with_most_rows_leaves_no_fold_empty():
    assert np.bincount(folds(np.r_[np.zeros(540, int), 1 + np.arange(60) % 4], np.zeros(600, int), 5, 0)).tolist() == [540, 15, 15, 15, 15]


def test_groups_too_large_for_the_shares_are_said_with_counts() -> None:
    groups = np.repeat([0, 1, 2], [50, 30, 20])
    part = np.array(PARTS)[allocate(groups, np.zeros(100), SHARES, 0)]
    (said,) = uneven(part, groups)
    for name in PARTS:
        n = (part == name).sum()
        assert f"{name} {n} ({n}%)" in said
    assert "70 : 15 : 15" in said and "up to 50 of the 100 rows" in said
    alone = np.arange(100)
    assert not uneven(np.array(PARTS)[allocate(alone, np.zeros(100), SHARES, 0)], alone)
