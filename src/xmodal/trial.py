"""A model that is loaded is tried once, on a row that has all and one that has nothing: what was tampered with fails here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xmodal.answer import Answer
from xmodal.experts.data import TableData
from xmodal.features import Counts, FeatureColumn, build
from xmodal.features.extractors.series import summary_size
from xmodal.features.typed import shaped, vectors, width_of
from xmodal.files import part_of
from xmodal.job import Key, State
from xmodal.media import Media
from xmodal.modality.strokes import FORMS
from xmodal.race import extractors_of
from xmodal.table import Reading, Table
from xmodal.tasks import Classify, Task

ROWS = np.arange(2)
CELLS = {"date": "2020-01-01"}  # of a number, a category or a text: 1


def texts(value: Any) -> bool:
    """Text, or a list of texts, or a mapping to texts."""
    found = value.values() if isinstance(value, Mapping) else value
    return isinstance(value, (list, str, Mapping)) and all(isinstance(v, str) for v in found)


def number(value: Any) -> bool:
    """A finite one."""
    return type(value) in (int, float) and math.isfinite(value)


def a_range(value: Any) -> bool:
    """Two numbers."""
    return isinstance(value, list) and len(value) == 2 and all(map(number, value))


OPTIONS: dict[str, Callable[[Any], bool]] = {  # of a reading
    **dict.fromkeys(("gaps", "columns", "labels"), lambda v: isinstance(v, list) and texts(v)),
    **dict.fromkeys(("decimal", "thousands", "unit", "order"), lambda v: isinstance(v, str)),
    **dict.fromkeys(("separator", "mark"), lambda v: v is None or isinstance(v, str)),
    "form": lambda v: isinstance(v, str) and v in FORMS,
    "spelled": lambda v: isinstance(v, dict) and texts(v),
    "range": a_range,
}


def require(good: Any, what: str, got: object) -> None:
    """Raises ValueError."""
    if not good:
        raise ValueError(f"{what} is {got!r}"[:300])


def check_reading(reading: Reading) -> None:
    """Raises ValueError for options of other types."""
    require(isinstance(reading.column, str), "column", reading.column)
    require(isinstance(reading.options, dict), "options", reading.options)
    for name, value in reading.options.items():
        require(OPTIONS.get(name, lambda v: True)(value), f"options.{name}", value)


def check_task(task: Task, target: Reading) -> None:
    """Raises ValueError for classes, counts or decisions that don't go together, or that the target has not."""
    kind = {"number": "regress", "labels": "multilabel"}.get(target.modality, "classify")
    require((kind, target.column) == (task.kind, task.name), "target", (target.modality, target.column))
    given, config, width = target.options, task.config, task.width
    require(kind != "multilabel" or (given.get("columns") or given["labels"]) == task.classes, "target.options", given)
    require(isinstance(config.get("classes", []), list) and texts(task.classes), "classes", task.classes)
    require(len(set(task.classes)) == len(task.classes), "classes", task.classes)
    for name in ("counts", "labelled"):
        value = config.get(name, [1] * len(task.classes))
        require(isinstance(value, list) and len(value) == len(task.classes) and all(map(number, value)), name, value)
        require(min(value, default=0) >= 0 and (kind != "classify" or sum(value) > 0), name, value)
    if kind == "regress":
        require(number(config["mean"]) and number(config["deviation"]) and config["deviation"] > 0, "mean, deviation", config)
    else:
        require(width > 1 or kind == "multilabel", "classes", task.classes)
    decision = config.get("decision", {})
    require(number(decision.get("threshold", 0)), "decision.threshold", decision)
    cost = np.array(decision.get("cost", np.zeros((width, width))), float)
    require(cost.shape == (width, width) and np.isfinite(cost).all(), "decision.cost", decision)
    require("threshold" not in decision or (isinstance(task, Classify) and width == 2), "decision", decision)
    require(not math.isnan(task.most_misfit), "conformal", config.get("conformal"))
    require(0 <= task.positive < width, "positive", task.positive)


def check_pool(answer: Answer) -> None:
    """Raises ValueError for numbers of other shapes than the members and inputs have."""
    pool, members, (inputs, width) = answer.pool, (len(answer.members),), (len(answer.inputs), answer.task.width)
    found = {"prior": (pool.prior_C, (width,)), "offset": (pool.offset_MC, (inputs, width))}
    found |= {"temperature": (pool.temperature_E, members), "weight": (pool.weight_E, members)}
    found |= {f"by_set of {which}": (weight_E, members) for which, weight_E in pool.by_set.items()}
    for name, (array, shape) in found.items():
        require(array.shape == shape and array.dtype.kind == "f", f"the form of {name}", (array.shape, array.dtype))
        require(np.isfinite(array).all(), name, array)


def row_and_nothing(answer: Answer, readings: Mapping[str, Reading]) -> TableData:
    """Two rows of every input: a cell in each column, and none."""
    extractors, ready = extractors_of(answer.members), dict[Key, FeatureColumn]()
    read = {k: i for k, i in answer.inputs.items() if i.modality in ("table", "text")}
    cells = {c: pa.array([CELLS.get(readings[c].modality, "1"), None], pa.string()) for i in read.values() for c in i.columns}
    if read:
        ready |= build(Table(pa.table(cells), "a trial"), readings, read, {}, Media(()))[0]
    there = FeatureColumn({}, {}, np.array([[0], [-1]]), np.array([State.PRESENT, State.MISSING], np.int8))
    for key in answer.inputs:
        column = ready.get(key, there)
        width = width_of(readings[answer.inputs[key].reads[0]])
        if answer.inputs[key].modality == "vector":
            column = vectors(np.zeros(width), column.state_B, width)
        zeros = {n: (e, np.zeros((1, *a.shape[1:]), a.dtype)) for e in extractors.get(key, ()) for n, a in e.empty.items()}
        dense = {name: array for name, (e, array) in zeros.items() if name not in e.ragged}
        ragged = {name: (array, np.array([0, 1])) for name, (e, array) in zeros.items() if name in e.ragged}
        if answer.inputs[key].modality == "sequence":
            dense["width"] = np.full(1, width)
            sizes = {"steps": width, "summary": summary_size(width)}
            ragged = {name: (np.zeros(sizes[name], array.dtype), np.array([0, sizes[name]])) for name, (array, _) in ragged.items()}
        column = replace(column, dense=column.dense | dense, ragged=column.ragged | ragged)
        ready[key] = shaped(column, width, Counts(), key) if answer.inputs[key].modality == "sequence" else column
    return TableData(ready, {})


def tried(answer: Answer, readings: Mapping[str, Reading], target: Reading, folder: Path, names: list[str]) -> None:
    """Everything of it once. `names`: the members' folders. Raises ArtefactError that names the part at fault."""
    config, task = folder / "config.json", answer.task
    with part_of(config, "readings, target"):
        for reading in (*readings.values(), target):
            check_reading(reading)
    with part_of(config, "task"):
        check_task(task, target)
    with part_of(config, "inputs, members, order"):
        require(answer.members, "members", [])
        require(sorted(answer.order) == sorted(answer.inputs), "order", answer.order)
        for one in answer.inputs.values():
            kinds = tuple(readings[name].modality for name in one.reads)
            require(one.columns and (kinds == one.kinds if one.modality == "table" else kinds == (one.modality,)), one.key, one)
        data = row_and_nothing(answer, readings)
    for member, name in zip(answer.members, names, strict=True):
        with part_of(folder / "experts" / name, "config.json, model.safetensors"):
            require(isinstance(member.name, str), "name", member.name)
            require(isinstance(member.expert.settings, Mapping), "settings", member.expert.settings)
            for z_RC in member.scores(task, answer.inputs, data, ROWS, [answer.full], 1).values():
                require(z_RC.shape == (2, task.width) and np.isfinite(z_RC).all(), "what it says of two rows", z_RC)
    with part_of(folder / "model.safetensors", "prior, temperature, weight, offset, sets, by_set"):
        check_pool(answer)
        score = answer.predict(data, ROWS).score
        require(np.isfinite(score).all(), "the answer to two rows", score)
        task.decide(score)
