"""Networks and tables that the benches of the loop and of raw experts set up by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from xmodal.answer import Member
from xmodal.experts.data import TableData
from xmodal.experts.deep import Deep
from xmodal.job import Input, Job, Key
from xmodal.prepare import asking, load, new_task, open_new, parts_of
from xmodal.race import extractors_of
from xmodal.tasks import Task


class Opened(NamedTuple):
    """A table with a split column, ready for one deep expert."""

    task: Task
    inputs: Mapping[Key, Input]
    data: TableData
    parts: dict[str, np.ndarray]


def opened(path: Path, target: str, use: Sequence[str], settings: Mapping[str, Any], encoder: Mapping[str, str] | None = None) -> Opened:
    """Features through the store, the task fitted on the training rows."""
    job = Job(target=(target,), split="split", use=tuple(use), encoder=dict(encoder or {}))
    found = open_new(path, job)
    parts = parts_of(found, job)
    assert parts is not None
    rows = {part: np.flatnonzero(parts == part) for part in ("train", "val", "test")}
    task = new_task(found).fit(found.labels.take(pa.array(rows["train"])))
    one = Member("bench", Deep({task.name: task}, found.inputs, settings), (1 << len(found.inputs)) - 1)
    features, _ = load(found, extractors_of([one]), lambda stage, done, total: None)
    return Opened(task, found.inputs, asking(features, task, found.labels, np.ones(found.rows), 0), rows)


def expert(table: Opened, settings: Mapping[str, Any]) -> Deep:
    """One network over all inputs of the table."""
    return Deep({table.task.name: table.task}, table.inputs, settings)


def accuracy(table: Opened, trained: Deep, part: str) -> float:
    """Of the rows of a part."""
    y = table.data.examples[table.task.name].y
    assert y is not None
    score = trained.predict(table.data, table.parts[part])[table.task.name].score
    return float((score.argmax(1) == y.numpy()[table.parts[part]]).mean())
