"""What columns hold: each modality's file, which columns are inputs, and how they are grouped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal, Protocol, cast, runtime_checkable

import numpy as np
import pyarrow as pa

from xmodal.errors import ConfigError, MediaError, TableError, Unfound, unknown
from xmodal.job import MAIN, Input, Job, Json, Key, matching, registered, registry
from xmodal.media import Cell, Media, Raw, attempt
from xmodal.modality.audio import Audio
from xmodal.modality.files import NONE, spread
from xmodal.modality.image import Image
from xmodal.modality.plain import MOSTLY, NUMERIC, Measure
from xmodal.modality.sequence import Sequence
from xmodal.modality.strokes import FORMS, Strokes
from xmodal.modality.text import Words, coded, counts
from xmodal.modality.vector import Vector
from xmodal.modality.video import Video
from xmodal.table import GAPS, Guess, Reading, Table, distinct
from xmodal.table.reading import MEASURES, spelled

PARTS = {"train", "val", "valid", "validation", "dev", "test"}
SETTABLE = {"number": ("gaps", "decimal", "thousands"), "date": ("gaps", "order"), "strokes": ("gaps", "form")}  # others: gaps
ALLOWED = {"decimal": (".", ","), "thousands": ("", ",", ".", "'", " "), "order": ("day", "month", "year"), "form": tuple(FORMS)}
MANY = 20  # distinct cells: fewer that are no numbers are names
FRACTION = re.compile(r"[<>~]?[+-]?[0-9]*[.,][0-9]+")
ID_WORDS = {"", "id", "ids", "uid", "uuid", "guid", "index", "idx", "key", "row", "no", "nr", "unnamed"}


@runtime_checkable
class Modality(Protocol):
    """`family`: media cells are opened and extracted; text, vectors and plain cells are their own features."""

    @property
    def family(self) -> Literal["media", "text", "vector", "plain"]: ...

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Whether this column may be of this modality: from every value if plain, else from at most 100 headers."""
        ...


class MediaModality(Modality, Protocol):
    """One whose cells are files or bytes."""

    def recognise(self, column: pa.ChunkedArray, media: Media, asked: bool = False) -> Guess | None:
        """The same. Raises TableError where it is `asked` for, or names say so, and no file is there."""
        ...

    def open(self, cell: Cell, media: Media) -> Raw:
        """Header checked, nothing decoded. Raises MediaError."""
        ...

    def files(self, cell: Cell, media: Media, options: Mapping[str, Json] = NONE) -> list[str | bytes]:
        """The files of a cell, each a path or bytes. `options`: of the column's reading. Raises MediaError."""
        ...

    def draw(self, raw: Raw) -> np.ndarray | str:
        """For people to look at: uint8 [H, W, 3], or SVG. Raises MediaError."""
        ...

    def survey(self, column: pa.ChunkedArray, media: Media, reading: Reading) -> Mapping[str, int]:
        """How many files of all rows are of each format, are odd in some way, or why they don't open: for `inspect`."""
        ...


MODALITIES: dict[str, Modality] = {
    "number": Measure("number"),
    "date": Measure("date"),
    "image": Image(),
    "video": Video(),
    "audio": Audio(),
    "strokes": Strokes(),
    "sequence": Sequence(),
    "vector": Vector(),
    "category": Words("category"),
    "text": Words("text"),
}


def readings(table: Table, job: Job, media: Media) -> tuple[dict[str, Reading], list[str]]:
    """How each input column is read (see `named`), and what to tell the user of columns left out. Raises ConfigError."""
    roles = job.roles
    for name in (*roles, *job.use, *job.ignore, *(n for n in job.modality if n not in job.input)):
        table.column(name)
    of_groups = {n: job.modality[g] for g in job.input if g in job.modality for n in matching(job.input[g], table.data.column_names)}
    job = replace(job, modality=of_groups | job.modality)
    for name in job.modality:
        for way in ways(name, job):
            asked(way.modality[name])
    found = list[Reading]()
    said = list(table.notes)
    wrong = lost = None
    for name in table.data.column_names:
        if name in roles or name in job.ignore or (job.use and name not in job.use):
            said += [f"joined {name!r} is left out: --use doesn't name it"] if name in table.made and name not in job.ignore else []
            continue
        every = ways(name, job)
        for how in every:
            try:
                read = reading(name, table.column(name), how, media)
            except ConfigError as e:
                wrong, read = ConfigError(e.expected, f"column {name!r}: {e.got}", e.do), f"{e.got}; {e.do}"
                if isinstance(e.__cause__, Unfound):
                    lost = TableError(e.expected, wrong.got, f"{e.do}; or leave the column out with --ignore")
            except TableError as e:  # vectors or sequences of several widths; no file is there
                raise TableError(e.expected, f"column {name!r}: {e.got}", f"{e.do}; or leave the column out with --ignore") from e
            if isinstance(read, str):
                said.append(f"column {name!r} is left out{f' as {how.modality[name]}' if len(every) > 1 else ''}: {read}")
                continue
            made: dict[str, Json] = {"columns": [*parts]} if (parts := table.made.get(name)) else {}
            options, reason = read.reading.options | made, read.reading.reason.replace("COL=", f"{name}=")
            found.append(replace(read.reading, column=name, options=options, reason=reason))
            said.extend(f"column {name!r}: {note.replace('COL=', f'{name}=')}" for note in read.notes)
    if lost and not any(family(r) == "media" and lie_there(r, table.column(r.column), media) for r in found):
        raise lost  # where no column's files are there, the folder must be wrong
    if wrong and not any(family(r) == "media" for r in found):
        raise wrong
    if not found:
        raise ConfigError("a column to learn from", "; ".join(said) or "none besides the roles", "name one with --use")
    return named(found), list(dict.fromkeys(said))


def lie_there(reading: Reading, column: pa.ChunkedArray, media: Media) -> bool:
    """Whether its cells name files, some of which are there."""
    held = [attempt(media.files, cell, reading.options.get("separator")) for cell in spread(distinct(column)[0])]
    files = [file for files in held if not isinstance(files, MediaError) for file in files]
    return any(isinstance(file, str) and not isinstance(attempt(media.find, file), MediaError) for file in files)


def named(readings: Iterable[Reading]) -> dict[str, Reading]:
    """Each under its column's name; of a column that is read in several ways under column:modality. Raises ConfigError for a name twice."""
    held = [*readings]
    often = Counter(r.column for r in held)
    names = [r.column if often[r.column] == 1 else f"{r.column}:{r.modality}" for r in held]
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError("a name an input", f"{name!r} twice", "read the column in another way, or rename the other column")
    return dict(zip(names, held, strict=True))


def ways(name: str, job: Job) -> list[Job]:
    """A job for each way to read a column that --modality COL=KIND+KIND asks for; one, if it doesn't. Raises ConfigError."""
    kinds, colon, options = job.modality.get(name, "").partition(":")
    if "+" in kinds and (plain := [k for k in kinds.split("+") if registered("modalities", MODALITIES, k).family != "media"]):
        got = f"--modality {name}={kinds}, but {plain[0]} has no files"
        raise ConfigError("modalities of files, to read a column in several ways", got, "name a copy of the column for it")
    return (
        [replace(job, modality={**job.modality, name: f"{kind}{colon}{options}"}) for kind in kinds.split("+")] if "+" in kinds else [job]
    )


def asked(spec: str) -> tuple[str, dict[str, Json]]:
    """KIND or KIND:OPTION=VALUE;OPTION=VALUE. Tokens of `gaps` are divided by |. Raises ConfigError."""
    kind, _, rest = spec.partition(":")
    registered("modalities", MODALITIES, kind)
    options: dict[str, Json] = {}
    for name, _, value in (part.partition("=") for part in rest.split(";") if part):
        if name not in SETTABLE.get(kind, ("gaps",)):
            raise unknown("option", name, SETTABLE.get(kind, ("gaps",)))
        if name in ALLOWED and value not in ALLOWED[name]:
            raise ConfigError(f"{name} to be one of {', '.join(map(repr, ALLOWED[name]))}", repr(spec), "give one of those")
        options[name] = value
        if name == "gaps":
            usual = GAPS if kind in MEASURES else ()
            options[name] = [*value.lower().split("|"), *usual] if value else []
    return kind, options


def reading(name: str, column: pa.ChunkedArray, job: Job, media: Media) -> Guess | str:
    """How an input column is read, or why nothing can be learnt from it. Raises ConfigError if no modality can read it."""
    texts = counts(column)
    count = texts.total()
    if not texts:
        return "every cell is empty"
    if len(texts) == 1 and count == len(column):
        return f"every cell is {next(iter(texts))[:40]!r}"
    if name in job.modality:
        return as_asked(name, column, job.modality[name], texts, media)
    guesses = [guess for m in registry("modalities", MODALITIES).values() if (guess := m.recognise(column, media))]
    if not guesses:
        if pa.types.is_struct(column.type):
            raise nested(column)
        raise ConfigError("a column of a known modality", f"type {column.type}", "leave it out with --ignore")
    best = max(guesses, key=lambda g: (family(g.reading) == "media", g.score))  # files that open are no chance
    measure = next((g for g in guesses if g.reading.modality in MEASURES), None)
    if measure and family(best.reading) == "media" and not any(map(media.literal, [*texts][:100])):
        kind, other = measure.reading.modality, best.reading.modality
        told = f"its {kind}s are names of files too, without extension: --modality COL={other} opens them"
        best = measure._replace(notes=(*measure.notes, told))
    low, high = best.reading.range
    if best.reading.modality == "number" and high - low <= 1e-12 * max(abs(low), abs(high)) < np.inf:
        return f"every cell is '{low}', give or take less than a millionth of a millionth of it"
    near = []
    if best.reading.modality in ("category", "text") and not pa.types.is_dictionary(column.type):
        near = [g for m in MODALITIES.values() if isinstance(m, Measure) and (g := m.read(column)) and MOSTLY <= g.score < 1]
        best = best._replace(notes=best.notes + tuple(
            f"{g.score:.0%} of its different cells are {g.reading.modality}s, but not all: it is read as {best.reading.modality}; "
            f"--modality COL={g.reading.modality} counts the others as unreadable" for g in near))  # fmt: skip
        signs = sum(NUMERIC.fullmatch(t) is not None and not t.isdigit() for t in texts)
        if not near and len(texts) > MANY and signs >= MOSTLY * len(texts):
            told = "its cells are of digits and marks, but no numbers, dates or times in one form"
            told = f"{told}: write quantities as 12.5, dates as 2024-01-31, durations in seconds"
            best = best._replace(notes=(*best.notes, told))
    if name in job.use:
        return best
    if {t.lower() for t in texts} <= PARTS:
        return "it holds only train, val, test (use it with --split)"
    word = ["", *re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())][-1]
    codes = best.reading.modality in ("text", "category") and count > 20 and coded(texts) and not near
    if family(best.reading) == "media" or len(texts) < count or not (word in ID_WORDS or codes):
        return best
    number = best.reading.modality == "number"
    broken = (
        (np.asarray(best.reading.parse(column)[0]) % 1 > 0).any() if number else 2 * sum(map(bool, map(FRACTION.fullmatch, texts))) > count
    )
    if not broken:  # no id is a fraction
        notes = (note.replace("COL=", f"{name}=") for note in best.notes)
        return "; ".join(["its values are all distinct, so it names rows (keep it with --use, or give it as --id)", *notes])
    return best


def as_asked(name: str, column: pa.ChunkedArray, spec: str, texts: Mapping[str, int], media: Media) -> Guess:
    """How an input column is read that --modality names. Raises ConfigError where it cannot be."""
    kind, options = asked(spec)
    modality, reason = registered("modalities", MODALITIES, kind), "asked for by --modality"
    if modality.family != "media" and pa.types.is_struct(column.type):
        raise nested(column)
    guess = modality.read(column, options) if isinstance(modality, Measure) else None
    if modality.family == "media":  # several files in a cell have a separator
        guess = cast(MediaModality, modality).recognise(column, media, asked=True)
    if modality.family == "vector":  # of a width
        guess = modality.recognise(column, media)
    if guess is None and modality.family == "vector":
        raise ConfigError("lists of numbers in every cell", f"other cells in column {name!r}", "give it another --modality")
    if guess is None:
        known: dict[str, Json] = {"spelled": spelled(texts)} if kind == "category" else {}
        return Guess.of(1.0, kind, reason, known | options)
    read = replace(guess.reading, options=guess.reading.options | options, reason=f"{reason}: {guess.reading.reason}")
    return guess._replace(reading=read)


def nested(column: pa.ChunkedArray) -> ConfigError:
    """The error for a column of objects that are no files."""
    do = "give each key a column of its own (pandas.json_normalize does), or leave it out with --ignore"
    return ConfigError("values, or files as {bytes, path}", f"nested objects ({column.type})", do)


def family(reading: Reading) -> str:
    """Of its modality."""
    return registered("modalities", MODALITIES, reading.modality).family


def inputs(readings: Mapping[str, Reading], job: Job) -> dict[Key, Input]:
    """A media or text column is an input; plain columns form the named groups, the rest one more. Raises ConfigError."""
    found = [Input(f"{MAIN}.{n}", r.modality, (r.column,)) for n, r in readings.items() if family(r) != "plain"]
    rest = [n for n in readings if n not in {i.name for i in found}]
    spare = next(n for n in ("table", "columns", "plain columns") if n not in {i.name for i in found} | set(job.input))
    for name, pattern in {**job.input, **({spare: "*"} if rest else {})}.items():
        group = tuple(n for n in matching(pattern, readings) if n in rest)
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
