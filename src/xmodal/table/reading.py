"""How a column is read: the one place of the rules by which a cell becomes a number, a date, a name or a text.

- A gap: in text, categories and classes only an empty or blank cell; in numbers and dates also the tokens GAPS.
- A number may have a decimal comma, thousands marks, and one currency or percent sign (12 % is 12), as its column has. (12) is -12 in a
  column where other numbers stand without brackets.
- A date has its year first, or its month in English words, or day and month in the one order of its column; a time without zone is UTC.
  A year of two digits is the one within a hundred years that begin in the widest gap between the years of its column (Excel's, 1930 to
  2029, if that tells nothing, and beside a month in words).
- A column of times of day holds dates too, all of one day: 09:41, 23:59:07, 9:41 PM.
- A cell that is a number (of a frame, of JSON, of a workbook) is that number, whatever marks the column's texts have.
- A category or class is its canonical text: 1, 1.0 and "1.0" are "1", never "1.0"; True is "True". It is the same with and without
  spaces around it. In columns of nothing else, true, True, TRUE and 1 are one, as false and 0 are. Where all names at fit are numbers,
  each written in one way, every way of writing one is it: 1.5 and "1.50".
- A nested object is no value.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from xmodal.errors import MediaError, TableError
from xmodal.formats import encoded
from xmodal.job import Json, State

GAPS = ("na", "n/a", "#n/a", "<na>", "null", "nan", "nat", "none", "nil", "-", "--", "?", ".")  # in any case
PART = 20_000  # rows whose cells are Python's objects at once: not all of a long column
VALUES = {"number": pa.float64(), "date": pa.float64(), "category": pa.string(), "text": pa.string(), "vector": pa.list_(pa.float64())}
PADDED = re.compile(r"[+-]?0[0-9].*")  # 007 is a name
SIGNS = str.maketrans({"\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2212": "-", "\u2019": "'"})
DATE = re.compile(
    r"(?:(?P<y>[0-9]{4})(?:(?P<s>[-/.])|[年년] ?)(?P<m>[0-9]{1,2})(?(s)(?P=s)|[月월] ?)(?P<d>[0-9]{1,2})(?(s)|[日号號일])"
    r"|(?P<a>[0-9]{1,2})(?P<t>[-/.])(?P<b>[0-9]{1,2})(?P=t)(?P<year>[0-9]{4}|[0-9]{2}))"
    r"(?:[T ](?P<H>[0-9]{1,2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?(?: ?(?P<noon>[AaPp])[Mm])?"
    r" ?(?P<zone>[Zz]|UTC|(?P<sign>[+-])(?P<zh>[0-9]{2}):?(?P<zm>[0-9]{2})?)?)?"
)
MONTHS = ("jan(?:uary)?", "feb(?:ruary)?", "mar(?:ch)?", "apr(?:il)?", "may", "june?", "july?", "aug(?:ust)?", "sept?(?:ember)?",
          "oct(?:ober)?", "nov(?:ember)?", "dec(?:ember)?")  # fmt: skip
WORD = "|".join(f"({month})" for month in MONTHS)
NAMED = re.compile(rf"([0-9]{{1,2}}[ -])?(?:{WORD})\.?(?(1)[ -]|\s([0-9]{{1,2}}),? )([0-9]{{4}}|[0-9]{{2}})(?=[T ]|$)", re.IGNORECASE)
CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?: ?[AaPp][Mm])?(?: ?(?:[Zz]|UTC|[+-][0-9]{2}:?[0-9]{2}))?")
LATEST = 2049
PIVOT = 30  # the first two-digit year of the last century, as spreadsheets have it
WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")  # "1.0" is the name "1"
TRUTH = {"true": 1.0, "false": 0.0}
TYPED = (bool, int, float, dict)
CELLS = (str, bytes, int, float, Decimal, np.generic, os.PathLike, datetime.date, datetime.time, datetime.timedelta, list, tuple, dict)


class MixedCell(pa.ExtensionScalar):  # type: ignore[misc]
    """One cell of a mixed column."""

    def as_py(self, *, maps_as_pydicts: str | None = None) -> Any:
        """Text, a truth value, a number or a nested object."""
        return None if self.value is None else json.loads(self.value.as_py())


class Mixed(pa.ExtensionType):  # type: ignore[misc]
    """Texts beside numbers and other typed cells, each as JSON: none changes for what stands beside it."""

    def __init__(self) -> None:
        super().__init__(pa.string(), "xmodal.mixed")

    @classmethod
    def of(cls, cells: Sequence[Any]) -> pa.Array:
        """Of checked cells; dates become text, which is read as the same date."""
        words = (None if c is None else json.dumps(plain(c), ensure_ascii=False, default=text_of, skipkeys=True) for c in cells)
        return pa.ExtensionArray.from_storage(cls(), pa.array(words, pa.string()))

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Mixed:
        return cls()

    def __arrow_ext_scalar_class__(self) -> type[MixedCell]:
        return MixedCell


def plain(cell: Any) -> Any:
    """One checked cell as JSON has it."""
    if isinstance(cell, Decimal):
        return int(cell) if cell.is_finite() and cell % 1 == 0 else float(cell)
    return cell if isinstance(cell, (str, *TYPED)) else text_of(cell)


def valid(cell: Any) -> Any:
    """The cell with U+FFFD for what is half a character of UTF-16, which UTF-8 cannot hold, also within lists and objects."""
    if isinstance(cell, str):
        return cell if cell.isascii() else cell.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(cell, (list, tuple)):
        return (tuple if isinstance(cell, tuple) else list)(map(valid, cell))
    return {valid(key): valid(one) for key, one in cell.items()} if isinstance(cell, dict) else cell


def checked(cell: Any, column: str, media: bool = True) -> Any:
    """The cell as a table would hold it: None for NaN and for pandas' NA and NaT; numpy's scalars as Python's; pictures in memory
    (`media`) and buffers as bytes. Raises TableError for other objects."""
    if cell is None or type(cell).__name__ == "NAType":
        return None
    try:
        cell = encoded(cell) if media else cell
    except MediaError as e:
        raise TableError("a picture", f"{e.where} in column {column!r} ({e.reason})", e.do) from e
    if not isinstance(cell, CELLS):
        do = "convert it (a picture: a path, the bytes of its file, a PIL image, or an array, H × W or H × W × 3)"
        raise TableError("text, bytes, a path, a number, a date or None", f"{type(cell).__name__} in column {column!r}", do)
    if isinstance(cell, np.datetime64):
        return cell.astype("M8[us]").item()
    return None if cell != cell else cell.item() if isinstance(cell, np.generic) else cell


def text_of(cell: Any) -> str | None:
    """One cell as canonical text: 1 and 1.0 are "1". None, NaN and blank are no text."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return None
    if isinstance(cell, os.PathLike):
        return str(cell)
    cell = plain(cell) if isinstance(cell, Decimal) else cell
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        cell = int(cell)
    text = cell.isoformat() if isinstance(cell, (datetime.date, datetime.time)) else str(cell)
    whole = WHOLE.fullmatch(text) if text[-1:] == "0" else None
    return (whole[1] if whole else text) if text.strip() else None


def canonical(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as canonical text; null where there is none."""
    return Reading("", "text").parse(values)[0]


def distinct(values: pa.ChunkedArray) -> tuple[list[Any], np.ndarray]:
    """The distinct cells, None last, and which of them each row holds."""
    cells, row = encoded_once(values)
    return [*cells.to_pylist(), None], row


def encoded_once(values: pa.ChunkedArray) -> tuple[pa.Array | pa.ChunkedArray, np.ndarray]:
    """The same in Arrow, without None. Lists and other cells of rare types all count as distinct."""
    if pa.types.is_timestamp(values.type):  # Python has no nanoseconds
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    if isinstance(values.type, Mixed):
        words, row = encoded_once(values.cast(pa.string()))
        return pa.ExtensionArray.from_storage(values.type, words), row
    try:
        coded = values.combine_chunks().dictionary_encode()
    except pa.ArrowNotImplementedError:
        return values, np.arange(len(values))
    return coded.dictionary, coded.indices.fill_null(len(coded.dictionary)).to_numpy().astype(np.int64)


def side_by_side(columns: Sequence[pa.ChunkedArray | None], rows: int) -> pa.Array:
    """The cells of each row as a list: of numbers where all are, else of text; null where there is no such column."""
    typed = all(c is None or pa.types.is_integer(c.type) or pa.types.is_floating(c.type) for c in columns)
    kind = pa.float64() if typed else pa.string()
    cells = [pa.nulls(rows, kind) if c is None else c.combine_chunks().cast(kind, safe=False) for c in columns]
    order = np.arange(rows * len(cells)).reshape(len(cells), rows).T.ravel()
    flat = pa.concat_arrays([c for one in cells for c in (one.chunks if isinstance(one, pa.ChunkedArray) else [one])])
    return pa.LargeListArray.from_arrays(pa.array(np.arange(rows + 1) * len(cells)), flat.take(pa.array(order)))


@lru_cache
def spelling(decimal: str, thousands: str) -> re.Pattern[str]:
    """How numbers are written with these marks."""
    d, t = re.escape(decimal), re.escape(thousands)
    whole = rf"(?:[1-9][0-9]{{0,2}}(?:{t}[0-9]{{3}})+|[0-9]+)" if t else "[0-9]+"
    return re.compile(rf"[+-]?(?:(?:{whole}(?:{d}[0-9]*)?|{d}[0-9]+)(?:[eE][+-]?[0-9]+)?|[iI]nf(?:inity)?)")


PLAIN = spelling(".", "")


def number(cell: Any, options: Mapping[str, Any]) -> float:
    """Options: decimal, thousands, unit (a sign that may stand before or behind), brackets (whether they mean less than 0). Raises
    ValueError or TypeError for none."""
    if not isinstance(cell, str):
        return cell.total_seconds() if isinstance(cell, datetime.timedelta) else float(cell)
    decimal, thousands = options.get("decimal", "."), options.get("thousands", "")
    if decimal == "." and not thousands and PLAIN.fullmatch(cell):
        return float(cell)
    text = cell.translate(SIGNS)
    if options.get("brackets"):
        text = re.sub(r"\((.+)\)", r"-\1", text)
    if unit := re.escape(options.get("unit", "")):
        text = re.sub(rf"^([+-]?) *{unit} *| *{unit}$", r"\1", text, count=1)
    if text.lower() in TRUTH:
        return TRUTH[text.lower()]
    if not spelling(decimal, thousands).fullmatch(text):
        raise ValueError
    return float((text.replace(thousands, "") if thousands else text).replace(decimal, "."))


def dated(text: str) -> re.Match[str] | None:
    """A date in digits, or with a month's English name: 1 Jan 2024, 01-January-2024, Jan. 1, 2024, 1-Jan-24."""
    if found := NAMED.match(text):
        day, *months, other, year = found.groups()
        month = next(m for m, word in enumerate(months, 1) if word)
        year = year if len(year) == 4 else f"{20 if int(year) < PIVOT else 19}{year}"
        text = f"{year}-{month}-{(day or other).strip(' -')}{text[found.end() :]}"
    return DATE.fullmatch(text)


def seconds(cell: Any, options: Mapping[str, Any]) -> float:
    """A date as seconds since 1970 in UTC, a time of day as those since midnight. Options: order, `day`, `month` or `year` first; since,
    the earliest that a year of two digits may be; clock, whether all are times of day. Raises ValueError for none."""
    cell = cell.isoformat() if isinstance(cell, datetime.time) else cell
    if options.get("clock"):
        cell = f"1970-01-01 {cell}"
    if isinstance(cell, datetime.date):
        when = cell if isinstance(cell, datetime.datetime) else datetime.datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001
        return (when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp()
    found = dated(cell) if isinstance(cell, str) else None
    if not found:
        raise ValueError
    part = found.groupdict(default="0")
    day, month, year = part["a"], part["b"], part["year"]
    if found["a"] and "order" not in options:
        raise ValueError  # the column had no such dates
    if options.get("order") == "month" and part["t"] != ".":  # dots: day first everywhere
        day, month = month, day
    if options.get("order") == "year":
        day, year = year, day
    if found["y"]:
        year, month, day = part["y"], part["m"], part["d"]
    elif len(year) < 4:
        since: Any = options.get("since")
        if since is None or len(year) < 2:
            raise ValueError
        year = since + (int(year) - since) % 100
    hour = int(part["H"])
    if found["noon"]:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + 12 * (found["noon"] in "Pp")
    shift = datetime.timedelta(hours=int(part["zh"]), minutes=int(part["zm"]))
    zone = datetime.timezone(-shift if part["sign"] == "-" else shift)
    micro = int(part["f"].ljust(6, "0")[:6])
    return datetime.datetime(int(year), int(month), int(day), hour, int(part["M"]), int(part["S"]), micro, zone).timestamp()


def listed(cell: Any) -> Any:
    """The list that a text in JSON spells; other cells as they are."""
    if isinstance(cell, str) and cell.lstrip()[:1] == "[":
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(cell)
    return cell


def vector(cell: Any, options: Mapping[str, Any]) -> tuple[np.ndarray | None, State]:
    """A list of numbers as float64 [D], NaN for a gap in it. Options: width, and those of its numbers. MISSING where it holds no number;
    BROKEN for words, for what 32 bits cannot hold, and for another width."""
    cell = listed(cell)
    if cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and cell.strip().lower() in ("", *GAPS)):
        return None, State.MISSING
    if not isinstance(cell, (list, tuple, np.ndarray)):
        return None, State.BROKEN
    try:
        if options.get("decimal", ".") != "." or options.get("thousands"):
            raise ValueError
        x_D = np.asarray(cell, np.float64)
    except (TypeError, ValueError, OverflowError):  # gaps, and numbers that are written otherwise
        one = Reading("", "number", dict(options))
        read = [(np.nan, State.BROKEN) if isinstance(c, (list, np.ndarray)) else one.cell(c) for c in cell]
        x_D = np.array([np.inf if state == State.BROKEN else value for value, state in read])
    if x_D.ndim != 1 or (np.abs(x_D) > np.finfo(np.float32).max).any() or len(x_D) not in (0, options.get("width", len(x_D))):
        return None, State.BROKEN
    return (None, State.MISSING) if np.isnan(x_D).all() else (x_D, State.PRESENT)


def century(years: Iterable[int], whole: Iterable[int] = ()) -> int:
    """The earliest that a year of two digits may be: in the middle of the widest gap between those of a column, in the century that suits
    the years of four digits beside them (`whole`), has none after LATEST, and is a spreadsheet's for the first of them."""
    given, whole = sorted(set(years)), list(whole)
    gaps = [(year - before - 1) % 100 + 1 for before, year in zip([given[-1], *given], given, strict=False)]
    first = max(range(len(gaps)), key=lambda i: (gaps[i], -((given[i] - PIVOT) % 100)))

    def suits(start: int) -> tuple[int, int, int]:
        read = [start + (year - start) % 100 for year in given]
        middle = statistics.median(whole) if whole else 0
        usual = read[first] == 1900 + given[first] + 100 * (given[first] < PIVOT)
        return -sum(abs(year - middle) > 50 for year in read) if whole else 0, -sum(year > LATEST for year in read), usual

    return max((given[first] - gaps[first] // 2 + hundred for hundred in (1900, 2000, 1800)), key=suits)


MEASURES: Mapping[str, Callable[[Any, Mapping[str, Any]], float]] = {"number": number, "date": seconds}


def spelled(count: Mapping[str, int], keep: bool = False) -> dict[str, Json]:
    """What names stand for what: truth values for the column's own; with `keep`, those without spaces around them for the
    commonest spelling in training. `count`: how often each occurs."""
    names = {t.strip(): t if keep else t.strip() for t in sorted(count, key=lambda t: (count[t], t))}  # the commonest last
    truth = {t.lower(): name for t, name in names.items()}
    out: dict[str, Json] = {t: name for t, name in names.items() if t != name}
    if truth and (truth.keys() <= TRUTH.keys() or truth.keys() == {"0", "1"}):
        yes, no = (truth.get(word, truth.get(digit)) for word, digit in (("true", "1"), ("false", "0")))
        forms = {"true": yes, "True": yes, "TRUE": yes, "1": yes, "false": no, "False": no, "FALSE": no, "0": no}
        out |= {form: name for form, name in forms.items() if name is not None}
    numbers = {number: name for t, name in names.items() if (number := as_number(t))}
    return {**numbers, **out} if len(numbers) == len(names) else out


def as_number(text: str) -> str | None:
    """The canonical text of the number that a name is; None if it is none, or padded."""
    return text_of(float(text)) if PLAIN.fullmatch(text) and not PADDED.fullmatch(text) else None


def spaced(count: Mapping[str, int]) -> list[str]:
    """What to say of names that differ by the spaces around them, and of names that would be gaps in a column of numbers."""
    told = []
    if twice := [t for t, n in Counter(t.strip() for t in count).items() if n > 1]:
        one, two, *_ = sorted(t for t in count if t.strip() == twice[0])
        told.append(f"{one!r} and {two!r} both occur and are one: spaces around a name do not count")
    if words := [t for t in count if t.strip().lower() in GAPS]:
        tokens = ", ".join(f"{t!r} ({count[t]} cells)" for t in words)
        told.append(f"{tokens} is read as a name, not as a gap; --modality {'COL=category:gaps=' + '|'.join(words)!r} makes it one")
    return told


@dataclass(frozen=True)
class Reading:
    """How a column is read. Stored with a model, never guessed again. Options: gaps (tokens that stand for no value), of a number decimal,
    thousands, unit, brackets, of a date order, since, clock, of a category spelled; range (of the values at fit); of a vector or
    sequence width, and of a vector the columns that it is made of, if it isn't one."""

    column: str
    modality: str
    options: dict[str, Json] = field(default_factory=dict)
    reason: str = ""

    @property
    def range(self) -> tuple[float, float]:
        """Of the finite values at fit."""
        found: Any = self.options.get("range")
        return (found[0], found[1]) if found else (-math.inf, math.inf)

    def among(self, cells: Mapping[str, Any]) -> Any:
        """Its cell in a row, or a list of the cells that it is made of."""
        names: Any = self.options.get("columns", ())
        apart = self.column not in cells and any(name in cells for name in names)
        return [cells.get(name) for name in names] if apart else cells.get(self.column)

    def cell(self, cell: Any) -> tuple[Any, State]:
        """One cell's value (None or NaN if there is none) and its state, the same as in a column. In a number or date: MISSING
        for a gap, BROKEN for other words and for infinities."""
        if self.modality == "vector":
            return vector(cell, self.options)
        cell, measure = checked(cell, self.column, self.modality not in VALUES), MEASURES.get(self.modality)
        cell = valid(cell) if isinstance(cell, str) else cell
        text = cell.strip() if isinstance(cell, str) else cell
        if measure is None and self.modality in VALUES:
            if isinstance(cell, dict):
                return None, State.BROKEN
            cell = text_of(text if self.modality == "category" else cell)
            text = cell and cell.strip()
        gaps: Any = self.options.get("gaps", GAPS if measure else ())
        if text is None or text == "" or (gaps and (text if isinstance(text, str) else str(text_of(text))).lower() in gaps):
            return np.nan if measure else None, State.MISSING
        if measure is None:
            known: Any = self.options.get("spelled") or {}
            return (known.get(cell) or known.get(as_number(cell)) or cell) if known else cell, State.PRESENT
        try:
            value = measure(text, self.options)
        except (TypeError, ValueError, OverflowError):
            return np.nan, State.BROKEN
        return (value, State.PRESENT) if math.isfinite(value) else (np.nan, State.BROKEN)

    def parse(self, values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
        """number, date: float64, NaN for none; category, text: string, null for none; vector: a list of float64; media: as
        they are. State a row."""
        kind, parts, states = VALUES.get(self.modality), [], [np.zeros(0, np.int8)]
        for start in range(0, len(values), PART):
            cells, row = distinct(values.slice(start, PART))
            value_U, state_U = zip(*map(self.cell, cells), strict=True)
            states.append(np.array(state_U, np.int8)[row])
            if kind:
                parts.append(pa.array(value_U, kind).take(pa.array(row)))
        return pa.chunked_array(parts, kind) if kind else values, np.concatenate(states)


class Guess(NamedTuple):
    """How well a modality fits a column (0 to 1), how it would read it, and what to tell the user of that."""

    score: float
    reading: Reading
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, score: float, modality: str, reason: str, options: dict[str, Json] | None = None, notes: tuple[str, ...] = ()) -> Guess:
        """Of no column yet."""
        return cls(score, Reading("", modality, options or {}, reason), notes)
