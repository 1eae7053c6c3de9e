"""Metrics against scikit-learn, and the bootstrap against resampling written plainly."""

import numpy as np
import pytest
from sklearn import metrics as sk

from xmodal.errors import ConfigError
from xmodal.metrics import draw_weights, drawn, ece, interval, main_metric, metric_names

CLASSIFY = {
    "accuracy": lambda y, p, said: sk.accuracy_score(y, said),
    "balanced_accuracy": lambda y, p, said: np.mean([(said[y == c] == c).mean() for c in np.unique(y)]),
    "f1": lambda y, p, said: sk.f1_score(y, said, labels=[1], average="macro", zero_division=0.0),
    "precision": lambda y, p, said: sk.precision_score(y, said, labels=[1], average="macro", zero_division=0.0),
    "recall": lambda y, p, said: sk.recall_score(y, said, labels=[1], average="macro", zero_division=0.0),
    "f1_macro": lambda y, p, said: sk.f1_score(y, said, average="macro", zero_division=0.0),
    "f1_weighted": lambda y, p, said: sk.f1_score(y, said, average="weighted", zero_division=0.0),
    "roc_auc": lambda y, p, said: np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in range(p.shape[1])]),
    "average_precision": lambda y, p, said: sk.average_precision_score(y == 1, p[:, 1]),
    "log_loss": lambda y, p, said: sk.log_loss(y, p, labels=range(p.shape[1])),
    "ece": lambda y, p, said: ece(y, p),
}
REGRESS = {
    "r2": sk.r2_score,
    "mean_absolute_error": sk.mean_absolute_error,
    "root_mean_squared_error": sk.root_mean_squared_error,
    "mean_absolute_percentage_error": sk.mean_absolute_percentage_error,
}


def resampled(weight_WR):
    """The rows of each draw."""
    return [np.repeat(np.arange(len(w)), w.astype(int)) for w in weight_WR]


def case(classes: int, rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, rows)
    z = random.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[y]
    p = np.round(np.exp(z) / np.exp(z).sum(1, keepdims=True), 2) + 1e-3  # rounded: ties
    return y, p / p.sum(1, keepdims=True)


@pytest.mark.parametrize(("classes", "name"), [(c, n) for c in (2, 4) for n in metric_names("classify", c)])
def test_drawn_equals_resampling(classes, name):
    y, p = case(classes, 60)
    said = (p[:, 1] < 0.2).astype(int)  # may differ from the likeliest
    weight = draw_weights(np.arange(60), 3, 10)
    for guess in (None, said):
        expected = [CLASSIFY[name](y[r], p[r], p[r].argmax(1) if guess is None else guess[r]) for r in resampled(weight)]
        assert drawn(name, y, p, 1, weight, guess) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", metric_names("regress", 1))
def test_drawn_regression_equals_resampling(name):
    random = np.random.default_rng(1)
    y = random.normal(size=50) + 1e6
    value = y + random.normal(size=50)
    weight = draw_weights(np.arange(50), 3, 10)
    expected = [REGRESS[name](y[r], value[r]) for r in resampled(weight)]
    assert drawn(name, y, value, 0, weight) == pytest.approx(expected, rel=1e-4)


def test_a_class_never_seen_counts_as_wrong():
    y, p = case(3)
    y[:20] = -1
    once = np.ones((1, len(y)))
    assert drawn("accuracy", y, p, 0, once) == pytest.approx((p.argmax(1) == y).mean())
    assert np.isnan(drawn("log_loss", y, p, 0, once))
    assert drawn("balanced_accuracy", y, p, 0, once) <= 0.75
    assert drawn("f1_macro", y, p, 0, once) == pytest.approx(sk.f1_score(y, p.argmax(1), average="macro"))


def test_what_is_undefined():
    y, p, once = np.zeros(5, int), np.full((5, 2), 0.5), np.ones((1, 5))
    for name in ("roc_auc", "recall", "average_precision"):
        assert np.isnan(drawn(name, y, p, 1, once)), name
    assert drawn("f1", y, p, 1, once) == drawn("precision", y, p, 1, once) == 0
    assert np.isnan(drawn("r2", np.ones(5), np.ones(5), 0, once))
    assert np.isnan(drawn("mean_absolute_percentage_error", np.arange(5.0), np.ones(5), 0, once))


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


def labels(rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    y = random.integers(-1, 2, (rows, 3))
    y[:, 2] = np.where(y[:, 2] < 0, -1, 1)  # never absent
    return y, np.round(np.clip(0.5 + 0.2 * y + random.normal(size=y.shape) / 4, 0.02, 0.98), 2)


@pytest.mark.parametrize("name", metric_names("multilabel", 3))
def test_labels_equal_sklearn_where_they_are_labelled(name):
    y_RL, p_RL = labels(60)

    def each(y, p, score):
        """The mean over the labels that both have and lack rows."""
        known = [(y[k, c], p[k, c]) for c in range(3) for k in [y[:, c] >= 0]]
        return np.mean([score(t, s) for t, s in known if score is not sk.roc_auc_score or len(np.unique(t)) > 1])

    expected = {
        "f1_micro": lambda y, p: sk.f1_score(y[y >= 0], p[y >= 0] >= 0.5),
        "f1_macro": lambda y, p: each(y, p, lambda t, s: sk.f1_score(t, s >= 0.5)),
        "mean_average_precision": lambda y, p: each(y, p, sk.average_precision_score),
        "roc_auc": lambda y, p: each(y, p, sk.roc_auc_score),
        "log_loss": lambda y, p: sk.log_loss(y[y >= 0], p[y >= 0]),
    }
    weight = draw_weights(np.arange(60), 3, 10)
    found = drawn(name, y_RL, p_RL, 0, weight)
    assert found == pytest.approx([expected[name](y_RL[r], p_RL[r]) for r in resampled(weight)], abs=1e-5)
    assert np.isnan(drawn(name, np.full_like(y_RL, -1), p_RL, 0, weight)).all()
