"""Tables of any container, and the Reading of a column: decided once, the same for a column and for one cell."""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from xmodal.errors import TableError, unknown
from xmodal.job import Json, State

WHITE = " \t\r\n\f\v\u00a0\u3000\ufeff"  # around a cell; spelled out, so that Arrow and Python strip the same
GAPS = ("na", "n/a", "null", "nan", "none", "-")  # gaps in columns otherwise of numbers or dates, in any case
NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[iI]nf(?:inity)?)")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]+ ?(?:Z|[+-][0-9:]+)?)?")
WHOLE = r"(-?(?:0|[1-9][0-9]*))\.0+"  # "1.0": the same class as "1"


@runtime_checkable
class Frame(Protocol):
    """A pandas frame, read by position."""

    columns: Any
    iloc: Any


Source = str | Path | pa.Table | Frame | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Table:
    """Columns of any Arrow type, rows by position. `source` names it in messages."""

    data: pa.Table
    source: str

    def __post_init__(self) -> None:
        names = self.data.column_names
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise TableError("distinct column names", f"{twice[0]!r} more than once in {self.source}", "rename one")
        if not self.data.num_rows:
            raise TableError("at least one row", f"none in {self.source}", "give a table with rows")

    def __len__(self) -> int:
        return int(self.data.num_rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """Raises ConfigError naming the nearest."""
        if name not in self.data.column_names:
            raise unknown("column", name, self.data.column_names)
        return self.data.column(name)


def read_table(source: Source) -> Table:
    """A CSV (every cell as text), Parquet or Arrow file, a frame, an Arrow table or rows as dicts. Raises TableError."""
    if isinstance(source, pa.Table):
        return Table(source, "the Arrow table")
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.suffix.lower() not in FORMATS:
            raise TableError(f"a file of kind {', '.join(FORMATS)}", str(source), "save the table as one of these")
        if not path.is_file():
            raise TableError("a table file", f"no such file: {path}", "check the path")
        return Table(FORMATS[path.suffix.lower()](path), str(path))
    if isinstance(source, Frame):
        values = {i: array(source.iloc[:, i]) for i in range(len(source.columns))}
        return Table(pa.table(list(values.values()), names=[str(c) for c in source.columns]), "the frame")
    names = list(dict.fromkeys(name for row in source for name in row))
    return Table(pa.table([array([row.get(name) for row in source]) for name in names], names=names), "the rows")


def array(values: Any) -> pa.Array:
    """Values of one column; a mixture of types becomes text."""
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([text_of(v) for v in values], pa.string())


def read_csv(path: Path) -> pa.Table:
    """Every column as text, so that types come from the Reading alone."""
    from pyarrow import csv as arrow_csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error) as e:
        raise TableError("a CSV file in UTF-8", f"{e} in {path}", "save it as UTF-8") from e
    if not names:
        raise TableError("a header line with the column names", f"none in {path}", "add one")
    if len(set(names)) < len(names):
        return pa.table([pa.array([], pa.string())] * len(names), names=names)  # Table says which name is there twice
    convert = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    parse = arrow_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(names) > 1)

    def attempt(block: int, threads: bool) -> pa.Table:
        read = arrow_csv.ReadOptions(column_names=names, skip_rows_after_names=1, block_size=block, use_threads=threads)
        return arrow_csv.read_csv(path, read, parse, convert)

    try:
        try:
            return attempt(16 * 2**20, True)
        except pa.ArrowInvalid as e:  # a cell longer than a block; or a fault, whose row only one thread can tell
            if "straddling" in str(e):
                return attempt(2**30, False)
            return attempt(16 * 2**20, False)
    except pa.ArrowInvalid as e:
        raise TableError("a CSV file in UTF-8 with as many cells in every row", f"{e} in {path}", "mend that row") from e


def read_parquet(path: Path) -> pa.Table:
    """As the file's types have it."""
    from pyarrow import parquet

    return arrow_file(path, lambda: parquet.read_table(path, use_threads=True, partitioning=None))


def read_arrow(path: Path) -> pa.Table:
    """Arrow's file format, which Feather is too."""
    from pyarrow import feather

    return arrow_file(path, lambda: feather.read_table(path))


def arrow_file(path: Path, read: Callable[[], pa.Table]) -> pa.Table:
    """What Arrow raises on a damaged file as a TableError."""
    try:
        return read()
    except (pa.ArrowException, OSError) as e:
        raise TableError(f"a {path.suffix} file", f"{e} in {path}", "save it again") from e


FORMATS = {".csv": read_csv, ".parquet": read_parquet, ".arrow": read_arrow, ".feather": read_arrow}


def text_of(cell: Any) -> str | None:
    """One cell as canonical text: 1 and 1.0 are "1"; None and NaN are no text."""
    cell = cell.item() if hasattr(cell, "item") else cell
    if cell is None or cell != cell:
        return None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    text = cell.isoformat() if isinstance(cell, (datetime.date, datetime.time)) else str(cell)
    whole = re.fullmatch(WHOLE, text)
    return whole[1] if whole else text


def canonical(values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """Any column as canonical text, cell by cell as `text_of`; what is null or NaN stays null."""
    import pyarrow.compute as pc

    values = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        cells, row = distinct(values)
        return pa.chunked_array([pa.array([text_of(c) for c in cells], pa.string()).take(pa.array(row))])
    return pc.replace_substring_regex(values, pattern=f"^{WHOLE}$", replacement=r"\1").cast(pa.string())


def distinct(values: pa.ChunkedArray) -> tuple[list[Any], np.ndarray]:
    """The distinct cells, None last, and which of them each row holds."""
    if pa.types.is_nested(values.type):
        return [*values.to_pylist(), None], np.arange(len(values))
    if pa.types.is_timestamp(values.type):  # nanoseconds have no Python type
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    coded = values.combine_chunks().dictionary_encode()
    cells = [*coded.dictionary.to_pylist(), None]
    return cells, coded.indices.fill_null(len(cells) - 1).to_numpy()


def number(cell: Any, gaps: Sequence[str] = GAPS) -> tuple[float, State]:
    """A finite number, or NaN and why: MISSING for a gap; BROKEN for words and infinities."""
    if isinstance(cell, str):
        text = cell.strip(WHITE)
        if not NUMBER.fullmatch(text):
            return np.nan, State.MISSING if not text or text.lower() in gaps else State.BROKEN
        cell = text
    try:
        value = np.nan if cell is None else float(cell)
    except (TypeError, ValueError, OverflowError):
        return np.nan, State.BROKEN
    if np.isfinite(value):
        return value, State.PRESENT
    return np.nan, State.MISSING if value != value else State.BROKEN


def date(cell: Any, gaps: Sequence[str] = GAPS) -> tuple[float, State]:
    """Seconds since 1970 in UTC (which a time without a zone is taken for), or NaN and why."""
    if isinstance(cell, str):
        text = cell.strip(WHITE)
        if not text or text.lower() in gaps:
            return np.nan, State.MISSING
        try:
            cell = datetime.datetime.fromisoformat(text) if DATE.fullmatch(text) else None
        except ValueError:
            cell = None
        if cell is None:
            return np.nan, State.BROKEN
    if cell is None or cell != cell:
        return np.nan, State.MISSING
    if not isinstance(cell, datetime.datetime):
        if not isinstance(cell, datetime.date):
            return np.nan, State.BROKEN
        cell = datetime.datetime(cell.year, cell.month, cell.day)
    return (cell if cell.tzinfo else cell.replace(tzinfo=datetime.UTC)).timestamp(), State.PRESENT


def words(cell: Any, gaps: Sequence[str] = ()) -> tuple[str | None, State]:
    """Canonical text; only an empty or blank cell is a gap."""
    text = text_of(cell)
    return (text, State.PRESENT) if text and text.strip(WHITE) else (None, State.MISSING)


CELLS: Mapping[str, Callable[[Any, Sequence[str]], tuple[Any, State]]]
CELLS = {"number": number, "date": date, "category": words, "text": words}


@dataclass(frozen=True)
class Reading:
    """How a column is read. Stored with a model, never guessed again."""

    column: str
    modality: str
    options: dict[str, Json] = field(default_factory=dict)  # gaps: tokens that are no value
    reason: str = ""

    def cell(self, cell: Any) -> tuple[Any, State]:
        """One cell's value (None or NaN if there is none) and its state, equal to the same cell's in a column."""
        if self.modality in CELLS:
            return CELLS[self.modality](cell, self.options.get("gaps", ()))  # type: ignore[arg-type]
        gone = cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and not cell.strip(WHITE))
        return (None, State.MISSING) if gone else (cell, State.PRESENT)

    def parse(self, values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
        """number, date -> float64 (NaN: none); category, text -> string (null: none); media unchanged. State a row."""
        import pyarrow.compute as pc

        if self.modality in ("number", "date"):
            cells, row = distinct(values)
            value, state = zip(*(self.cell(c) for c in cells))
            return pa.chunked_array([np.array(value)[row]]), np.array(state, np.int8)[row]
        if self.modality in CELLS:
            values = canonical(values)
        text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
        gone = pc.equal(pc.utf8_trim(values, characters=WHITE), "") if text else pc.is_null(values)
        gone = pc.fill_null(gone, True)
        if self.modality in CELLS:
            values = pc.if_else(gone, pa.scalar(None, pa.string()), values)
        return values, np.where(gone.to_numpy(), State.MISSING, State.PRESENT).astype(np.int8)


class Guess(NamedTuple):
    """How well a modality fits a column (0 to 1), and how it would read it."""

    score: float
    reading: Reading
