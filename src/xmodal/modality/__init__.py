"""What columns hold: each modality's file, which columns are inputs, and how they are grouped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from xmodal.errors import ConfigError, unknown
from xmodal.job import MAIN, Input, Job, Key, registered, registry
from xmodal.media import Cell, Media, Raw
from xmodal.modality.image import Image
from xmodal.modality.plain import Measure, is_number
from xmodal.modality.text import Words, coded, values
from xmodal.table import Guess, Reading, Table, is_date

PARTS = {"train", "val", "valid", "validation", "dev", "test"}
ID_WORDS = {"", "id", "ids", "uid", "uuid", "guid", "index", "idx", "key", "row", "no", "nr", "unnamed"}


@runtime_checkable
class Modality(Protocol):
    """`family`: media cells are opened and extracted; text and plain cells are their own features."""

    @property
    def family(self) -> Literal["media", "text", "plain"]: ...

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Whether this column may be of this modality: from every value if plain, else from at most 100 headers."""
        ...


class MediaModality(Modality, Protocol):
    """One whose cells are files or bytes."""

    def open(self, cell: Cell, media: Media) -> Raw:
        """Header checked, nothing decoded. Raises MediaError."""
        ...


MODALITIES: dict[str, Modality] = {
    "number": Measure("number", is_number),
    "date": Measure("date", is_date),
    "image": Image(),
    "category": Words("category"),
    "text": Words("text"),
}


def readings(table: Table, job: Job, media: Media) -> tuple[dict[str, Reading], list[str]]:
    """How each input column is read, and what to tell the user of columns left out. Raises ConfigError."""
    roles = job.roles
    for name in (*roles, *job.use, *job.ignore, *(n for n in job.modality if n not in ("table", "columns", *job.input))):
        table.column(name)
    for kind in job.modality.values():
        registered("modalities", MODALITIES, kind)
    found: dict[str, Reading] = {}
    said: list[str] = []
    wrong: ConfigError | None = None
    for name in table.data.column_names:
        if name in roles or name in job.ignore or (job.use and name not in job.use):
            continue
        try:
            read = reading(name, table.column(name), job, media)
        except ConfigError as e:
            wrong, read = ConfigError(e.expected, f"column {name!r}: {e.got}", e.do), e.got
        if isinstance(read, Reading):
            found[name] = read
        else:
            said.append(f"column {name!r} is left out: {read}")
    if wrong and not any(family(r) == "media" for r in found.values()):
        raise wrong  # where no column's files open, the folder must be wrong
    if not found:
        raise ConfigError("a column to learn from", "; ".join(said) or "none besides the roles", "name one with --use")
    return found, said


def reading(name: str, column: pa.ChunkedArray, job: Job, media: Media) -> Reading | str:
    """How an input column is read, or why nothing can be learnt from it. Raises ConfigError if no modality can read it."""
    texts, count = values(column)
    if not texts:
        return "every cell is empty"
    if len(texts) == 1 and count == len(column):
        return f"every cell is {texts[0][:40]!r}"
    if name in job.modality:
        return replace(Guess.of(1.0, job.modality[name], "asked for by --modality").reading, column=name)
    guesses = [guess for m in registry("modalities", MODALITIES).values() if (guess := m.recognise(column, media))]
    if not guesses:
        raise ConfigError("a column of a known modality", f"type {column.type}", "leave it out with --ignore")
    best = replace(max(guesses, key=lambda g: g.score).reading, column=name)
    if name in job.use:
        return best
    if {t.lower() for t in texts} <= PARTS:
        return "it holds only train, val, test (use it with --split)"
    word = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())[-1]
    codes = best.modality in ("text", "category") and count > 20 and coded(texts)
    if family(best) != "media" and len(texts) == count and (word in ID_WORDS or codes):
        return "its values are all distinct, so it names rows (keep it with --use, or give it as --id)"
    return best


def family(reading: Reading) -> str:
    """Of its modality."""
    return registered("modalities", MODALITIES, reading.modality).family


def inputs(readings: Mapping[str, Reading], job: Job) -> dict[Key, Input]:
    """A media or text column is an input; plain columns form the named groups, the rest one more. Raises ConfigError."""
    found = [Input(f"{MAIN}.{n}", r.modality, (n,)) for n, r in readings.items() if family(r) != "plain"]
    rest = [n for n in readings if n not in {i.name for i in found}]
    spare = next(n for n in ("table", "columns", "plain columns") if n not in {i.name for i in found} | set(job.input))
    for name, pattern in {**job.input, **({spare: "*"} if rest else {})}.items():
        wild = re.compile(re.escape(pattern).replace(r"\*", ".*"), re.DOTALL)
        group = tuple(n for n in rest if (n == pattern if pattern in readings else wild.fullmatch(n)))
        if name in {i.name for i in found}:
            raise ConfigError("a name for a group that no input has", f"--input {name}={pattern}", "choose another")
        if name in job.input and not group:
            raise unknown("plain column", pattern, rest)
        rest = [n for n in rest if n not in group]
        found += [Input(f"{MAIN}.{name}", "table", group, tuple(readings[n].modality for n in group))] if group else []
    known = {i.name for i in found} | {i.modality for i in found}
    for name in set(job.encoder) - known:
        raise unknown("input or modality", name, known)
    return {i.key: replace(i, encoder=job.encoder.get(i.name, job.encoder.get(i.modality))) for i in found}
