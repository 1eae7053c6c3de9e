"""What every expert must hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from xmodal.experts.base import Expert, Settings
from xmodal.experts.data import TableData
from xmodal.features.column import Fitted
from xmodal.job import Budget, Input, Key, TaskName
from xmodal.tasks import Task


def check_expert(
    kind: type[Expert], tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], data: TableData,
    settings: Settings, tolerance: float = 1e-6,
) -> None:  # fmt: skip
    """Reads its inputs alone; hidden is missing; rows stand alone, in any order; finite where nothing is there; the same
    after save and load; a fold that lacks a class. Raises AssertionError (KeyError where it reads another
    column than its inputs)."""
    rows, columns = np.arange(len(next(iter(data.columns.values())))), dict(data.columns)
    fold, only = rows % 4 == 0, replace(data, columns={k: data.columns[k] for k in inputs}, cache={}, some={})
    expert, again = kind(tasks, inputs, settings), kind(tasks, inputs, settings)
    rounds = expert.fit(only, rows[~fold], rows[fold], Budget(), 0)
    assert again.fit(only, rows, None, Budget(epochs=rounds), 0) == rounds >= 1, "a refit takes exactly budget.epochs"
    every, nothing = answer(expert, only), answer(expert, only, frozenset(inputs))
    for key in inputs:
        gone = replace(data, columns=columns | {key: columns[key].hidden()}, cache={}, some={})
        same(answer(expert, only, frozenset([key])), answer(expert, gone), 0.0, f"{key!r} hidden is not {key!r} missing")
    first = {name: np.broadcast_to(score[:1], score.shape) for name, score in nothing.items()}
    same(nothing, first, tolerance, "rows without any input differ")
    for part in (rows[::-1], rows[:1], rows[1:2], rows[2:3], rows[:0]):
        some = replace(data, columns={k: c.rows(part).compact() for k, c in columns.items()}, cache={}, some={})
        these = {name: score[part] for name, score in every.items()}
        same(answer(expert, some), these, tolerance, f"the order of rows or what stands beside them counts: {part}")
    kept = expert.fitted()
    loaded = Fitted(json.loads(json.dumps(kept.config)), {n: a.copy() for n, a in kept.arrays.items()}, dict(kept.files))
    same(answer(kind.restore(tasks, inputs, loaded), only), every, 0.0, "another answer after save and load")
    for name in (name for name, task in tasks.items() if task.kind == "classify"):
        seen = data.examples[name].y.numpy() < tasks[name].width - 1  # type: ignore[union-attr]
        again.fit(only, rows[~fold & seen], rows[fold], Budget(), 0)
        answer(again, only)


def answer(expert: Expert, data: TableData, hide: frozenset[Key] = frozenset()) -> dict[TaskName, np.ndarray]:
    """The score a task of every row: finite; probabilities sum to 1 (a correction's score is none)."""
    rows = np.arange(len(data.columns[next(iter(expert.inputs))]))
    found = {name: prediction.score for name, prediction in expert.predict(data, rows, hide).items()}
    assert set(found) == set(expert.tasks)
    for name, score in found.items():
        classes, residual = expert.tasks[name].kind == "classify", expert.family == "hybrid"
        shape = (len(rows), expert.tasks[name].width) if residual or expert.tasks[name].kind != "regress" else (len(rows),)
        assert score.shape == shape and np.isfinite(score).all(), f"{name!r}: {score.shape}, or not finite"
        assert residual or not classes or np.allclose(score.sum(1), 1, atol=1e-5), f"{name!r}: not probabilities"
    return found


def same(one: Mapping[TaskName, np.ndarray], two: Mapping[TaskName, np.ndarray], tolerance: float, what: str) -> None:
    """Equal within the tolerance."""
    for name, score in one.items():
        assert np.allclose(score, two[name], rtol=tolerance, atol=tolerance), f"{what} ({name!r}, {np.abs(score - two[name]).max():.1e})"
