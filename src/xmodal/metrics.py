"""Scores of predictions under every draw of a bootstrap, which draws groups where there are some.

R rows · C classes · L labels · W draws. A draw is a weight a row, so that one pass serves a thousand draws; with one draw of
ones the numbers are scikit-learn's. Undefined: NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from xmodal.errors import unknown

NUMBERS = 2_000_000  # weights that are worked on at once
LOWER = frozenset({"log_loss", "ece", "mean_absolute_error", "root_mean_squared_error", "mean_absolute_percentage_error"})
OF_POSITIVE = frozenset({"f1", "precision", "recall", "average_precision"})  # exist for two classes only


def ratio(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """NaN where `down` is 0."""
    return np.asarray(up / np.where(down > 0, down, np.nan), float)


def total(weight_WR: np.ndarray, some: np.ndarray) -> np.ndarray:
    """The weight of some rows, or of some labels of them."""
    return np.asarray(weight_WR @ some.reshape(len(some), -1).sum(1, dtype=np.float64))


def recall(true: np.ndarray, said: np.ndarray, weight_WR: np.ndarray) -> np.ndarray:
    """Of what is true, the share that is said."""
    return ratio(total(weight_WR, true & said), total(weight_WR, true))


def precision(true: np.ndarray, said: np.ndarray, weight_WR: np.ndarray) -> np.ndarray:
    """Of what is said, the share that is true."""
    return recall(said, true, weight_WR)


def f1(true: np.ndarray, said: np.ndarray, weight_WR: np.ndarray) -> np.ndarray:
    """The harmonic mean of precision and recall."""
    return ratio(2 * total(weight_WR, true & said), total(weight_WR, true) + total(weight_WR, said))


def steps(true_R: np.ndarray, score_R: np.ndarray, weight_WR: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The weight of true rows and of others at each distinct score, the highest first; some draws at a time."""
    order = np.argsort(-score_R, kind="stable")
    starts, true_R = np.flatnonzero(np.r_[True, np.diff(score_R[order]) < 0]), true_R[order]
    for some_WR in np.array_split(weight_WR, -(-weight_WR.size // NUMBERS)):
        w_WR = some_WR[:, order]
        up, down = (np.add.reduceat(w_WR * some_R, starts, axis=1, dtype=np.float64) for some_R in (true_R, ~true_R))
        yield up, down


def roc_auc(true_R: np.ndarray, score_R: np.ndarray, weight_WR: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, ties counted half (Mann-Whitney)."""

    def area(up: np.ndarray, down: np.ndarray) -> np.ndarray:
        return ratio(((np.cumsum(up, 1) - up / 2) * down).sum(1), up.sum(1) * down.sum(1))

    return np.concatenate([area(up, down) for up, down in steps(true_R, score_R, weight_WR)])


def average_precision(true_R: np.ndarray, score_R: np.ndarray, weight_WR: np.ndarray) -> np.ndarray:
    """The precision at each score, weighed by the recall that it adds."""

    def area(up: np.ndarray, down: np.ndarray) -> np.ndarray:
        precision = np.cumsum(up, 1) / np.maximum(np.cumsum(up + down, 1), 1e-12)
        return ratio((precision * up).sum(1), up.sum(1))

    return np.concatenate([area(up, down) for up, down in steps(true_R, score_R, weight_WR)])


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


Column = tuple[np.ndarray, np.ndarray, np.ndarray]  # what is true [R], what is said or scored [R], weight [W, R]


@dataclass(frozen=True)
class Drawn:
    """Some rows and their weight in every draw. `y`: class indices [R], -1 a class that training never saw (wrong whatever is
    said); labels [R, L], 1, 0, or -1 unlabelled, which is left out; or values [R]. `said_R`: the class that is said."""

    y: np.ndarray
    score: np.ndarray
    weight_WR: np.ndarray
    positive: int
    said_R: np.ndarray

    def mean(self, value_R: np.ndarray) -> np.ndarray:
        """Of a value a row."""
        return np.asarray((self.weight_WR @ value_R.astype(np.float64)) / self.weight_WR.sum(1, dtype=float))

    def said(self, c: int) -> Column:
        """Of one class."""
        return self.y == c, self.said_R == c, self.weight_WR

    def scored(self, c: int) -> Column:
        """Of one class against the rest."""
        return self.y == c, self.score[:, c], self.weight_WR

    def over(self, measure: Callable[..., np.ndarray], columns: Iterable[Column]) -> np.ndarray:
        """The mean over the columns where it is defined."""
        each = np.array([measure(*column) for column in columns if len(column[0])]).reshape(-1, len(self.weight_WR))
        return ratio(np.nansum(each, 0), np.isfinite(each).sum(0))

    @property
    def classes(self) -> list[Column]:
        """What is said of each class that is true or said of a row."""
        return [self.said(c) for c in np.unique(np.r_[self.y, self.said_R]).tolist()]

    @property
    def labels(self) -> list[Column]:
        """What is scored of each label, over its labelled rows."""
        return [(self.y[k, at] == 1, self.score[k, at], self.weight_WR[:, k]) for at, k in enumerate((self.y >= 0).T)]


def class_auc(d: Drawn) -> np.ndarray:
    """Of the positive class of two, else the mean over classes."""
    return d.over(roc_auc, map(d.scored, [d.positive] if d.score.shape[1] == 2 else np.unique(d.y[d.y >= 0]).tolist()))


def weighted_f1(d: Drawn) -> np.ndarray:
    """The mean over classes by how many rows have each; 0 where one is never said rightly."""
    return np.asarray(sum(d.mean(column[0]) * np.nan_to_num(f1(*column)) for column in d.classes))


def class_loss(d: Drawn) -> np.ndarray:
    """Mean log-loss; undefined where a class is one that training never saw."""
    p_R = np.where((d.y < 0).any(), np.nan, d.score[np.arange(len(d.y)), d.y])
    return d.mean(-np.log(np.maximum(p_R, np.finfo(float).tiny)))


def calibration(d: Drawn) -> np.ndarray:
    """`ece` of the first 200 draws, of whole rows whatever they weigh."""
    taken = [np.repeat(np.arange(len(d.y)), w_R.astype(int)) for w_R in d.weight_WR[:201]]
    return np.array([ece(d.y[r], d.score[r]) if len(r) else np.nan for r in taken])


def label_loss(d: Drawn) -> np.ndarray:
    """Mean log-loss over all that is labelled."""
    known_RL = d.y >= 0
    loss_RL = np.where(known_RL, -np.log(np.clip(np.where(d.y == 1, d.score, 1 - d.score), 1e-15, 1)), 0.0)
    return ratio(d.weight_WR @ loss_RL.sum(1), d.weight_WR @ known_RL.sum(1, dtype=float))


def r2(d: Drawn) -> np.ndarray:
    """The share of the variance that is explained; undefined where a draw has none."""
    centred_R = d.y - d.y.mean()
    variance_W = d.mean(centred_R**2) - d.mean(centred_R) ** 2
    least = 1e-12 * np.max(centred_R**2, initial=0.0)
    return 1 - ratio(d.mean((d.y - d.score) ** 2), np.where(variance_W > least, variance_W, 0.0))


METRICS: dict[str, dict[str, Callable[[Drawn], np.ndarray]]] = {
    "classify": {
        "accuracy": lambda d: d.mean(d.said_R == d.y),
        "balanced_accuracy": lambda d: d.over(recall, d.classes),
        "f1": lambda d: np.nan_to_num(f1(*d.said(d.positive))),
        "precision": lambda d: np.nan_to_num(precision(*d.said(d.positive))),
        "recall": lambda d: recall(*d.said(d.positive)),
        "f1_macro": lambda d: d.over(f1, d.classes),
        "f1_weighted": weighted_f1,
        "roc_auc": class_auc,
        "average_precision": lambda d: average_precision(*d.scored(d.positive)),
        "log_loss": class_loss,
        "ece": calibration,
    },
    "multilabel": {
        "f1_micro": lambda d: f1(d.y == 1, (d.score >= 0.5) & (d.y >= 0), d.weight_WR),
        "f1_macro": lambda d: d.over(lambda true_R, p_R, weight_WR: f1(true_R, p_R >= 0.5, weight_WR), d.labels),
        "mean_average_precision": lambda d: d.over(average_precision, d.labels),
        "roc_auc": lambda d: d.over(roc_auc, d.labels),
        "log_loss": label_loss,
    },
    "regress": {
        "r2": r2,
        "mean_absolute_error": lambda d: d.mean(np.abs(d.y - d.score)),
        "root_mean_squared_error": lambda d: np.sqrt(d.mean((d.y - d.score) ** 2)),
        "mean_absolute_percentage_error": lambda d: d.mean(np.abs((d.y - d.score) / np.where((d.y == 0).any(), np.nan, d.y))),
    },
}


def metric_names(kind: str, classes: int) -> tuple[str, ...]:
    """The metrics of a task."""
    return tuple(name for name in METRICS[kind] if classes == 2 or name not in OF_POSITIVE)


def main_metric(kind: str, classes: int, asked: str | None) -> str:
    """The metric reported first. Raises ConfigError for one that the task doesn't have, naming the nearest."""
    names = metric_names(kind, classes)
    if asked is not None and asked not in names:
        raise unknown("metric", asked, names)
    return asked or {"regress": "r2", "multilabel": "mean_average_precision"}.get(kind, "roc_auc" if classes == 2 else "accuracy")


def drawn(
    name: str, y_R: np.ndarray, score: np.ndarray, positive: int, weight_WR: np.ndarray, guess_R: np.ndarray | None = None
) -> np.ndarray:
    """The metric in every draw, [W]. `guess_R`: the class said, else the likeliest."""
    kind = "multilabel" if y_R.ndim == 2 else "classify" if score.ndim == 2 else "regress"
    if guess_R is None:
        guess_R = score.argmax(1) if kind == "classify" else score
    return METRICS[kind][name](Drawn(y_R, score, weight_WR, positive, guess_R))


def draw_weights(groups_R: np.ndarray, seed: int, draws: int = 0) -> np.ndarray:
    """[1 + W, R] how often each draw takes each row, whole groups with replacement; first, every row once. W is 1,000, or
    fewer (200 at least) where the weights would fill memory."""
    _, group_R = np.unique(groups_R, return_inverse=True)
    count = int(group_R.max(initial=-1)) + 1
    draws = draws or int(np.clip(20_000_000 // max(len(groups_R), 1), 200, 1000))
    random, times_WR = np.random.default_rng(seed), np.ones((1 + draws, len(groups_R)), np.float32)
    for times_R in times_WR[1:]:
        times_R[:] = np.bincount(random.integers(0, max(count, 1), count), minlength=count)[group_R]
    return times_WR


def interval(values_W: np.ndarray) -> list[float | None]:
    """The middle 95 % of the draws."""
    known = values_W[np.isfinite(values_W)]
    return [float(v) for v in np.quantile(known, [0.025, 0.975])] if len(known) else [None, None]
