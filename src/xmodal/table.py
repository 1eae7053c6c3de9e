"""Tables of any container, and the Reading of a column: decided once, the same for a column and for one cell."""

from __future__ import annotations

import contextlib
import csv
import datetime
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from xmodal.errors import MediaError, TableError, unknown
from xmodal.job import Json, State
from xmodal.media import encoded

GAPS = ("na", "n/a", "null", "nan", "none", "-")  # in any case; in columns otherwise of numbers or dates
NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[iI]nf(?:inity)?)")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]+(?:Z|[+-][0-9:]+)?)?")
WHOLE = r"(-?(?:0|[1-9][0-9]*))\.0+"  # "1.0" is the name "1"
CELLS = (str, bytes, int, float, Decimal, np.generic, os.PathLike, datetime.date, datetime.time, datetime.timedelta, list, tuple, dict)
BOX = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])
BLOCK = 16 * 2**20  # bytes; a cell must fit into one


@dataclass(frozen=True)
class Table:
    """Columns of any Arrow type, rows by position. `source` names it in messages."""

    data: pa.Table
    source: str
    first: int = 0  # of a part: its first row's place in the whole

    def __post_init__(self) -> None:
        names = self.data.column_names
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise TableError("distinct column names", f"{twice[0]!r} {len(twice)} times in {self.source}", "rename them")
        if not self.data.num_rows:
            raise TableError("at least one row", f"none in {self.source}", "give a table with rows")

    def part(self, start: int, rows: int) -> Table:
        """Some of the rows, which keep their numbers in messages."""
        return replace(self, data=self.data.slice(start, rows), first=self.first + start)

    def column(self, name: str) -> pa.ChunkedArray:
        """Raises ConfigError naming the nearest."""
        if name not in self.data.column_names:
            raise unknown("column", name, self.data.column_names)
        return self.data.column(name)


def read_table(source: Any) -> Table:
    """A CSV (every cell as text), Parquet or Arrow file, a pandas frame (by position), an Arrow table, or rows as dicts; a Table as it
    is. Raises TableError."""
    if isinstance(source, Table):
        return source
    if isinstance(source, pa.Table):
        return Table(source, "the Arrow table")
    if isinstance(source, (str, Path)):
        return read_file(Path(source))
    if hasattr(source, "iloc"):
        names, columns = [str(c) for c in source.columns], [source.iloc[:, i] for i in range(len(source.columns))]
    else:
        names = list(dict.fromkeys(name for row in source for name in row))
        columns = [[row.get(name) for row in source] for name in names]
    return Table(pa.table([array(v, n) for n, v in zip(names, columns, strict=True)], names=names), "the rows")


def array(values: Any, name: str) -> pa.Array | pa.ChunkedArray:
    """The values of one column; a mixture of types becomes text, or if it holds bytes or lists `{bytes, path}`, a list of them a row
    if any is a list. Pictures in memory become bytes. Raises TableError for other objects."""
    with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        made = pa.array(values, from_pandas=True)
        inner = made.type.value_type if pa.types.is_list(made.type) else made.type
        flat = (one for v in values for one in (v if isinstance(v, list) else [v]))
        if not (pa.types.is_binary(inner) and any(isinstance(one, str) for one in flat)):  # Arrow takes text for bytes there
            return made
    cells = [checked(v, name) for v in values]
    if not any(isinstance(c, (bytes, list)) or (isinstance(c, dict) and c.keys() <= {"bytes", "path"}) for c in cells):
        return pa.array([text_of(c) for c in cells], pa.string())
    if all(c is None or isinstance(c, bytes) for c in cells):
        return pa.array(cells)
    boxes = [[boxed(one) for one in (c if isinstance(c, list) else [c])] if c is not None else None for c in cells]
    if any(isinstance(c, list) for c in cells):
        return pa.array(boxes, pa.list_(BOX))
    return pa.array([box[0] if box else None for box in boxes], BOX)


def boxed(cell: Any) -> dict[str, Any]:
    """One file as Hugging Face's data sets hold it."""
    if isinstance(cell, dict):
        return {"bytes": cell.get("bytes"), "path": cell.get("path")}
    path = None if isinstance(cell, bytes) else cell if isinstance(cell, str) else text_of(cell)
    return {"bytes": cell if isinstance(cell, bytes) else None, "path": path}


def read_file(path: Path) -> Table:
    """By its suffix. Raises TableError for what is damaged, not there or of another kind."""
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet", ".arrow", ".feather"):
        raise TableError("a file of kind .csv, .parquet, .arrow, .feather", str(path), "save the table as one of these")
    try:
        if kind == ".csv":
            return Table(read_csv(path), str(path))
        from pyarrow import feather, parquet

        return Table(parquet.ParquetFile(path).read() if kind == ".parquet" else feather.read_table(path), str(path))
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as e:
        raise TableError(f"a readable {kind} file (CSV: UTF-8, as many cells in every row)", f"{e} in {path}", "mend the file") from e


def read_csv(path: Path) -> pa.Table:
    """Every column as text, so that types come from the Reading alone."""
    from pyarrow import csv as arrow

    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    if not names:
        raise TableError("a header line with the column names", f"none in {path}", "add one")
    if len(set(names)) < len(names):
        return pa.table([[]] * len(names), names=names)  # refused by Table
    convert = arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    parse = arrow.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(names) > 1)

    def attempt(block: int, threads: bool) -> pa.Table:
        read = arrow.ReadOptions(column_names=names, skip_rows_after_names=1, block_size=block, use_threads=threads)
        return arrow.read_csv(path, read, parse, convert)

    try:
        data = attempt(BLOCK, True)
    except pa.ArrowInvalid as e:  # again, for a cell larger than a block, or for the row of a fault, which only one thread tells
        data = attempt(2**30 if "straddling" in str(e) else BLOCK, False)
    if data.num_rows and "\n" in data.column(len(names) - 1)[-1].as_py() and path.read_bytes().count(b'"') % 2:
        raise TableError("a closing quotation mark", f"none for the last cell of row {data.num_rows} in {path}", "close it")
    return data


def checked(cell: Any, column: str, media: bool = True) -> Any:
    """The cell as a table would hold it: None for NaN and for pandas' NA and NaT; pictures in memory (`media`) as bytes. Raises TableError
    for other objects."""
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
    return None if cell != cell else cell


def text_of(cell: Any) -> str | None:
    """One cell as canonical text: 1 and 1.0 are "1". None, NaN and blank are no text."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return None
    if isinstance(cell, os.PathLike):
        return str(cell)
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        cell = int(cell)
    text = cell.isoformat() if isinstance(cell, (datetime.date, datetime.time)) else str(cell)
    whole = re.fullmatch(WHOLE, text)
    return (whole[1] if whole else text) if text.strip() else None


def canonical(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as canonical text; null where there is none."""
    cells, row = distinct(values)
    return pa.chunked_array([pa.array([text_of(c) for c in cells], pa.string()).take(pa.array(row))])


def distinct(values: pa.ChunkedArray) -> tuple[list[Any], np.ndarray]:
    """The distinct cells, None last, and which of them each row holds."""
    if pa.types.is_nested(values.type):
        return [*values.to_pylist(), None], np.arange(len(values))
    if pa.types.is_timestamp(values.type):  # Python has no nanoseconds
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    coded = values.combine_chunks().dictionary_encode()
    cells = [*coded.dictionary.to_pylist(), None]
    return cells, coded.indices.fill_null(len(cells) - 1).to_numpy().astype(np.int64)


def number(cell: Any) -> float:
    """Raises ValueError or TypeError for what is none."""
    if isinstance(cell, str) and not NUMBER.fullmatch(cell):
        raise ValueError
    return float(cell)


def is_date(cell: Any) -> bool:
    """ISO text, year first; or a date."""
    return bool(DATE.fullmatch(cell)) if isinstance(cell, str) else isinstance(cell, datetime.date)


def seconds(cell: Any) -> float:
    """A date as seconds since 1970 in UTC, which a time without a zone is taken for. Raises ValueError for what is none."""
    if not is_date(cell):
        raise ValueError
    when = datetime.datetime.fromisoformat(str(cell))
    return (when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp()


MEASURES: Mapping[str, Callable[[Any], float]] = {"number": number, "date": seconds}


@dataclass(frozen=True)
class Reading:
    """How a column is read. Stored with a model, never guessed again."""

    column: str
    modality: str
    options: dict[str, Json] = field(default_factory=dict)  # gaps: tokens that stand for no number or date
    reason: str = ""

    def cell(self, cell: Any) -> tuple[Any, State]:
        """One cell's value (None or NaN if there is none) and its state, the same as in a column. In a number or date: MISSING
        for a gap, BROKEN for other words and for infinities."""
        cell = checked(cell, self.column, self.modality not in ("category", "text", *MEASURES))
        if self.modality in ("category", "text"):
            cell = text_of(cell)
        measure = MEASURES.get(self.modality)
        text = cell.strip() if isinstance(cell, str) else cell
        if text in (None, "") or (measure and str(text).lower() in self.options.get("gaps", GAPS)):  # type: ignore[operator]
            return np.nan if measure else None, State.MISSING
        if measure is None:
            return cell, State.PRESENT
        try:
            value = measure(text)
        except (TypeError, ValueError, OverflowError):
            return np.nan, State.BROKEN
        return (value, State.PRESENT) if math.isfinite(value) else (np.nan, State.BROKEN)

    def parse(self, values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
        """number, date: float64, NaN for none; category, text: string, null for none; media: unchanged. State a row."""
        if self.modality in ("category", "text"):
            values = canonical(values)
        cells, row = distinct(values)
        value, state_U = zip(*(self.cell(cell) for cell in cells), strict=True)
        parsed = pa.chunked_array([np.array(value)[row]]) if self.modality in MEASURES else values
        return parsed, np.array(state_U, np.int8)[row]


class Guess(NamedTuple):
    """How well a modality fits a column (0 to 1), and how it would read it."""

    score: float
    reading: Reading

    @classmethod
    def of(cls, score: float, modality: str, reason: str) -> Guess:
        """With the usual options."""
        return cls(score, Reading("", modality, {"gaps": list(GAPS)} if modality in MEASURES else {}, reason))
