"""From a table to what experts read: roles checked, target and splits decided, features built, rows tied.

R rows · M inputs
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import platform
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from xmodal import splits
from xmodal.batch import Examples, View
from xmodal.encoders.pretrained import resolved
from xmodal.errors import ConfigError, TableError, unknown
from xmodal.experts.data import TableData
from xmodal.features import Broken, Counts, FeatureColumn, Store, build
from xmodal.features.corrupt import Corruption
from xmodal.features.extractors import Extractor
from xmodal.identity import keys, looked_up, places
from xmodal.job import MAIN, Input, Job, Json, Key, Progress, Rows
from xmodal.media import Media
from xmodal.modality import inputs as group_inputs
from xmodal.modality import readings as read_columns
from xmodal.modality.plain import Measure
from xmodal.modality.vector import grouped, regrouped
from xmodal.table import Reading, Table, canonical, read_table
from xmodal.targets import labels_of, read_target, tags
from xmodal.tasks import TASKS, Classify, MultiLabel, Task

MOST = 0.3  # of the rows: more are not tied by equal media or texts


@dataclass(frozen=True)
class Opened:
    """A table whose columns have their roles and readings."""

    table: Table
    media: Media
    readings: Mapping[str, Reading]
    target: Reading
    inputs: Mapping[Key, Input]
    notes: list[str]
    broken: Broken = field(default_factory=Broken)
    missing: Counter[str] = field(default_factory=Counter)  # cells of each column

    @property
    def told(self) -> list[str]:
        """The notes, and a word about each column's unreadable cells."""
        return [*self.notes, *self.broken.notes()]

    @property
    def rows(self) -> int:
        """R."""
        return int(self.table.data.num_rows)

    @property
    def labels(self) -> pa.Array:
        """The target of every row; null where a row is unlabelled or has no such column."""
        if self.target.modality == "labels":
            return labels_of(self.table, self.target)
        if self.target.column not in self.table.data.column_names:
            return pa.nulls(self.rows, pa.string())
        values = self.target.parse(self.table.data[self.target.column])[0].combine_chunks()
        return values if self.target.modality == "category" else pc.if_else(pc.is_nan(values), None, values)

    def column(self, name: str | None) -> pa.Array | None:
        """A column as canonical text; None where it isn't there."""
        return canonical(self.table.data[name]).combine_chunks() if name in self.table.data.column_names else None


def open_new(source: Any, job: Job) -> Opened:
    """A table to learn from. Every reading is decided here, once."""
    table = read_table(source, job.encoding, job.sheet)
    names = [*table.data.column_names, *job.input]
    for role in (*job.roles, *job.use, *job.ignore):
        if role not in names:
            raise unknown("column", role, names)
    if twice := {*job.target} & {*job.id, job.group, job.time, job.weight, job.split, *job.ignore}:
        raise ConfigError("the target in no other role", repr(min(map(str, twice))), "name another column there")
    target, notes = read_target(table, job)
    media = media_of(job, table.source)
    table, job = grouped(table, job)
    readings, said = read_columns(table, job, media)
    inputs = dict(sorted(group_inputs(readings, job).items()))
    inputs = {k: replace(i, encoder=i.encoder and resolved(i.encoder, job.download)) for k, i in inputs.items()}
    if not inputs:
        raise TableError("at least one input column", f"none in {table.source}", "check --use and --ignore")
    return Opened(table, media, readings, target, inputs, notes + said)


def open_again(source: Any, job: Job, readings: Mapping[str, Reading], target: Reading, inputs: Mapping[Key, Input]) -> Opened:
    """A table to predict or score: read exactly as at fit; a column that is gone is all missing, and said."""
    table = regrouped(read_table(source, job.encoding, job.sheet), readings)
    gone = [c for c in dict.fromkeys(c for i in inputs.values() for c in i.columns) if c not in table.data.column_names]
    spare = {n.strip().lower(): n for n in table.data.column_names if n not in {*job.roles, *(r.column for r in readings.values())}}
    notes = list[str]()
    for c in gone:
        near = difflib.get_close_matches(c.strip().lower(), spare, 1)
        like = f" (it has {spare[near[0]]!r}, which is not read)" if near else ""
        notes.append(f"column {c!r} is not in {table.source}: all its cells count as missing{like}")
    options: Any = target.options
    if "mark" in options and target.column in table.data.column_names:
        said = {t for cell in table.data[target.column].to_pylist() for t in tags(cell, options["mark"]) or ()}
        strange = sorted(said - set(options["labels"]))
        notes += [f"labels that the fit never saw don't count: {', '.join(map(repr, strange[:5]))}"] if strange else []
    return Opened(table, media_of(job, table.source), readings, target, inputs, [*table.notes, *notes])


def media_of(job: Job, source: str) -> Media:
    """Where media may be read: --media-root, else the table's own folder (or the folder that is the table), else the working folder."""
    own = Path(source) if source and Path(source).is_dir() else Path(source).parent if source and Path(source).is_file() else Path()
    return Media(tuple(Path(r) for r in job.media_root) or (own,))


def new_task(opened: Opened) -> Task:
    """The task, not yet fitted."""
    kind = {"number": "regress", "labels": "multilabel"}.get(opened.target.modality, "classify")
    return TASKS[kind](opened.target.column, (View(MAIN, frozenset(opened.inputs)),))


def load(opened: Opened, extractors: Mapping[Key, Sequence[Extractor]], progress: Progress) -> tuple[TableData, Counts]:
    """Build every input's features, through the store; unreadable cells are counted."""
    store, media = Store(), any(extractors.get(k) for k, i in opened.inputs.items() if i.modality != "table")
    with contextlib.ExitStack() as stack:
        try:
            if media:
                store.root.mkdir(parents=True, exist_ok=True)
                stack.enter_context(tempfile.TemporaryFile(dir=store.root))
        except OSError as e:  # what is mapped outlives its folder
            opened.notes.append(f"the cache {store.root} cannot be written ({e.strerror}): features are kept for this run alone")
            store = Store(Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))))
        columns, counts = build(opened.table, opened.readings, opened.inputs, extractors, opened.media, store, progress)
    opened.notes.extend(counts.notes)
    opened.broken.add(counts)
    for one in counts.inputs.values():
        opened.missing.update({name: missing for name, (missing, _) in cast(Any, one)["columns"].items() if missing})
    return TableData(columns, {}), counts


def worse(opened: Opened, key: Key, extractors: Mapping[Key, Sequence[Extractor]], corruption: Corruption) -> FeatureColumn:
    """The features of one input, corrupted; nothing of them is kept."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        item = {key: opened.inputs[key]}
        return build(opened.table, opened.readings, item, extractors, opened.media, Store(Path(folder)), corruption=corruption)[0][key]


def asking(data: TableData, task: Task, labels: pa.Array, weight_R: np.ndarray, seed: int) -> TableData:
    """The same features, nothing prepared yet, with the examples of a fitted task."""
    y_R, known_R = task.encode(labels)
    examples = Examples((None,), y_R, known_R * torch.from_numpy(weight_R.astype(np.float32)))
    return replace(data, examples={task.name: examples}, seed=seed, cache={}, some={})


def made(table: Table, own: str) -> dict[str, Json]:
    """Which table a model is made from (of a file its SHA-256, as `sha256sum` tells), and with what."""
    path, digest = Path(table.source), None
    if path.is_file():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    with_ = {"xmodal": own, "python": platform.python_version(), **{p: version(p) for p in ("numpy", "scikit-learn", "torch")}}
    return {"table": path.name, "rows": table.data.num_rows, "sha256": digest, **with_}


def unquoted(notes: Sequence[str], opened: Opened) -> list[str]:
    """The same notes without any cell: whatever is quoted in them and is no column's or input's name goes."""
    names = {repr(name) for name in (*opened.table.data.column_names, *(i.name for i in opened.inputs.values()))}
    quoted = re.compile(r"""b?(?<!\w)('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?!\w)""")
    return [quoted.sub(lambda found: found[0] if found[0] in names else "'…'", note) for note in notes]


def untold(reading: Reading) -> Reading:
    """The same reading without any cell: no reason, and its range rounded outward, to a power of ten not above it."""
    low, high = reading.range
    if not np.isfinite(low):
        return replace(reading, reason="")
    step = 10.0 ** np.floor(np.log10((high - low) or abs(high) or 1.0))
    wide = list[Json]([float(np.floor(low / step) * step), float(np.ceil(high / step) * step)])
    return replace(reading, reason="", options={**reading.options, "range": wide})


def ties_of(opened: Opened, data: TableData, job: Job) -> np.ndarray:
    """Which rows may never be divided, [R]: pictures of one thing differ, so rows whose other cells are all equal (and together as long
    as a text that ties) are tied too. Where equal cells would tie most rows into one, the group column alone ties. Both are said."""
    media, group = [data.columns[k] for k, i in opened.inputs.items() if i.modality != "table"], opened.column(job.group)
    if group is not None and group.null_count:
        say = f"{group.null_count} rows have no {job.group!r}: each is a group of its own, but equal pictures and texts still tie"
        opened.notes.append(say)
    others = [c for i in opened.inputs.values() if i.modality in ("table", "text") for c in i.columns]
    words = [found for c in others if (found := opened.column(c)) is not None]
    if words and any(i.modality not in ("table", "text", "vector") for i in opened.inputs.values()):
        bytes_R = len(words) - 1 + sum(pc.binary_length(w).fill_null(0).to_numpy() for w in words)
        same_R = np.where(bytes_R >= splits.TIE_TEXT, alike(words), -1)
        media.append(FeatureColumn({}, {}, same_R[:, None], np.zeros(opened.rows, np.int8)))
    tied, alone = splits.ties(media, group, opened.rows), splits.ties([], group, opened.rows)
    size, most = np.bincount(tied), MOST * opened.rows
    if size.max() > max(most, 1) >= np.bincount(alone).max():
        opened.notes.append(f"equal pictures or texts tie {size.max()} of {opened.rows} rows to each other: they may be divided")
        return alone
    if len(size) < alone.max() + 1:
        opened.notes.append(f"{(size[tied] > 1).sum()} rows share pictures, texts or all other cells: such rows stay in one part")
    return tied


def alike(columns: Sequence[pa.Array]) -> np.ndarray:
    """A number a row, [R]: of rows that are equal in all these columns the same."""
    code_R = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        coded = column.dictionary_encode()
        code_R = code_R * (len(coded.dictionary) + 1) + coded.indices.fill_null(len(coded.dictionary)).to_numpy()
        code_R = np.unique(code_R, return_inverse=True)[1]  # small again, for the next
    return code_R


def weights_of(opened: Opened, job: Job) -> np.ndarray:
    """How much each row counts, [R]: 1 without a weight column, or where a table to score lacks it. Raises TableError."""
    if job.weight is None or job.weight not in opened.table.data.column_names:
        return np.ones(opened.rows)
    do = "correct the cell: 0 is for a row that doesn't count"
    return measured(opened, job.weight, ("number",), 0.0, f"weights of 0 and more in column {job.weight!r}", do)


def measured(opened: Opened, name: str, kinds: Sequence[Literal["number", "date"]], least: float, expected: str, do: str) -> np.ndarray:
    """A column's numbers or dates, [R]. Raises TableError for a cell that is none, or below `least`."""
    column = opened.table.data[name]
    guesses = [guess for kind in kinds if (guess := Measure(kind).read(column))]
    reading = max(guesses, key=lambda g: g.score).reading if guesses else Reading(name, kinds[0])
    value_R = np.asarray(replace(reading, column=name).parse(column)[0], float)
    for row in np.flatnonzero(~(np.isfinite(value_R) & (value_R >= least)))[:1].tolist():
        raise TableError(expected, f"{column[row].as_py()!r} in row {row + 1}", do)
    return value_R


def by_time(opened: Opened, job: Job, groups_R: np.ndarray) -> np.ndarray:
    """The part of each row, the latest test, and a note of the dates. Raises TableError for a cell that is no time."""
    name = str(job.time)
    expected = f"a date (2024-01-31) or number in time column {name!r}"
    time_R = measured(opened, name, ("date", "number"), -np.inf, expected, "correct the cell")
    part_R, cut, moved = splits.by_time(time_R, groups_R)
    first = [opened.table.data[name][int(np.flatnonzero(time_R == c)[0])].as_py() for c in cut]
    note = f"split by {name!r}: train before '{first[0]}', val from there on, test from '{first[1]}' on"
    opened.notes.append(note + (f"; {moved} earlier rows went with their group" if moved else ""))
    return part_R


def strata_of(task: Task, labels: pa.Array) -> np.ndarray:
    """What shares are kept in every part, [R]: classes, the rarest label of each row, or nothing for a regression."""
    if isinstance(task, MultiLabel):
        y_RL = task.encode(labels)[0].numpy() == 1
        return np.where(y_RL.any(1), np.where(y_RL, y_RL.sum(0), np.inf).argmin(1), -1)
    if not isinstance(task, Classify):
        return np.zeros(len(labels), np.int64)
    return np.asarray(labels.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False))


def row_keys(opened: Opened, data: TableData, task: Task, inputs: Mapping[Key, Input], job: Job) -> np.ndarray:
    """By what rows are known again, uint64 [3, R]. Where no cell may be kept it is the place in just this table, since whoever guesses
    an id can check it against its hash."""
    y_R = data.examples[task.name].y
    assert y_R is not None
    named = [opened.table.data[name] for name in job.id if name in opened.table.data.column_names]
    found = keys(named, {key: data.columns[key] for key in inputs}, y_R.numpy())
    return found if job.examples else places(found)


def part_again(opened: Opened, key_3R: np.ndarray, saved: Mapping[str, np.ndarray]) -> np.ndarray:
    """The part of each row in the split that a fit saved; none for rows that it doesn't know, which are counted. Raises ConfigError
    where it knows none."""
    names = np.array([*sorted(splits.PARTS), ""])
    part_R = np.asarray(names[looked_up(key_3R, saved["identity"], saved["part"])])
    strange = int((part_R == "").sum())
    if strange == opened.rows:
        got = f"none among the {opened.rows} of {opened.table.source}"
        raise ConfigError("rows of the split that the fit saved", got, "give the table of the fit, or leave --part out")
    if strange:
        do = "rows or cells were changed since the fit; they are not scored"
        opened.notes.append(f"{strange} of the {opened.rows} rows of {opened.table.source} are not in the split that was saved: {do}")
    return part_R


def parts_of(opened: Opened, job: Job) -> np.ndarray | None:
    """The part of each row as the split column says; None without one."""
    words = opened.column(job.split)
    return None if words is None else splits.given(words, str(job.split))


def unseen(task: Task, labels: pa.Array, rows: Rows) -> list[str]:
    """What to say of rows whose class training never saw."""
    if isinstance(task, MultiLabel):
        alike = [n for n, c, m in zip(task.classes, task.config["counts"], task.config["labelled"], strict=True) if c in (0, m)]
        return [f"labels that training rows all have or all lack: {', '.join(map(repr, alike))}"] if alike else []
    if not isinstance(task, Classify):
        return []
    seen = {c for c, count in zip(task.classes, task.config["counts"], strict=True) if count}
    strange = [v for v in labels.take(pa.array(rows)).to_pylist() if v is not None and v not in seen]
    names = ", ".join(map(repr, sorted(set(strange))[:5]))
    return [f"{len(strange)} rows have a class that no training row has ({names}): they count as wrong"] if strange else []
