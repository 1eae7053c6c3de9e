"""From a table to what experts read: roles checked, target and splits decided, features built, rows tied.

R rows · M inputs
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import platform
import re
import tempfile
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
from xmodal.errors import ConfigError, TableError, TargetError, unknown
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
from xmodal.modality.text import counts as name_counts
from xmodal.modality.vector import grouped, regrouped
from xmodal.table import GAPS, Reading, Table, canonical, read_table
from xmodal.table.reading import spaced, spelled, text_of
from xmodal.tasks import MARKS, TASKS, Classify, MultiLabel, Task, class_order

MOST = 0.3  # of the rows: more are not tied by equal media or texts
FLAGS = {"1": True, "0": False, "true": True, "false": False, "yes": True, "no": False}  # of a label's own column
CLASSES = 20  # a target of so few different whole numbers that repeat is classes


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
    notes = [f"column {c!r} is not in {table.source}: all its cells count as missing" for c in gone]
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


def read_target(table: Table, job: Job) -> tuple[Reading, list[str]]:
    """How the target is read, decided once from the whole column. Raises TargetError where it says nothing."""
    if not job.target:
        raise TargetError("a target", "none", "name the column to learn with --target")
    if job.kind is not None and job.kind not in TASKS:
        raise unknown("task", job.kind, TASKS)
    if len(job.target) > 1 and job.kind != "multilabel":
        do = "say --target COL=multilabel for each, or learn them one by one"
        raise TargetError("one target, or several of kind multilabel", ", ".join(map(repr, job.target)), do)
    (target, *_), nested = job.target, pa.types.is_nested(table.data[job.target[0]].type)
    if job.kind == "multilabel" or (nested and job.kind is None):
        reading, notes = read_labels(table, job.target)
        return reading, notes + ([f"target {target!r}: its cells are lists, so it is read as several labels"] if not job.kind else [])
    column, count = table.data[target], name_counts(table.data[target])
    if not count:
        raise TargetError(f"labels in column {target!r}", "only empty cells", "choose another target")
    if (at := next((i for i, c in enumerate(column.to_pylist(), 1) if isinstance(c, dict)), None)) is not None:
        raise TargetError(f"labels in column {target!r}", f"a nested object in row {at} of {table.source}", "give the labels alone")
    guess = Measure("number").read(column)
    number = Reading(target, "number", {**(guess.reading.options if guess else {}), "gaps": []})
    values = {v: number.cell(v)[0] for v in count}
    tokens = [v for v in count if v.strip().lower() in GAPS]
    numbers = guess is not None and guess.score == 1 and not pa.types.is_dictionary(column.type)
    few = len(count) <= CLASSES and len(count) < count.total() and all(v % 1 == 0 for t, v in values.items() if t not in tokens)
    kind, notes = job.kind or ("classify" if not numbers or few else "regress"), []
    if job.kind is None and numbers and few:
        notes.append(f"target {target!r}: its {len(count)} different {'cells' if tokens else 'whole numbers'} are read as classes"
                     + "".join(f", {t!r} ({count[t]} cells) too: empty them if they mean no label" for t in tokens)
                     + f"; --target {target}=regress reads numbers")  # fmt: skip
    if kind == "classify" and len(count) > max(CLASSES, count.total() / 2):
        many = f"{len(count)} classes in {count.total()} rows"
        if job.kind is None:
            got, do = f"{many}: {next(iter(count))[:60]!r} …", f"choose another target; --target {target}=classify learns them all the same"
            raise TargetError(f"classes that repeat, or numbers alone, in target {target!r}", got, do)
        notes.append(f"target {target!r}: {many}; " + (f"--target {target}=regress reads its numbers" if numbers else "most have one row"))
    if kind == "classify":
        told = spaced({t: n for t, n in count.items() if not (numbers and t in tokens)})
        notes += [f"target {target!r}: {t.split(';', maxsplit=1)[0]}" for t in told]
        options: dict[str, Json] = {"spelled": spelled(count, keep=True)}
        if pa.types.is_boolean(column.type) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            options["given"] = np.dtype(column.type.to_pandas_dtype()).name  # what `Learner.predict` gives back
        return Reading(target, "category", options, f"target: {kind}"), notes
    bad = next((v for v, n in values.items() if not np.isfinite(n)), None)
    if bad is not None:
        row = canonical(column).to_pylist().index(bad) + 1
        do = f"correct or empty the cell, or say --target {target}=classify"
        raise TargetError(f"finite numbers in target {target!r}", f"{bad!r} in row {row} of {table.source}", do)
    notes += [f"target {target!r}: {n.split(';', maxsplit=1)[0]}" for n in (guess.notes if guess else ())]
    return number, notes


def read_labels(table: Table, target: tuple[str, ...]) -> tuple[Reading, list[str]]:
    """Labels: a column of 0 and 1 each, or the lists in one column. What a blank means is said."""
    column = table.data[target[0]]
    cells = [] if pa.types.is_nested(column.type) else [w for w in canonical(column).unique().to_pylist() if w is not None]
    if len(target) > 1 or (cells and all(w.lower() in FLAGS for w in cells)):
        name, options = "labels" if len(target) > 1 else target[0], {"columns": list[Json](target)}
        reading = Reading(name, "labels", dict[str, Json](options), "target: multilabel, a column each")
        found = labels_of(table, reading)
        blank = {n: found.field(i).null_count for i, n in enumerate(target) if found.field(i).null_count}
        said = ", ".join(f"{n!r} in {b}" for n, b in blank.items())
        return reading, [f"labels blank in some of {len(found)} rows: {said}; blank is unlabelled there, not negative"] if blank else []
    often = {m: sum(m in w for w in cells) for m in MARKS}
    lists = bool(cells) and all(w.strip()[:1] + w.strip()[-1:] == "[]" for w in cells)
    mark = "[]" if lists else max(MARKS, key=lambda m: often[m]) if any(often.values()) else None
    tags_R = [tags(cell, mark) for cell in column.to_pylist()]
    names = sorted({t for found in tags_R for t in found or ()}, key=class_order)
    none, null = sum(found == [] for found in tags_R), sum(found is None for found in tags_R)
    if not names:
        raise TargetError(f"labels in column {target[0]!r}", "only empty cells", "choose another target")
    how = "lists" if mark is None and not cells else f"divided at {mark!r}" if mark else "one label a cell, since none of ; | , occurs"
    others = [m for m in MARKS if often[m] and m != mark and not lists]
    how += "".join(f" ({m!r}, which {often[m]} cells hold too, divides nothing)" for m in others)
    notes = [f"target {target[0]!r}: {len(names)} labels, {how}; {none} empty cells are 'no labels', {null} null cells are unlabelled"]
    return Reading(target[0], "labels", {"labels": list(names), "mark": mark}, "target: multilabel"), notes


def tags(cell: Any, mark: str | None) -> list[str] | None:
    """The labels of one cell; None where it is unlabelled. Raises TargetError for a damaged list."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return None
    cell = cell if isinstance(cell, (str, list, tuple, np.ndarray)) else text_of(cell)
    if isinstance(cell, str) and cell.strip():
        try:
            cell = ast.literal_eval(cell) if mark == "[]" else cell.split(mark) if mark else [cell]
        except (ValueError, SyntaxError) as e:
            raise TargetError('a list such as ["a", "b"] in the target', repr(cell), "correct the cell") from e
    return [word.strip() for part in ([] if isinstance(cell, str) else cell) if (word := text_of(part))]


def labels_of(table: Table, reading: Reading) -> pa.Array:
    """Struct: true, false or null a label, null where a row has no label known. Raises TargetError for another word than 0 and 1."""
    data, given = table.data, cast(Any, reading.options)
    names, flags_L = given.get("columns") or given["labels"], list[list[bool | None]]()
    if "columns" in given:
        for name in names:
            words = canonical(data[name]).to_pylist() if name in data.column_names else [None] * data.num_rows
            bad = [row for row, w in enumerate(words) if w is not None and w.lower() not in FLAGS]
            if bad:
                do = f"empty the cells if they mean unlabelled, or learn the column alone: --target {name}=classify"
                got = f"{words[bad[0]]!r} in {len(bad)} rows, first in row {bad[0] + 1} of {table.source}"
                raise TargetError(f"0 or 1 (true, false, yes, no) in label column {name!r}", got, do)
            flags_L.append([None if w is None else FLAGS[w.lower()] for w in words])
    else:
        cells = data[reading.column].to_pylist() if reading.column in data.column_names else [None] * data.num_rows
        tags_R = [tags(cell, given["mark"]) for cell in cells]
        flags_L = [[None if found is None else name in found for found in tags_R] for name in names]
    gone = np.all([[f is None for f in flags] for flags in flags_L], axis=0)
    return pa.StructArray.from_arrays([pa.array(f, pa.bool_()) for f in flags_L], names=names, mask=pa.array(gone))


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
    opened.broken.add(counts.broken)
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
