"""What is asked: classes, scales, and the space where answers are added."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodal.batch import Examples, View
from xmodal.errors import TargetError
from xmodal.tasks import Classify, MultiLabel, Prediction, Regress, class_order, mark_of

VIEWS = (View("main", frozenset()),)
words = st.lists(st.sampled_from(["a", "b", "10", "9", "多", "", "x=y"]), min_size=2, max_size=30).filter(lambda w: len(set(w)) > 1)


@settings(max_examples=50, deadline=None)
@given(words)
def test_classes_are_in_one_order_and_encode_back(labels):
    task = Classify("t", VIEWS).fit(pa.array(labels))
    assert task.classes == Classify("t", VIEWS).fit(pa.array(labels[::-1])).classes == sorted(set(labels), key=class_order)
    y, weight = task.encode(pa.array([*labels, None, "never seen"]))
    assert [task.classes[i] for i in y[:-2]] == labels
    assert y[-2:].tolist() == [-1, -1] and weight[-2:].tolist() == [0, 1]


def test_numbers_are_in_numeric_order():
    assert sorted(["10", "9", "b", "nan", "-1"], key=class_order) == ["-1", "9", "10", "b", "nan"]


def test_pool_floors_and_unpool_normalises():
    task = Classify("t", VIEWS).fit(pa.array(["a"] * 6 + ["b"] * 2))
    z = task.pool(np.array([[1.0, 0.0], [0.3, 0.7]]))
    assert z[0, 1] == pytest.approx(np.log(1 / 10))
    assert task.unpool(z)[1] == pytest.approx([0.3, 0.7])
    assert task.unpool(z).sum(1) == pytest.approx(1)
    assert task.prior == pytest.approx(np.log([0.75, 0.25])) and task.classes[task.positive] == "b"


def test_a_fold_keeps_classes_that_it_lacks():
    task = Classify("t", VIEWS).fit(pa.array(["a", "b", "c"])).recount(pa.array(["a", "a", "b"]))
    assert task.classes == ["a", "b", "c"]
    assert np.isfinite(task.prior).all() and task.prior[2] == pytest.approx(np.log(1 / 6))


def test_regression_is_standardised_and_comes_back():
    y = np.array([1e6, 1e6 + 1e-3, 1e6 - 1e-3, 1e6 + 2e-3])
    task = Regress("t", VIEWS).fit(pa.array([*y, None]))
    z, weight = task.encode(pa.array([*y, None]))
    assert z.dtype == torch.float32 and abs(float(z[:4].mean())) < 1e-3 and weight.tolist() == [1, 1, 1, 1, 0]
    assert task.unpool(task.pool(y)) == pytest.approx(y, abs=1e-8)


@pytest.mark.parametrize("values", [["a", "a"], [None, None]])
def test_a_target_that_says_nothing(values):
    with pytest.raises(TargetError, match="at least two classes"):
        Classify("t", VIEWS).fit(pa.array(values, pa.string()))
    with pytest.raises(TargetError, match="at least two values"):
        Regress("t", VIEWS).fit(pa.array([3.0, 3.0, None]))
    with pytest.raises(TargetError, match="finite"):
        Regress("t", VIEWS).fit(pa.array([3.0, float("inf")]))


def test_metrics_leave_unlabelled_rows_out():
    task = Classify("t", VIEWS).fit(pa.array(["a", "b"]))
    y, weight = task.encode(pa.array(["a", None, "b", "c"]))
    score = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.5, 0.5]])
    found = task.metrics(Prediction(score, np.zeros((4, 0))), Examples((None,), y, weight))
    assert found["accuracy"] == pytest.approx(2 / 3) and found["log_loss"] is None
    assert task.metrics(Prediction(score, np.zeros((4, 0))), Examples((None,), y, 0 * weight)) == {}
    task = Regress("t", VIEWS).fit(pa.array([10.0, 20.0]))
    y, weight = task.encode(pa.array([10.0, None, 40.0]))
    found = task.metrics(Prediction(np.array([12.0, 0.0, 40.0]), np.zeros((3, 0))), Examples((None,), y, weight))
    assert found["mean_absolute_error"] == pytest.approx(1)


def test_a_fold_whose_values_are_all_equal_keeps_the_scale():
    task = Regress("t", VIEWS).fit(pa.array([0.0, 1.0, 2.0]))
    assert task.recount(pa.array([1.0, 1.0])).scale == task.scale
    assert task.recount(pa.array([1.0, 3.0])).scale == (2.0, 1.0)


@pytest.mark.parametrize("kind", ["classify", "regress"])
def test_intervals_cover_what_they_promise(kind):
    """On 20 seeds of 300 rows that choose and 300 that are scored."""
    covered = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        x = random.normal(size=600)
        if kind == "regress":
            y, score = x + random.normal(size=600) * (1 + np.abs(x)), x
            task = Regress("t", VIEWS).fit(pa.array(y[:300]))
        else:
            z = np.stack([x, -x, 0.5 * x**2], 1)
            score = np.exp(z) / np.exp(z).sum(1, keepdims=True)
            y = np.array([random.choice(3, p=p) for p in score])
            task, score = Classify("t", VIEWS).fit(pa.array([f"c{v}" for v in y])), score**0.5 / (score**0.5).sum(1, keepdims=True)
        told = task.conformal(y[:300], score[:300], 0.9)
        inside = told.misfit(y[300:], score[300:]) <= told.most_misfit
        if kind == "classify":
            assert (told.sets(score[300:])[np.arange(300), y[300:]] == inside).all()
        covered.append(inside.mean())
    assert 0.88 < np.mean(covered) < 0.92


def test_too_few_rows_promise_nothing():
    task = Regress("t", VIEWS).fit(pa.array([0.0, 1.0, 2.0]))
    assert task.conformal(np.zeros(8), np.ones(8), 0.9).most_misfit == np.inf
    assert task.conformal(np.zeros(9), np.arange(9.0), 0.9).most_misfit == 8
    assert task.most_misfit == np.inf


def test_labels_pool_as_logits_and_come_back():
    flags = [pa.array([True, False, None, False, None]), pa.array([False, None, None, True, False])]
    task = MultiLabel("t", VIEWS).fit(pa.StructArray.from_arrays(flags, names=["", "a.b;c"]))
    p = np.array([[0.2, 0.6], [0.0, 1.0]])
    assert task.unpool(task.pool(p)) == pytest.approx(np.array([[0.2, 0.6], [0.2, 0.8]])), "floored at 1 / (3 + 2)"
    assert task.unpool(task.prior) == pytest.approx([1 / 3, 1 / 3]) and task.classes == ["", "a.b;c"]
    assert task.decide(np.array([[0.5, 0.4], [0.6, 0.9], [0.1, 0.2]])).tolist() == ["", "|a.b;c", ""]
    with pytest.raises(TargetError, match="some training rows have and others lack"):
        MultiLabel("t", VIEWS).fit(pa.StructArray.from_arrays([pa.array([True, True, None])], names=["a"]))


def test_what_joins_names_is_in_none_of_them():
    assert (mark_of(["a", "b"]), mark_of(["a;b", "c"]), mark_of(["a;b", "c|d"]), mark_of(["a;", "b|", "c,"])) == (";", "|", ",", ";")
