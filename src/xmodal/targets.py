"""How the target is read: classes, numbers or labels, decided once from the whole column.

R rows · L labels
"""

from __future__ import annotations

import ast
from typing import Any, cast

import numpy as np
import pyarrow as pa

from xmodal.errors import TargetError, unknown
from xmodal.job import Job, Json
from xmodal.modality.plain import Measure
from xmodal.modality.text import counts as name_counts
from xmodal.table import GAPS, Reading, Table, canonical
from xmodal.table.reading import spaced, spelled, text_of
from xmodal.tasks import MARKS, TASKS, class_order

FLAGS = {"1": True, "0": False, "true": True, "false": False, "yes": True, "no": False}  # of a label's own column
CLASSES = 20  # a target of so few different whole numbers that repeat is classes


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
