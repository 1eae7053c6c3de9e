"""What columns hold: each modality's file, which columns are inputs, and how they are grouped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from xmodal.errors import ConfigError, unknown
from xmodal.job import MAIN, Input, Job, Key, registered, registry
from xmodal.media import Media
from xmodal.modality.base import MediaModality, Modality
from xmodal.modality.image import Image
from xmodal.modality.plain import Category, Date, Number
from xmodal.modality.text import Text, coded
from xmodal.table import WHITE, Reading, Table, distinct, text_of

MODALITIES: dict[str, Modality] = {
    "number": Number(), "date": Date(), "image": Image(), "category": Category(), "text": Text()
}  # fmt: skip
PARTS = {"train", "val", "valid", "validation", "dev", "test"}
ID_WORDS = {"", "id", "ids", "uid", "uuid", "guid", "index", "idx", "key", "row", "no", "nr", "unnamed"}

__all__ = ["MODALITIES", "MediaModality", "Modality", "inputs", "readings"]


def readings(table: Table, job: Job, media: Media) -> tuple[dict[str, Reading], list[str]]:
    """How each input column is read, and what to tell the user about the columns left out. Raises ConfigError."""
    roles = [name for name in (job.target, job.group, job.split, *job.id) if name]
    for name in (*roles, *job.use, *job.ignore):
        table.column(name)
    groups = [*job.input, "table", "columns"]
    for name in job.modality:
        if name not in groups:
            table.column(name)
    found: dict[str, Reading] = {}
    unread: dict[str, ConfigError] = {}
    warnings = []
    for name in table.data.column_names:
        if name in roles or name in job.ignore or (job.use and name not in job.use):
            continue
        column, kind = table.column(name), job.modality.get(name)
        why = useless(column)
        if not why:
            try:
                found[name] = replace(forced(kind) if kind else recognise(column, media), column=name)
                why = None if kind or name in job.use else no_feature(found[name], column)
            except ConfigError as e:
                unread[name] = ConfigError(e.expected, f"column {name!r}: {e.got}", e.do)
        if why:
            found.pop(name, None)
            warnings.append(f"column {name!r} is left out: {why}")
    if unread and all(family(r) != "media" or name in job.modality for name, r in found.items()):
        raise next(iter(unread.values()))  # no column's files open: the folder must be wrong
    warnings += [f"column {name!r} is left out: {e.got}" for name, e in unread.items()]
    if not found:
        raise ConfigError("a column to learn from", f"none ({'; '.join(warnings) or 'all have roles'})", "name one with --use")
    return found, warnings


def forced(kind: str) -> Reading:
    """The reading that --modality asks for."""
    return Reading("", kind, dict(registered("modalities", MODALITIES, kind).options), "asked for by --modality")


def recognise(column: pa.ChunkedArray, media: Media) -> Reading:
    """The best guess of all modalities. Raises ConfigError if none can read the column."""
    guesses = [m.recognise(column, media) for m in registry("modalities", MODALITIES).values()]
    best = max((g for g in guesses if g), key=lambda g: g.score, default=None)
    if best is None:
        raise ConfigError("a known modality", f"type {column.type}", "leave it out with --ignore")
    return best.reading


def family(reading: Reading) -> str:
    """Whether cells are opened and extracted (media), or are their own features (text, plain)."""
    return registered("modalities", MODALITIES, reading.modality).family


def values(column: pa.ChunkedArray) -> tuple[list[str], int]:
    """The distinct values as text, and how many rows have one."""
    cells, row = distinct(column)
    texts = [repr(c) if isinstance(c, bytes) else (text_of(c) or "").strip(WHITE) for c in cells]
    return [t for t in texts if t], int(np.array([bool(t) for t in texts])[row].sum())


def useless(column: pa.ChunkedArray) -> str | None:
    """Why nothing can be learnt from a column, however it is read."""
    texts, count = values(column)
    if len(texts) > 1 or (texts and count < len(column)):
        return None
    return f"every cell is {texts[0][:40]!r}" if texts else "every cell is empty"


def no_feature(reading: Reading, column: pa.ChunkedArray) -> str | None:
    """Why a column says nothing of new rows: a split, or a name of the row."""
    texts, count = values(column)
    if {t.lower() for t in texts} <= PARTS and len(texts) > 1:
        return "it holds only train, val, test (use it with --split)"
    if family(reading) == "media" or len(texts) < count:
        return None
    word = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", reading.column).lower())[-1]
    if word in ID_WORDS or (reading.modality in ("text", "category") and count > 20 and coded(texts)):
        return "all its values are distinct, so it names rows (keep it with --use, or give it as --id)"
    return None


def inputs(readings: Mapping[str, Reading], job: Job) -> dict[Key, Input]:
    """A media or text column is an input; plain columns form named groups, the rest one. Raises ConfigError."""
    found = [Input(f"{MAIN}.{n}", r.modality, (n,)) for n, r in readings.items() if family(r) != "plain"]
    rest = [n for n, r in readings.items() if family(r) == "plain"]
    taken = {i.name for i in found}
    groups: dict[str, list[str]] = {}
    for name, pattern in job.input.items():
        if name in taken:
            raise ConfigError("another name for a group of columns", f"--input {name}, a column's name", "rename it")
        wild = re.compile(re.escape(pattern).replace(r"\*", ".*"), re.DOTALL)
        groups[name] = [n for n in rest if (n == pattern if pattern in readings else wild.fullmatch(n))]
        if not groups[name]:
            raise unknown("plain column", pattern, rest)
        rest = [n for n in rest if n not in groups[name]]
    if rest:
        groups[next(n for n in ("table", "columns", "plain columns") if n not in taken | set(groups))] = rest
    for name, columns in groups.items():
        found.append(Input(f"{MAIN}.{name}", "table", tuple(columns), tuple(readings[c].modality for c in columns)))
    for name in job.encoder:
        if name not in {i.name for i in found} | {i.modality for i in found}:
            raise unknown("input or modality", name, {i.name for i in found} | {i.modality for i in found})
    return {i.key: replace(i, encoder=job.encoder.get(i.name, job.encoder.get(i.modality))) for i in found}
