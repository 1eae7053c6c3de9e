"""Did mixing the inputs pay? The answer, every input alone and every subset of inputs on rows that nothing learnt from.

R rows · C classes. A subset of inputs ("view") is an integer, bit m for the m-th input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xmodal.answer import Answer, to_keys
from xmodal.batch import Examples
from xmodal.experts.base import Data
from xmodal.job import Input, Json, Key, Rows
from xmodal.metrics import LOWER, draw_weights, drawn, interval, metric_names
from xmodal.race import Outcome
from xmodal.tasks import Classify, Regress, Task, labelled

MARGIN = 0.01  # one point: a gain below it doesn't pay
VIEWS = 6  # every subset up to so many inputs; above, the full set and each input alone


@dataclass(frozen=True)
class Held:
    """What the answer said of rows it had not learnt from: a score a view, and that of the best single input of each
    view, which was chosen elsewhere."""

    score: dict[int, np.ndarray]  # view -> probabilities [R, C] or values [R]
    best: dict[int, np.ndarray]  # view -> the same, of the best input in it
    rows: Rows

    @classmethod
    def of(cls, answer: Answer, data: Data, rows: Rows) -> Held:
        """Every view of these rows, from predictions made once an expert and view."""
        views = listed(len(answer.inputs))
        scores = answer.scores(data, rows, views)
        found = {v: answer.task.unpool(answer.pool.add(scores, v)) for v in views}
        alone = {key: found[1 << m] for m, key in enumerate(answer.inputs)}
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


def listed(inputs: int) -> list[int]:
    """The subsets that are reported."""
    full = (1 << inputs) - 1
    return list(range(full + 1)) if inputs <= VIEWS else [0, *(1 << m for m in range(inputs)), full]


@dataclass(frozen=True)
class Judge:
    """Scores by one metric on one set of held rows; every comparison is paired by the same draws."""

    task: Task
    metric: str
    y_R: np.ndarray  # class indices (-1: never seen in training), or values in the target's units
    groups_R: np.ndarray
    all_groups: np.ndarray  # of the whole table
    seed: int

    @classmethod
    def on(cls, task: Task, examples: Examples, rows: Rows, groups: np.ndarray, metric: str, seed: int) -> tuple[Judge, np.ndarray]:
        """The judge of the labelled ones among `rows`, and which of them those are."""
        y_B, keep_B = labelled(examples)
        keep = keep_B[rows]
        y_R = y_B[rows][keep]
        if isinstance(task, Regress):
            mean, deviation = task.scale
            y_R = y_R * deviation + mean
        return cls(task, metric, y_R if task.kind == "regress" else y_R.astype(int), groups[rows][keep], groups, seed), keep

    @property
    def positive(self) -> int:
        """The positive class; of no use to a regression."""
        return self.task.positive if isinstance(self.task, Classify) else 0

    def draws(self, name: str, score: np.ndarray) -> np.ndarray:
        """The metric in every draw, the whole sample first, [1 + W]."""
        weight_WR = draw_weights(self.groups_R, self.seed)
        whole = np.ones((1, len(self.y_R)), np.float32)
        few = weight_WR if name in ("accuracy", "log_loss", "roc_auc", "r2") else weight_WR[:200]
        return drawn(name, self.y_R, score, self.positive, np.concatenate([whole, few]))

    def measured(self, score: np.ndarray, names: Sequence[str] = ()) -> tuple[dict[str, Json], dict[str, Json]]:
        """metrics and ci95 of a score."""
        values: dict[str, Json] = {}
        ranges: dict[str, Json] = {}
        for name in names or (self.metric,):
            drawn_W = self.draws(name, score)
            values[name] = float(drawn_W[0]) if np.isfinite(drawn_W[0]) else None
            ranges[name] = None if values[name] is None else list(interval(drawn_W[1:]))
        return values, ranges

    def gain(self, score: np.ndarray, other: np.ndarray) -> tuple[float | None, list[Json]]:
        """How much better `score` is than `other`, and the interval of that by paired bootstrap."""
        sign = -1 if self.metric in LOWER else 1
        gain_W = sign * (self.draws(self.metric, score) - self.draws(self.metric, other))
        return (float(gain_W[0]) if np.isfinite(gain_W[0]) else None), list(interval(gain_W[1:]))

    def subset(self, held: Held, keep: np.ndarray, inputs: Mapping[Key, object], view: int) -> dict[str, Json]:
        """A line of the table of subsets."""
        values, ranges = self.measured(held.score[view][keep])
        names: list[Json] = [k.split(".", 1)[1] for k in sorted(to_keys(inputs, view))]
        line: dict[str, Json] = {"inputs": names, "metrics": values, "ci95": ranges}
        if view.bit_count() > 1:
            line["gain"], line["gain_ci95"] = self.gain(held.score[view][keep], held.best[view][keep])
        return line


def verdict(judge: Judge, held: Held, keep: np.ndarray, inputs: int, best_single: str) -> dict[str, Json]:
    """`pays`: the interval of the gain lies above 0; `does_not_pay`: below one point; else `undecided`."""
    full = (1 << inputs) - 1
    if inputs == 1 or not len(judge.y_R):
        reason = "one_input" if inputs == 1 else "no_rows"
        return {"outcome": reason, "metric": judge.metric, "gain": None, "ci95": [None, None], "best_single": best_single}
    gain, ci95 = judge.gain(held.score[full][keep], held.best[full][keep])
    low, high = (np.nan if v is None else float(v) for v in ci95)  # type: ignore[arg-type]
    outcome = "pays" if low > 0 else "does_not_pay" if high < MARGIN else "undecided"
    answer, single = (judge.measured(part[full][keep])[0][judge.metric] for part in (held.score, held.best))
    return {
        "outcome": outcome, "metric": judge.metric, "gain": gain, "ci95": ci95, "best_single": best_single,
        "answer": answer, "single": single, "margin": MARGIN, "rows": len(judge.y_R),
    }  # fmt: skip


def evaluation(judge: Judge, score: np.ndarray, part: str, rows: int, warnings: list[str]) -> dict[str, Json]:
    """The JSON of `evaluate`: every metric of the task with its interval."""
    names = metric_names(judge.task.kind, judge.task.width)
    metrics, ci95 = judge.measured(score, (judge.metric, *(n for n in names if n != judge.metric))) if len(judge.y_R) else ({}, {})
    undefined = [name for name, value in metrics.items() if value is None]
    notes = warnings + ([f"undefined on these rows: {', '.join(undefined)}"] if undefined else [])
    target: dict[str, Json] = {"task": judge.task.kind, "n": len(judge.y_R), "metrics": metrics, "ci95": ci95}
    if isinstance(judge.task, Classify) and judge.task.width == 2:
        target["positive"] = judge.task.classes[judge.task.positive]
    return {"rows": rows, "part": part, "targets": {judge.task.name: target}, "warnings": list(notes)}


def comparison(judge: Judge, keep: np.ndarray, held: Held, inputs: Mapping[Key, Input], answers: Sequence[Answer]) -> dict[str, Json]:
    """Verdict, subsets and mean weights, of one answer or of one a fold."""
    firsts = [a.order[0].split(".", 1)[1] for a in answers]
    best = max(set(firsts), key=firsts.count)
    lines: list[Json] = [judge.subset(held, keep, inputs, view) for view in held.score if view] if len(judge.y_R) else []
    names = sorted({m.name for a in answers for m in a.members})
    weights: dict[str, Json] = {}
    for name in names:
        given = [dict(zip((m.name for m in a.members), a.pool.weights(a.full), strict=True)).get(name, 0.0) for a in answers]
        weights[name] = float(np.mean(given))
    return {"verdict": verdict(judge, held, keep, len(inputs), best), "subsets": lines, "weights": weights}


def summary(judge: Judge, keep: np.ndarray, outcome: Outcome, data: Data, test: Rows) -> dict[str, Json]:
    """The measured part of report.json: every expert, the weights, the verdict, the subsets."""
    answer, names = (outcome.answer, (judge.metric, "log_loss" if judge.task.kind == "classify" else "root_mean_squared_error"))
    scored, kept = Judge.on(judge.task, data.examples[judge.task.name], outcome.rows, judge.all_groups, judge.metric, judge.seed)
    held = Held.of(answer, data, test)
    full = answer.full
    said = answer.pool.add(outcome.scores, full)
    metrics = {"validation": scored.measured(answer.task.unpool(said)[kept], names)}
    if len(judge.y_R):
        metrics["test"] = judge.measured(held.score[full][keep], names)
    report: dict[str, Json] = {"metric": judge.metric, "answer": {part: {"metrics": m, "ci95": c} for part, (m, c) in metrics.items()}}
    members = {m.name: m for m in answer.members}
    experts: list[Json] = []
    for entry in outcome.entries:
        one = entry.candidate
        line: dict[str, Json] = {
            "name": one.name, "family": entry.family, "inputs": [i.name for i in one.inputs.values()], "kept": one.name in members,
            "rounds": list(entry.rounds), "fit_cpu_seconds": entry.seconds, "milliseconds_a_row": entry.predict_ms,
        }  # fmt: skip
        if entry.family != "hybrid":
            z = entry.z[one.bits if one.bits.bit_count() == 1 else full]
            line["validation"] = dict(zip(("metrics", "ci95"), scored.measured(answer.task.unpool(z)[kept], names), strict=True))
            if one.name in members and len(judge.y_R):
                score = members[one.name].expert.predict(data, test)[answer.task.name].score[keep]
                line["test"] = dict(zip(("metrics", "ci95"), judge.measured(score, names), strict=True))
        experts.append(line)
    return report | {"experts": experts} | comparison(judge, keep, held, answer.inputs, [answer])
