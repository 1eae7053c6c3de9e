"""Did mixing the inputs pay? The answer, every input alone and every subset of inputs on rows that nothing learnt from.

R rows · C classes. A subset of inputs ("view") is an integer, bit m for the m-th input.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from sklearn.metrics import confusion_matrix

from xmodal.answer import Answer, blocks, to_bits, to_keys
from xmodal.batch import Examples
from xmodal.errors import ConfigError, unknown
from xmodal.experts.base import Data
from xmodal.features.column import Fitted
from xmodal.job import Json, Rows
from xmodal.metrics import LOWER, draw_weights, drawn, interval, metric_names
from xmodal.pool import SETS
from xmodal.race import Outcome
from xmodal.tasks import Classify, MultiLabel, Regress, Task, labelled

MARGIN = 0.01  # one point: a gain below it doesn't pay; of a metric in the target's units, .01 of its deviation
MATRIX, BINS, SHOWN = 20, 10, 4  # classes of the confusion matrix, bins of the calibration, examples of each side
LEAST = 3  # rows of a bin of the calibration: of fewer its mean would be a cell
FEW = 20  # groups of rows: a bootstrap of fewer says nothing
IN_UNITS = ("mean_absolute_error", "root_mean_squared_error")


WORTH: dict[str, Callable[..., np.ndarray]] = {  # of true and false positives, false and true negatives
    "f1": lambda tp, fp, fn, tn: 2 * tp / np.maximum(2 * tp + fp + fn, 1e-12),
    "f1_macro": lambda tp, fp, fn, tn: tp / np.maximum(2 * tp + fp + fn, 1e-12) + tn / np.maximum(2 * tn + fp + fn, 1e-12),
    "balanced_accuracy": lambda tp, fp, fn, tn: tp / np.maximum(tp + fn, 1e-12) + tn / np.maximum(tn + fp, 1e-12),
}


def saved(cost: list[list[float]], positive: int) -> Callable[..., np.ndarray]:
    """What `cost` leaves, of the same four counts."""
    order = [positive, 1 - positive]
    each = np.array(cost, float)[order][:, order].T.ravel()
    return lambda *counts: -sum(c * n for c, n in zip(each, counts, strict=True))


def threshold(true_R: np.ndarray, p_R: np.ndarray, weight_R: np.ndarray, worth: Callable[..., np.ndarray]) -> float:
    """From which probability on a row is said to be positive, so that `worth` is greatest: the middle between two of them."""
    order = np.argsort(-p_R, kind="stable")
    p, ends = p_R[order], np.flatnonzero(np.r_[np.diff(p_R[order]) < 0, len(p_R) > 0])
    tp, fp = (np.r_[0.0, np.cumsum(weight_R[order] * t[order])[ends]] for t in (true_R, ~true_R))
    best = int(np.argmax(worth(tp, fp, tp[-1] - tp, fp[-1] - fp)))
    edges = np.r_[1.0 + 1e-9, p[ends], 0.0]
    return float((edges[best] + edges[best + 1]) / 2)


def costs(task: Task, text: str) -> list[list[float]]:
    """[true][said]; what isn't named costs 1 where it is wrong, 0 where it is right. Raises ConfigError."""
    if not isinstance(task, Classify):
        raise ConfigError("a target of classes for --cost", f"{task.name!r} of kind {task.kind}", "leave --cost out")
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        rows = [(t, s, c) for t, said in found.items() for s, c in said.items()]
    except (ValueError, AttributeError) as e:
        raise ConfigError('what mistakes cost, as {"TRUE": {"SAID": COST}}', repr(text), "mend --cost") from e
    matrix = (1 - np.eye(task.width)).tolist()
    for t, s, c in rows:
        for name in (t, s):
            if name not in task.classes:
                raise unknown("class", name, task.classes)
        if isinstance(c, bool) or not isinstance(c, (int, float)) or not 0 <= c < np.inf:
            raise ConfigError("costs of 0 and more", f"{c!r} for {t!r} said to be {s!r}", "mend --cost")
        matrix[task.classes.index(t)][task.classes.index(s)] = float(c)
    return matrix


def asked(task: Task, positive: str | None, cost: str | None) -> Task:
    """The task with the positive class and the costs that are asked for. Raises ConfigError."""
    config = dict(task.config)
    if positive is not None:
        if not isinstance(task, Classify) or task.width != 2:
            got = f"{task.name!r} of {task.width}, {task.kind}"
            raise ConfigError("a target of two classes for --positive", got, "leave --positive out")
        if positive not in task.classes:
            raise unknown("class", positive, task.classes)
        config["positive"] = positive
    if cost is not None:
        config["decision"] = {"cost": costs(task, cost)}
    return replace(task, fitted=Fitted(config))


@dataclass(frozen=True)
class Held:
    """What the answer said of rows it had not learnt from: a score a view, and that of the best single input of each
    view, which was chosen elsewhere."""

    score: dict[int, np.ndarray]  # view -> probabilities [R, C] or values [R]
    best: dict[int, np.ndarray]  # view -> the same, of the best input in it
    rows: Rows

    @classmethod
    def of(cls, outcome: Outcome, data: Data, rows: Rows) -> Held:
        """Every view of these rows (where there are many inputs: none, each alone, all), from predictions made once an expert and
        view; the single inputs' from the pool of all experts."""
        answer, pooled = outcome.answer, outcome.pooled
        ones = [1 << m for m in range(len(answer.inputs))]
        views = list(range(answer.full + 1)) if len(ones) <= SETS else [0, *ones, answer.full]
        scores = answer.scores(data, rows, views)
        found = {v: answer.task.unpool(answer.pool.add(scores, v)) for v in views}
        single = found if answer is pooled else {v: answer.task.unpool(pooled.pool.add(pooled.scores(data, rows, ones), v)) for v in ones}
        alone = {key: single[1 << m] for m, key in enumerate(answer.inputs)}
        return cls(found, {v: alone[answer.best_single(v)] for v in views if v}, rows)

    @staticmethod
    def stitched(parts: Sequence[Held]) -> Held:
        """The held rows of several folds as one."""
        first = parts[0]
        return Held(
            {v: np.concatenate([p.score[v] for p in parts]) for v in first.score},
            {v: np.concatenate([p.best[v] for p in parts]) for v in first.best},
            np.concatenate([p.rows for p in parts]),
        )


@dataclass(frozen=True)
class Judge:
    """Scores by one metric the labelled ones of some rows; every comparison is paired by the same draws."""

    task: Task
    metric: str
    examples: Examples  # of the whole table
    groups_B: np.ndarray  # what is drawn together, of the whole table
    rows: Rows
    seed: int
    coverage: float = 0.9

    @cached_property
    def keep_R(self) -> np.ndarray:
        """Which rows are labelled."""
        return np.asarray(labelled(self.examples)[1][self.rows])

    @cached_property
    def y_R(self) -> np.ndarray:
        """Of the labelled: class indices (-1: never seen in training), labels (-1: unlabelled), or values in the target's units."""
        y_R = labelled(self.examples)[0][self.rows][self.keep_R]
        return np.asarray(self.task.unpool(y_R[:, None]) if isinstance(self.task, Regress) else y_R.astype(int))

    @cached_property
    def weight_WR(self) -> np.ndarray:
        """The whole sample once, then the draws."""
        return draw_weights(self.groups_B[self.rows][self.keep_R], self.seed)

    @cached_property
    def share_R(self) -> np.ndarray:
        """How much each labelled row counts; the mean is 1."""
        weight_R = self.examples.weight_R.numpy()[self.rows][self.keep_R]
        return np.asarray(weight_R / np.float32(max(float(weight_R.mean()), 1e-12))) if len(weight_R) else weight_R

    def draws(self, name: str, score: np.ndarray) -> np.ndarray:
        """The metric in every draw, the whole sample first, [1 + W]."""
        score, weight_WR = score[self.keep_R], self.weight_WR if name == "ece" else self.weight_WR * self.share_R
        if not isinstance(self.task, Classify):
            return drawn(name, self.y_R, score, 0, weight_WR)
        return drawn(name, self.y_R, score, self.task.positive, weight_WR, self.task.guess(score))

    def settled(self, score: np.ndarray, metric: str) -> Task:
        """The task with what these rows, which nothing learnt from, decide: of two classes the threshold of the positive one, for
        a metric in WORTH or for what mistakes cost; and the misfit for intervals."""
        task, y_R, score = self.task, self.y_R, score[self.keep_R]
        cost = task.config.get("decision", {}).get("cost")
        if isinstance(task, Classify) and task.width == 2 and (metric in WORTH or cost):
            at = task.positive
            worth = saved(cost, at) if cost else WORTH[metric]
            decision: dict[str, Json] = {"threshold": threshold(y_R == at, score[:, at], self.share_R, worth)}
            decision |= {"cost": cost} if cost else {"metric": metric}
            task = replace(task, fitted=Fitted({**task.config, "decision": decision}))
        return task if isinstance(task, MultiLabel) else task.conformal(y_R, score, self.coverage)

    def measured(self, score: np.ndarray, names: Sequence[str] = ()) -> dict[str, Json]:
        """`metrics` and `ci95` of a score [R, …]."""
        drawn_W = {name: self.draws(name, score) for name in names or (self.metric,)} if self.keep_R.any() else {}
        values: dict[str, Json] = {name: float(w[0]) if np.isfinite(w[0]) else None for name, w in drawn_W.items()}
        return {"metrics": values, "ci95": {n: None if values[n] is None else list(interval(w[1:])) for n, w in drawn_W.items()}}

    def gain(self, score: np.ndarray, other: np.ndarray) -> tuple[float | None, list[float | None]]:
        """How much better `score` is than `other`, and the interval of that by paired bootstrap."""
        gain_W = (-1 if self.metric in LOWER else 1) * (self.draws(self.metric, score) - self.draws(self.metric, other))
        return (float(gain_W[0]) if np.isfinite(gain_W[0]) else None), interval(gain_W[1:])

    def verdict(self, held: Held, full: int, best_single: str) -> dict[str, Json]:
        """`pays`: the interval of the gain lies above 0; `does_not_pay`: below one point; else `undecided`. Where there
        is nothing to compare, `one_input` or `no_rows`; on fewer than FEW groups of rows always `undecided`."""
        in_units = isinstance(self.task, Regress) and self.metric in IN_UNITS
        margin = MARGIN * (self.task.scale[1] if in_units else 1.0)  # type: ignore[attr-defined]
        found: dict[str, Json] = {"metric": self.metric, "margin": margin, "rows": int(self.keep_R.sum()), "best_single": best_single}
        if full == 1 or not self.keep_R.any():
            return {"outcome": "one_input" if full == 1 else "no_rows", "gain": None, "ci95": [None, None], **found}
        gain, (low, high) = self.gain(held.score[full], held.best[full])
        outcome = "pays" if low is not None and low > 0 else "does_not_pay" if high is not None and high < margin else "undecided"
        few = len(np.unique(self.groups_B[self.rows][self.keep_R])) < FEW
        return {"outcome": "undecided" if few else outcome, "gain": gain, "ci95": [low, high], **found}

    def comparison(self, held: Held, answers: Sequence[Answer]) -> dict[str, Json]:
        """Verdict, subsets and mean weights, of one answer or of one a fold."""
        inputs = answers[0].inputs
        firsts = sorted(inputs[a.order[0]].name for a in answers)
        lines: list[Json] = []
        for view in (v for v in held.score if v and self.keep_R.any()):
            there = to_keys(inputs, view)
            line: dict[str, Json] = {"inputs": [i.name for k, i in inputs.items() if k in there], **self.measured(held.score[view])}
            if view.bit_count() > 1:
                line["gain"], line["gain_ci95"] = self.gain(held.score[view], held.best[view])  # type: ignore[assignment]
                bests = [inputs[a.best_single(view)].name for a in answers]
                line["best_single"] = max(sorted(bests), key=bests.count)
            lines.append(line)
        given = [a.weights for a in answers]
        weights: dict[str, Json] = {n: float(np.mean([w.get(n, 0.0) for w in given])) for n in sorted(set().union(*given))}
        return {"verdict": self.verdict(held, answers[0].full, max(firsts, key=firsts.count)), "subsets": lines, "weights": weights}

    def evaluation(self, score: np.ndarray, part: str, warnings: list[str]) -> dict[str, Json]:
        """The JSON of `evaluate`: every metric of the task with its interval."""
        names = metric_names(self.task.kind, self.task.width)
        found = self.measured(score, (self.metric, *(n for n in names if n != self.metric)))
        undefined = [name for name, value in found["metrics"].items() if value is None]  # type: ignore[union-attr]
        notes: list[Json] = [*warnings, *([f"undefined on these rows: {', '.join(undefined)}"] if undefined else [])]
        target: dict[str, Json] = {"task": self.task.kind, "n": int(self.keep_R.sum()), **found}
        if isinstance(self.task, Classify) and self.task.width == 2:
            true_R = self.y_R == self.task.positive
            target |= {"positive": self.task.classes[self.task.positive], "base_rate": float(true_R.mean()) if len(true_R) else None}
        if isinstance(self.task, MultiLabel):
            counts = zip(self.task.classes, (self.y_R >= 0).sum(0).tolist(), (self.y_R == 1).sum(0).tolist(), strict=True)
            target["labels"] = {name: {"n": n, "positive": k} for name, n, k in counts}
        return {"rows": len(self.rows), "part": part, "targets": {self.task.name: target}, "warnings": notes}

    def below(self, outcome: Outcome) -> list[str]:
        """What to say where the shipped answer is worse than the best single input on the rows that the fit chose by."""
        pooled, unpool = outcome.pooled, self.task.unpool
        name = next(m.name for m in pooled.members if m.bits == to_bits(pooled.inputs, pooled.order[:1]))
        best = next(e for e in outcome.entries if e.member.name == name)
        shipped = unpool(outcome.answer.pool.add(outcome.scores, pooled.full))
        gain, _ = self.gain(shipped, unpool(best.z[best.member.bits]))
        worse = f"the deep fusion alone is {-(gain or 0):.3g} {self.metric} below its best single input: --ship answer is not"
        return [worse] if gain is not None and gain < 0 else []

    def summary(self, outcome: Outcome, data: Data) -> dict[str, Json]:
        """The measured part of report.json: the answer, every expert, the weights, the verdict, the subsets. The judge's
        rows are the test part; what the fit chose by is measured beside it."""
        answer, full = outcome.answer, outcome.answer.full
        names = (self.metric, "root_mean_squared_error" if self.task.kind == "regress" else "log_loss")
        scored, held = replace(self, rows=outcome.rows), Held.of(outcome, data, self.rows)
        unpool, members, config = answer.task.unpool, {m.name: m for m in answer.members}, answer.task.config
        chosen, any_test = unpool(answer.pool.add(outcome.scores, full)), bool(self.keep_R.any())
        experts: list[Json] = []
        for entry in outcome.entries:
            one = entry.member
            line: dict[str, Json] = {
                "name": one.name, "family": one.expert.family, "inputs": [i.name for i in one.expert.inputs.values()],
                "kept": one.name in members, "rounds": list(entry.rounds), "fit_cpu_seconds": entry.seconds,
                "milliseconds_a_row": entry.predict_ms, "curves": [[round(loss, 5) for loss in c] for c in entry.curves if c],
            }  # fmt: skip
            if not one.residual:
                line["validation"] = scored.measured(unpool(entry.z[one.bits if one.single else full]), names)
                if one.name in members and any_test:
                    said_R = [members[one.name].expert.predict(data, some)[self.task.name].score for some in blocks(self.rows)]
                    line["test"] = self.measured(np.concatenate(said_R), names)
            experts.append(line)
        found: dict[str, Json] = {"metric": self.metric}
        if isinstance(answer.task, Classify) and "decision" in config:
            found["decision"] = {"positive": answer.task.classes[answer.task.positive], **config["decision"]}
        if "conformal" in config:
            right_R = answer.task.misfit(self.y_R, held.score[full][self.keep_R]) <= answer.task.most_misfit
            found["intervals"] = {**config["conformal"], "test_coverage": float(right_R.mean()) if any_test else None}
        answered: dict[str, Json] = {"validation": scored.measured(chosen, names)}
        if any_test:
            answered["test"] = self.measured(held.score[full], names)
        part, judge, score = ("test", self, held.score[full]) if any_test else ("validation", scored, chosen)
        details: dict[str, Json] = {"part": part, "rows": int(judge.keep_R.sum()), **judge.details(score)}
        return {**found, "answer": answered, "experts": experts, **self.comparison(held, [answer]), "details": details}

    def details(self, score: np.ndarray) -> dict[str, Json]:
        """Where the answer errs. `calibration`: bins of equal count, each [mean of what was said, mean of what came, rows];
        said is a class's probability that came or not, or a value. `confusion`: rows by true and said class, the last class
        None where there are more than MATRIX; or `residuals`. `extremes`: the rows most right and most wrong, by what is
        said of the truth."""
        task, said_R, y_R, rows_R = self.task, score[self.keep_R], self.y_R, self.rows[self.keep_R]
        if isinstance(task, MultiLabel):
            return {}
        told, error_R = task.decide(said_R).tolist(), task.misfit(y_R, said_R)
        best = error_R.argsort(kind="stable")
        if isinstance(task, Classify):
            guess_R = task.guess(said_R)
            x_R, came_R, right_R = said_R[np.arange(len(said_R)), guess_R], guess_R == y_R, guess_R == y_R
            found = confusion(y_R, guess_R, task.classes)
        else:
            x_R, came_R, right_R = said_R, y_R, best.argsort() < len(y_R) / 2
            residual_R = said_R - y_R  # what lies beyond the middle 99 % is counted in the outermost of the bins
            counts, edges = np.histogram(residual_R.clip(*np.quantile(residual_R, [0.005, 0.995])), 21)
            found = {"residuals": {"counts": counts.tolist(), "edges": edges.tolist()}}
        bins = [b for b in np.array_split(x_R.argsort(kind="stable"), max(min(BINS, len(x_R) // LEAST), 1)) if len(b) >= LEAST]
        picked = {"right": best[right_R[best]][:SHOWN], "wrong": best[~right_R[best]][::-1][:SHOWN]}
        return found | {
            "calibration": [[float(x_R[b].mean()), float(came_R[b].mean()), len(b)] for b in bins],
            "extremes": [
                {"side": side, "row": int(rows_R[r]), "said": told[r], "error": float(error_R[r])}
                for side, some in picked.items() for r in some
            ],
        }  # fmt: skip


def confusion(y_R: np.ndarray, guess_R: np.ndarray, classes: list[str]) -> dict[str, Json]:
    """Rows by true and said class, the MATRIX most frequent ones; what is left, None, stands last."""
    often_C = np.bincount(y_R[y_R >= 0], minlength=len(classes))
    shown = np.sort(np.argsort(-often_C, kind="stable")[:MATRIX])
    place_C = np.full(len(classes) + 1, len(shown))  # also of -1, a class that training never saw
    place_C[shown] = np.arange(len(shown))
    count_CC = confusion_matrix(place_C[y_R], place_C[guess_R], labels=np.arange(len(shown) + 1))
    most = len(shown) + bool(count_CC[-1].any() or count_CC[:, -1].any())
    names: list[Json] = [*(classes[c] for c in shown), None]
    return {"confusion": {"classes": names[:most], "counts": count_CC[:most, :most].tolist()}}
