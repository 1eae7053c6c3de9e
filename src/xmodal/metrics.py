"""Scores of predictions: scikit-learn's, calibration, and bootstrap intervals that draw groups where there are some.

R rows · C classes · W bootstrap draws. A draw is a weight a row, so that one pass serves a thousand draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from sklearn import metrics as sk
from sklearn.exceptions import UndefinedMetricWarning

from xmodal.errors import unknown

LOWER = frozenset({"log_loss", "ece", "mean_absolute_error", "root_mean_squared_error", "mean_absolute_percentage_error"})
CLASSIFY = (
    "accuracy", "balanced_accuracy", "f1", "precision", "recall", "f1_macro", "f1_weighted", "roc_auc",
    "average_precision", "log_loss", "ece",
)  # fmt: skip
MULTILABEL = ("f1_micro", "f1_macro", "mean_average_precision", "roc_auc", "log_loss")
REGRESS = ("r2", "mean_absolute_error", "root_mean_squared_error", "mean_absolute_percentage_error")


def metric_names(kind: str, classes: int) -> tuple[str, ...]:
    """The metrics of a task; f1, precision and recall of the positive class exist for two classes only."""
    if kind != "classify":
        return REGRESS if kind == "regress" else MULTILABEL
    positive = ("f1", "precision", "recall", "average_precision")
    return CLASSIFY if classes == 2 else tuple(n for n in CLASSIFY if n not in positive)


def main_metric(kind: str, classes: int, asked: str | None) -> str:
    """The metric reported first. Raises ConfigError for one that the task doesn't have, naming the nearest."""
    names = metric_names(kind, classes)
    if asked is not None and asked not in names:
        raise unknown("metric", asked, names)
    return asked or {"regress": "r2", "multilabel": "mean_average_precision"}.get(kind, "roc_auc" if classes == 2 else "accuracy")


def classification_metrics(
    y_R: np.ndarray, p_RC: np.ndarray, positive: int, names: tuple[str, ...] = (), guess_R: np.ndarray | None = None
) -> dict[str, float | None]:
    """`y_R` holds class indices, -1 a class that training never saw (wrong whatever is said). `guess_R`: what is said, else the
    likeliest. Undefined: None."""
    classes = p_RC.shape[1]
    guess_R = p_RC.argmax(1) if guess_R is None else guess_R
    hit = {"labels": [positive], "average": "macro", "zero_division": 0.0}
    true_R = y_R == positive

    def auc() -> float | None:
        if classes == 2:
            return float(sk.roc_auc_score(true_R, p_RC[:, positive])) if 0 < true_R.sum() < len(true_R) else None
        seen = [c for c in range(classes) if 0 < (y_R == c).sum() < len(y_R)]
        return float(np.mean([sk.roc_auc_score(y_R == c, p_RC[:, c]) for c in seen])) if seen else None

    found: dict[str, Callable[[], float | None]] = {
        "accuracy": lambda: sk.accuracy_score(y_R, guess_R),
        "balanced_accuracy": lambda: float(np.mean([(guess_R[y_R == c] == c).mean() for c in np.unique(y_R)])),
        "f1": lambda: sk.f1_score(y_R, guess_R, **hit),
        "precision": lambda: sk.precision_score(y_R, guess_R, **hit),
        "recall": lambda: sk.recall_score(y_R, guess_R, **hit) if true_R.any() else None,
        "f1_macro": lambda: sk.f1_score(y_R, guess_R, average="macro", zero_division=0.0),
        "f1_weighted": lambda: sk.f1_score(y_R, guess_R, average="weighted", zero_division=0.0),
        "roc_auc": auc,
        "average_precision": lambda: sk.average_precision_score(true_R, p_RC[:, positive]) if true_R.any() else None,
        "log_loss": lambda: None if (y_R < 0).any() else float(-log_likelihood(y_R, p_RC).mean()),
        "ece": lambda: ece(y_R, p_RC),
    }
    return evaluate_all(found, names or metric_names("classify", classes), len(y_R))


def label_metrics(y_RL: np.ndarray, p_RL: np.ndarray, names: tuple[str, ...] = MULTILABEL) -> dict[str, float | None]:
    """`y_RL`: 1, 0, or -1 unlabelled, which is left out. Means over labels are over those that have both. Undefined: None."""
    once = np.ones((1, len(y_RL)), np.float32)
    found = drawn_labels(y_RL, p_RL, once) if len(y_RL) else {}
    values = {n: float(found[n]()[0]) if n in found else None for n in names}
    return {n: None if v is None or not np.isfinite(v) else v for n, v in values.items()}


def drawn_labels(y_RL: np.ndarray, p_RL: np.ndarray, weight_WR: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Metrics of labels in every draw, [W] each."""
    known_RL = y_RL >= 0

    def macro(one: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """The mean over the labels where it is defined."""
        each = np.stack([one(y[k] == 1, p[k], weight_WR[:, k]) if k.any() else np.full(len(weight_WR), np.nan)
                         for y, p, k in zip(y_RL.T, p_RL.T, known_RL.T, strict=True)])  # fmt: skip
        count_W = np.isfinite(each).sum(0)
        return np.asarray(np.nansum(each, 0) / np.where(count_W, count_W, np.nan))

    def f1(hit: np.ndarray, said: np.ndarray) -> np.ndarray:
        """From true positives and from those said plus those true."""
        return np.asarray(2 * hit / np.where(said > 0, said, np.nan))

    true_RL, said_RL = y_RL == 1, (p_RL >= 0.5) & known_RL
    loss_RL = np.where(known_RL, -np.log(np.clip(np.where(true_RL, p_RL, 1 - p_RL), 1e-15, 1)), 0.0)

    def sums(x_RL: np.ndarray) -> np.ndarray:
        return np.asarray(weight_WR @ x_RL.sum(1, dtype=np.float64))

    return {
        "f1_micro": lambda: f1(sums(true_RL & said_RL), sums(true_RL) + sums(said_RL)),
        "f1_macro": lambda: macro(lambda t, p, w: f1(w @ (t & (p >= 0.5)), w @ t + w @ (p >= 0.5))),
        "mean_average_precision": lambda: macro(drawn_precision),
        "roc_auc": lambda: macro(drawn_auc),
        "log_loss": lambda: sums(loss_RL) / np.maximum(sums(known_RL), 1e-12),
    }


def drawn_precision(true_R: np.ndarray, score_R: np.ndarray, weight_WR: np.ndarray) -> np.ndarray:
    """Weighted average precision of every draw, [W]: the precision at each score, weighed by the recall that it adds."""
    order = np.argsort(-score_R, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score_R[order]) < 0])
    w = weight_WR[:, order].astype(np.float64)
    up, both = np.add.reduceat(w * true_R[order], starts, axis=1), np.add.reduceat(w, starts, axis=1)
    precision = np.cumsum(up, 1) / np.maximum(np.cumsum(both, 1), 1e-12)
    return np.asarray((precision * up).sum(1) / np.where(up.sum(1) > 0, up.sum(1), np.nan))


def regression_metrics(y_R: np.ndarray, value_R: np.ndarray, names: tuple[str, ...] = REGRESS) -> dict[str, float | None]:
    """In the target's own units. Undefined (r2 of a constant, percentage of a zero): None."""
    found: dict[str, Callable[[], float | None]] = {
        "r2": lambda: sk.r2_score(y_R, value_R) if len(y_R) > 1 and np.ptp(y_R) > 0 else None,
        "mean_absolute_error": lambda: sk.mean_absolute_error(y_R, value_R),
        "root_mean_squared_error": lambda: sk.root_mean_squared_error(y_R, value_R),
        "mean_absolute_percentage_error": lambda: None if (y_R == 0).any() else sk.mean_absolute_percentage_error(y_R, value_R),
    }
    return evaluate_all(found, names, len(y_R))


def evaluate_all(found: dict[str, Callable[[], float | None]], names: tuple[str, ...], rows: int) -> dict[str, float | None]:
    """Each named metric; None where it is undefined or there is no row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        values = {name: found[name]() if rows else None for name in names}
    return {name: None if v is None or not np.isfinite(v) else float(v) for name, v in values.items()}


def log_likelihood(y_R: np.ndarray, p_RC: np.ndarray) -> np.ndarray:
    """Log-probability of the true class, [R]; of a class never seen, that of the smallest float."""
    tiny = np.finfo(float).tiny
    p_R = np.where(y_R >= 0, p_RC[np.arange(len(y_R)), np.maximum(y_R, 0)], 0.0)
    return np.asarray(np.log(np.maximum(p_R, tiny)))


def ece(y_R: np.ndarray, p_RC: np.ndarray, bins: int = 15) -> float:
    """Debiased expected calibration error of the top class (Kumar, Liang & Ma, 2019, "Verified uncertainty
    calibration", eq. 5): squared gap a bin less the variance of its accuracy, over bins of equal count."""
    top_R, right_R = p_RC.max(1), (p_RC.argmax(1) == y_R).astype(float)
    total = 0.0
    for part in np.array_split(np.argsort(top_R, kind="stable"), min(bins, len(y_R))):
        accuracy, n = right_R[part].mean(), len(part)
        variance = accuracy * (1 - accuracy) / (n - 1) if n > 1 else 0.0
        total += n / len(y_R) * ((accuracy - top_R[part].mean()) ** 2 - variance)
    return float(np.sqrt(max(total, 0.0)))


def draw_weights(groups_R: np.ndarray, seed: int, draws: int = 0) -> np.ndarray:
    """[1 + W, R] how often each draw takes each row, whole groups with replacement; first, every row once. W is 1,000, or
    fewer (200 at least) where the weights would fill memory."""
    _, group_R = np.unique(groups_R, return_inverse=True)
    count = int(group_R.max(initial=-1)) + 1
    draws = draws or int(np.clip(20_000_000 // max(len(groups_R), 1), 200, 1000))
    drawn = np.random.default_rng(seed).integers(0, max(count, 1), (draws, count)) + np.arange(draws)[:, None] * count
    times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count).astype(np.float32)
    return np.concatenate([np.ones((1, len(groups_R)), np.float32), times[:, group_R]])


def drawn_auc(true_R: np.ndarray, score_R: np.ndarray, weight_WR: np.ndarray) -> np.ndarray:
    """Weighted area under the ROC curve of every draw, ties counted half (Mann-Whitney), [W]."""
    order = np.argsort(score_R, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score_R[order]) > 0])
    w, t = weight_WR[:, order], true_R[order]
    up = np.add.reduceat(w * t, starts, axis=1)
    down = np.add.reduceat(w * ~t, starts, axis=1)
    below = np.cumsum(down, 1) - down
    pairs = up.sum(1) * down.sum(1)
    return np.asarray(((below + down / 2) * up).sum(1) / np.where(pairs > 0, pairs, np.nan))


def drawn(
    name: str, y_R: np.ndarray, score: np.ndarray, positive: int, weight_WR: np.ndarray, guess_R: np.ndarray | None = None
) -> np.ndarray:
    """The metric in every draw, [W]; NaN where undefined. `guess_R`: the class said, else the likeliest. ece comes from 200 draws
    of whole rows, whatever they weigh."""
    if y_R.ndim == 2:
        return drawn_labels(y_R, score, weight_WR)[name]()
    total_W, centred_R = weight_WR.sum(1, dtype=float), y_R - y_R.mean()
    said_R = score.argmax(1) if guess_R is None and score.ndim == 2 else guess_R

    def mean(value_R: np.ndarray) -> np.ndarray:
        return np.asarray((weight_WR @ value_R.astype(np.float64)) / total_W)

    def variance() -> np.ndarray:
        found = mean(centred_R**2) - mean(centred_R) ** 2
        return np.where(found > 1e-12 * np.max(centred_R**2, initial=0.0), found, np.nan)

    def auc() -> np.ndarray:
        if score.shape[1] == 2:
            return drawn_auc(y_R == positive, score[:, positive], weight_WR)
        none = np.zeros((0, len(weight_WR)))
        each = np.vstack([none, *(drawn_auc(y_R == c, score[:, c], weight_WR) for c in np.unique(y_R[y_R >= 0]))])
        count_W = np.isfinite(each).sum(0)
        return np.asarray(np.nansum(each, 0) / np.where(count_W, count_W, np.nan))

    def by_class(of: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], only: Sequence[int] = ()) -> np.ndarray:
        """What `of` makes of the weights of hits, true and said rows of each class, [W, C]; NaN where there is nothing to say."""
        each = [of(weight_WR @ ((y_R == c) & (said_R == c)), weight_WR @ (y_R == c), weight_WR @ (said_R == c))
                for c in only or np.unique(np.r_[y_R, said_R])]  # fmt: skip
        return np.stack(each, 1).astype(np.float64)

    def ratio(up: np.ndarray, down: np.ndarray) -> np.ndarray:
        return np.asarray(up / np.where(down > 0, down, np.nan))

    def over(each_WC: np.ndarray) -> np.ndarray:
        """The mean over the classes that a draw has."""
        count_W = np.isfinite(each_WC).sum(1)
        return np.asarray(np.nansum(each_WC, 1) / np.where(count_W, count_W, np.nan))

    forms: dict[str, Callable[[], np.ndarray]] = {
        "accuracy": lambda: mean(np.asarray(said_R == y_R)),
        "balanced_accuracy": lambda: over(by_class(lambda h, t, s: ratio(h, t))),
        "f1": lambda: by_class(lambda h, t, s: np.nan_to_num(ratio(2 * h, t + s)), [positive])[:, 0],
        "precision": lambda: by_class(lambda h, t, s: np.nan_to_num(ratio(h, s)), [positive])[:, 0],
        "recall": lambda: by_class(lambda h, t, s: ratio(h, t), [positive])[:, 0],
        "f1_macro": lambda: over(by_class(lambda h, t, s: ratio(2 * h, t + s))),
        "f1_weighted": lambda: by_class(lambda h, t, s: t * np.nan_to_num(ratio(2 * h, t + s))).sum(1) / total_W,
        "average_precision": lambda: drawn_precision(y_R == positive, score[:, positive], weight_WR),
        "mean_absolute_percentage_error": lambda: (
            np.full(len(weight_WR), np.nan) if (y_R == 0).any() else mean(np.abs((y_R - score) / y_R))
        ),
        "log_loss": lambda: mean(-log_likelihood(y_R, score)) if (y_R >= 0).all() else np.full(len(weight_WR), np.nan),
        "roc_auc": auc,
        "r2": lambda: 1 - mean((y_R - score) ** 2) / variance(),
        "mean_absolute_error": lambda: mean(np.abs(y_R - score)),
        "root_mean_squared_error": lambda: np.sqrt(mean((y_R - score) ** 2)),
    }
    if name in forms:
        return forms[name]()
    taken = [np.repeat(np.arange(len(y_R)), w.astype(int)) for w in weight_WR[:201]]
    return np.array([ece(y_R[r], score[r]) if len(r) else np.nan for r in taken])


def interval(values_W: np.ndarray) -> list[float | None]:
    """The middle 95 % of the draws."""
    known = values_W[np.isfinite(values_W)]
    return [float(v) for v in np.quantile(known, [0.025, 0.975])] if len(known) else [None, None]
