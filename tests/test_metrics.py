"""Metrics against scikit-learn, and the bootstrap against resampling written plainly."""

import numpy as np
import pytest
from sklearn import metrics as sk

from xmodal.errors import ConfigError
from xmodal.metrics import (
    classification_metrics,
    draw_weights,
    drawn,
    ece,
    interval,
    label_metrics,
    main_metric,
    metric_names,
    regression_metrics,
)


def case(classes: int, rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, rows)
    z = random.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[y]
    p = np.exp(z)
    return y, np.round(p / p.sum(1, keepdims=True), 2) + 1e-3  # rounded: ties


def test_two_classes_equal_sklearn():
    y, p = case(2)
    p = p / p.sum(1, keepdims=True)
    found = classification_metrics(y, p, 1)
    guess = p.argmax(1)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p[:, 1]))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(y, p[:, 1]))
    assert found["f1"] == pytest.approx(sk.f1_score(y, guess))
    assert found["recall"] == pytest.approx(sk.recall_score(y, guess))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, guess))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, p))


def test_a_class_never_seen_counts_as_wrong():
    y, p = case(3)
    y[:20] = -1
    found = classification_metrics(y, p, 0)
    assert found["accuracy"] == pytest.approx((p.argmax(1) == y).mean())
    assert found["log_loss"] is None
    assert found["balanced_accuracy"] <= 0.75


def test_undefined_is_none():
    y, p = np.zeros(5, int), np.full((5, 2), 0.5)
    assert classification_metrics(y, p, 1)["roc_auc"] is None
    assert regression_metrics(np.ones(4), np.ones(4))["r2"] is None
    assert set(classification_metrics(np.zeros(0, int), np.zeros((0, 2)), 1).values()) == {None}


@pytest.mark.parametrize("name", [n for n in metric_names("classify", 4) if n != "ece"])
@pytest.mark.parametrize("classes", [2, 4])
def test_drawn_equals_resampling(name, classes):
    y, p = case(classes, 60)
    weight = draw_weights(np.arange(60), 3, 10)[1:]
    expected = [classification_metrics(y[r], p[r], 1, (name,))[name] for w in weight for r in [np.repeat(np.arange(60), w.astype(int))]]
    assert drawn(name, y, p, 1, weight) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", metric_names("regress", 1))
def test_drawn_regression_equals_resampling(name):
    random = np.random.default_rng(1)
    y = random.normal(size=50) + 1e6
    value = y + random.normal(size=50)
    weight = draw_weights(np.arange(50), 3, 10)[1:]
    expected = [regression_metrics(y[r], value[r], (name,))[name] for w in weight for r in [np.repeat(np.arange(50), w.astype(int))]]
    assert drawn(name, y, value, 0, weight) == pytest.approx(expected, rel=1e-4)


def test_groups_are_drawn_whole():
    groups = np.array([5, 5, 5, 9, 9, 1])
    weight = draw_weights(groups, 0, 50)[1:]
    assert (weight[:, 0] == weight[:, 2]).all() and (weight[:, 3] == weight[:, 4]).all()
    assert ((weight[:, 0] + weight[:, 3] + weight[:, 5]) == 3).all()


def test_ece_is_small_for_calibrated_and_large_for_shifted():
    random = np.random.default_rng(0)
    p = random.uniform(size=20000)
    y = (random.uniform(size=20000) < p).astype(int)
    assert ece(y, np.stack([1 - p, p], 1)) < 0.01
    wrong = np.clip(p + np.where(p > 0.5, 0.2, -0.2), 0.01, 0.99)
    assert ece(y, np.stack([1 - wrong, wrong], 1)) > 0.1


def test_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        main_metric("classify", 3, "acuracy")
    assert main_metric("classify", 2, None) == "roc_auc" and main_metric("regress", 1, None) == "r2"


def test_interval_of_nothing_is_null():
    assert interval(np.array([np.nan, np.nan])) == [None, None]


def test_one_class_or_none_known_has_no_auc():
    y, p = case(3)
    for labels in (np.zeros_like(y), np.full_like(y, -1)):
        assert np.isnan(drawn("roc_auc", labels, p, 0, draw_weights(np.arange(len(y)), 0, 5))).all()
    assert drawn("accuracy", y, p, 0, draw_weights(np.arange(len(y)), 0, 5))[0] == (p.argmax(1) == y).mean()


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "average_precision"])
def test_drawn_of_the_positive_class_equals_resampling(name):
    y, p = case(2, 60)
    weight = draw_weights(np.arange(60), 3, 10)[1:]
    expected = [classification_metrics(y[r], p[r], 1, (name,))[name] for w in weight for r in [np.repeat(np.arange(60), w.astype(int))]]
    assert drawn(name, y, p, 1, weight) == pytest.approx(expected, abs=1e-5)


def labels(rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    y = random.integers(-1, 2, (rows, 3))
    y[:, 2] = np.where(y[:, 2] < 0, -1, 1)  # never absent
    return y, np.round(np.clip(0.5 + 0.2 * y + random.normal(size=y.shape) / 4, 0.02, 0.98), 2)


def test_labels_equal_sklearn_where_they_are_labelled():
    y, p = labels()
    found, k = label_metrics(y, p), y >= 0
    both = [c for c in range(3) if len(np.unique(y[k[:, c], c])) > 1]
    each = lambda score, cs: np.mean([score(y[k[:, c], c], p[k[:, c], c]) for c in cs])  # noqa: E731
    assert both == [0, 1] and found["roc_auc"] == pytest.approx(each(sk.roc_auc_score, both))
    assert found["mean_average_precision"] == pytest.approx(each(sk.average_precision_score, range(3)))
    assert found["f1_micro"] == pytest.approx(sk.f1_score(y[k], p[k] >= 0.5))
    assert found["f1_macro"] == pytest.approx(each(lambda t, s: sk.f1_score(t, s >= 0.5), range(3)))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y[k], p[k]), rel=1e-6)
    blank = np.full_like(y, -1)
    assert {n for n, v in label_metrics(blank, p).items() if v is None} == {*found} - {"log_loss"}


@pytest.mark.parametrize("name", metric_names("multilabel", 3))
def test_drawn_labels_equal_resampling(name):
    y, p = labels(60)
    weight = draw_weights(np.arange(60), 3, 10)[1:]
    expected = [label_metrics(y[r], p[r])[name] for w in weight for r in [np.repeat(np.arange(60), w.astype(int))]]
    assert drawn(name, y, p, 0, weight) == pytest.approx(expected, abs=1e-5)


def test_what_is_said_may_differ_from_the_likeliest():
    y, p = case(2)
    said = (p[:, 1] > 0.2).astype(int)
    once = np.ones((1, len(y)))
    assert classification_metrics(y, p, 1, (), said)["f1"] == pytest.approx(sk.f1_score(y, said)) == drawn("f1", y, p, 1, once, said)[0]
