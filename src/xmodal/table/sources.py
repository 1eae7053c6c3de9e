"""Every container of tables: files of each kind, a folder, frames, rows."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xmodal.errors import MissingExtra, TableError, unknown
from xmodal.formats import kind_of
from xmodal.media import STAND_INS
from xmodal.table.delimited import read_delimited, utf8
from xmodal.table.reading import TYPED, Mixed, checked, plain, text_of, valid

KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "text"), ".parquet": "parquet", **dict.fromkeys((".arrow", ".feather"), "arrow"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"), **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "excel"),
}  # fmt: skip
STARTS = {b"PAR1": "parquet", b"ARROW1": "arrow", b"FEA1": "arrow", b"PK\x03\x04": "excel", b"\xd0\xcf\x11\xe0": "excel"}
LITTER = re.compile(r"\..*|thumbs\.db|desktop\.ini", re.IGNORECASE)  # what systems leave in folders
KIND = ((bool, np.bool_), (int, float, Decimal, np.number), str, (bytes, bytearray, memoryview), (list, tuple, np.ndarray))
BOX = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])
COMPRESSED = (b"\x1f\x8b", b"bzh", b"\xfd7zxz", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd", b"rar!")
OTHERS = {
    b"sqlite format 3": "an SQLite database", b"\x89hdf": "an HDF5 file", b"\x93numpy": "a NumPy file", b"orc": "an ORC file",
    b"obj\1": "an Avro file", b"\x80\4\x95": "a pickle", b"\x80\5\x95": "a pickle", b"%pdf": "a PDF file",
}  # fmt: skip
REFUSED = {
    **STAND_INS, **dict.fromkeys(COMPRESSED, ("a compressed file", "unpack it")),
    **{mark: (what, "export the table as CSV or Parquet") for mark, what in OTHERS.items()},
}  # fmt: skip
NAMES = {"parquet": "a Parquet file", "arrow": "an Arrow file", "excel": "an Excel workbook"}


@dataclass(frozen=True)
class Table:
    """Columns of any Arrow type, rows by position. `source` names it in messages; `notes`: what reading it has to tell."""

    data: pa.Table
    source: str
    notes: tuple[str, ...] = ()
    first: int = 0  # of a part: its first row's place in the whole
    id: tuple[str, ...] = ()  # columns that name its rows, whatever is asked for
    made: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # columns of lists: of which columns

    def __post_init__(self) -> None:
        names = self.data.column_names
        if not all(map(str.strip, names)):
            free = (n for i in range(1, 2 * len(names) + 1) if (n := f"unnamed_{i}" if i > 1 else "unnamed") not in names)
            new = [name if name.strip() else next(free) for name in names]
            notes = (f"column {i} of {self.source} has no name: it is called {n!r}" for i, n in enumerate(new, 1) if n != names[i - 1])
            object.__setattr__(self, "notes", (*self.notes, *notes))
            object.__setattr__(self, "data", self.data.rename_columns(new))
        twice = [name for name in names if name.strip() and names.count(name) > 1]
        if twice:
            raise TableError("distinct column names", f"{twice[0]!r} {len(twice)} times in {self.source}", "rename them")
        if not self.data.num_rows:
            raise TableError("at least one row", f"none in {self.source}", "give a table with rows")

    def part(self, start: int, rows: int) -> Table:
        """Some of the rows, which keep their numbers in messages."""
        rows = min(rows, self.data.num_rows - start)  # Arrow doesn't look where there are no columns
        return replace(self, data=self.data.slice(start, rows), first=self.first + start)

    def column(self, name: str) -> pa.ChunkedArray:
        """Raises ConfigError naming the nearest."""
        if name not in self.data.column_names:
            raise unknown("column", name, self.data.column_names)
        return self.data.column(name)


def read_table(source: Any, encoding: str | None = None, sheet: str | None = None) -> Table:
    """A file (CSV of any dialect, JSON Lines, Parquet, Arrow, Excel), a folder of class-named folders, a frame (pandas, by
    position; polars; pyarrow), columns or rows as dicts; a Table as it is. `encoding`: of text that is neither UTF-8 nor marked.
    `sheet`: of a workbook that has several. Raises TableError."""
    if isinstance(source, Table):
        return source
    if isinstance(source, (str, Path)):
        return read_folder(Path(source)) if Path(source).is_dir() else read_file(Path(source), encoding, sheet)
    if hasattr(source, "iloc") and not hasattr(source, "columns"):
        raise TableError("a path, a frame, or rows as dicts", type(source).__name__, "give one of these")
    if hasattr(source, "iloc"):
        return columns_of(((str(name), source.iloc[:, i]) for i, name in enumerate(source.columns)), "the frame")
    if hasattr(source, "__arrow_c_stream__"):  # pyarrow, polars and others
        data = pa.table(source)
        views = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
        return Table(pa.table([c.cast(views.get(c.type, c.type)) for c in data.columns], names=data.column_names), "the frame")
    if isinstance(source, Mapping) and not any(isinstance(v, Iterable) and not isinstance(v, (str, bytes)) for v in source.values()):
        source = [source]  # a row
    if isinstance(source, Mapping):
        return columns_of(((str(name), values) for name, values in source.items()), "the columns")
    if not isinstance(source, Iterable):
        raise TableError("a path, a frame, or rows as dicts", type(source).__name__, "give one of these")
    return of_rows(list(source), "the rows")


def columns_of(columns: Iterable[tuple[str, Any]], source: str) -> Table:
    """Columns by name, in order. What no UTF-8 can hold is read as U+FFFD, and said."""
    names, arrays, notes = list[str](), list[Any](), list[str]()
    for name, values in columns:
        names.append(valid(name))
        try:
            arrays.append(array(values, name))
        except UnicodeEncodeError:
            cells = list(values)
            mended = [valid(cell) for cell in cells]
            rows = [row for row, (one, two) in enumerate(zip(cells, mended, strict=True), 1) if repr(one) != repr(two)]
            notes.append(f"column {names[-1]!r}: {len(rows)} cells hold half a character, the first in row {rows[0]}: read as U+FFFD")
            arrays.append(array(mended, name))
    return Table(pa.table(arrays, names=names), source, tuple(notes))


def of_rows(rows: list[Any], source: str) -> Table:
    """Rows as dicts; a key that a row lacks is an empty cell."""
    wrong = next((i for i, row in enumerate(rows, 1) if not isinstance(row, Mapping)), None)
    if wrong:
        raise TableError(
            "rows that are dicts of their cells", f"{type(rows[wrong - 1]).__name__} as row {wrong} of {source}", "name the columns"
        )
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return Table(pa.Table.from_batches([pa.RecordBatch.from_struct_array(pa.array(rows, pa.struct([])))]), source)
    return columns_of(((str(name), [row.get(name) for row in rows]) for name in names), source)


def array(values: Any, name: str) -> pa.Array | pa.ChunkedArray:
    """The values of one column; a mixture of types keeps each cell's, or if it holds bytes or lists becomes `{bytes, path}`, a list of
    them a row if any is a list. Pictures in memory become bytes. Raises TableError for other objects."""
    if str(getattr(values, "dtype", "")).startswith(("period", "interval")):  # pandas' own kinds
        return pa.array([None if v != v else str(v) for v in values], pa.string())
    values = values if hasattr(values, "__len__") else list(values)
    if str(getattr(values, "dtype", "object")) != "object" or alike(values) or alike(values := [checked(v, name) for v in values]):
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            made = pa.array(values, from_pandas=True)
            inner = made.type.value_type if pa.types.is_list(made.type) else made.type
            flat = (one for v in values for one in (v if isinstance(v, list) else [v]))
            if not (pa.types.is_binary(inner) and any(isinstance(one, str) for one in flat)):  # Arrow takes text for bytes there
                return made
    cells = [checked(v, name) for v in values]
    if all(c is None or (isinstance(c, dict) and not boxes(c)) for c in cells):  # of keys whose types differ
        return pa.array([None if c is None else {"object": str(c)} for c in cells])
    if not any(isinstance(c, (bytes, list)) or boxes(c) for c in cells):
        texts = not any(isinstance(c, (*TYPED, Decimal)) for c in cells)
        return pa.array([None if c is None else plain(c) for c in cells], pa.string()) if texts else Mixed.of(cells)
    if all(c is None or isinstance(c, bytes) for c in cells):
        return pa.array(cells)
    held = [[boxed(one) for one in (c if isinstance(c, list) else [c])] if c is not None else None for c in cells]
    if any(isinstance(c, list) for c in cells):
        return pa.array(held, pa.list_(BOX))
    return pa.array([box[0] if box else None for box in held], BOX)


def alike(values: Iterable[Any]) -> bool:
    """Whether all are of one kind. Of several, Arrow would change some: a date beside a number, a truth value, a time or a zone."""
    types = set(map(type, values)) - {type(None)}
    return (len(types) < 2 and datetime.datetime not in types) or len({kind(v) for v in values if v is not None}) < 2


def kind(cell: Any) -> str:
    """Of which Arrow holds several without a change."""
    if isinstance(cell, datetime.datetime):
        return f"time {cell.tzinfo}"
    return next((str(kind) for kind in KIND if isinstance(cell, kind)), type(cell).__name__)


def boxes(cell: Any) -> bool:
    """Whether it is a file as Hugging Face's data sets hold it."""
    return isinstance(cell, dict) and bool(cell) and cell.keys() <= {"bytes", "path"}


def boxed(cell: Any) -> dict[str, Any]:
    """One file as Hugging Face's data sets hold it."""
    if isinstance(cell, dict):
        return cell
    return {"bytes": cell} if isinstance(cell, bytes) else {"path": cell if isinstance(cell, str) else text_of(cell)}


def read_file(path: Path, encoding: str | None, sheet: str | None) -> Table:
    """By its first bytes, else by its suffix. Raises TableError for what is damaged, not there or of another kind."""
    kind, source = KINDS.get(path.suffix.lower()), str(path)
    if kind is None:
        raise TableError(f"a file of kind {', '.join(KINDS)}", source, "save the table as one of these")
    if not path.exists():
        raise TableError("a table that is there", f"no such file {source!r}", "check the path")
    try:
        with path.open("rb") as file:
            start = file.read(64)
        kind = told(path, start, kind)
        if kind == "text":
            data, notes = read_delimited(path, path.read_bytes(), encoding)
            return Table(data, source, tuple(notes))
        if kind in ("json", "excel"):
            return read_json(path, encoding) if kind == "json" else read_workbook(path, sheet)
        from pyarrow import feather, parquet

        return Table(parquet.ParquetFile(path).read() if kind == "parquet" else feather.read_table(path), source)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as e:
        expected = NAMES.get(kind) or f"a readable {path.suffix} file (as many cells in every row)"
        raise TableError(expected, f"a damaged one: {e} in {path}" if kind in NAMES else f"{e} in {path}", "mend the file") from e


def told(path: Path, start: bytes, kind: str) -> str:
    """The kind that the first bytes say, else that of the suffix. Raises TableError for what holds no table, or another kind."""
    refused = next((what for mark, what in REFUSED.items() if start.lstrip().lower().startswith(mark)), None)
    if not refused and (picture := kind_of(start)):
        refused = f"a picture ({picture})", "give the table that names it, or a folder of pictures"
    if start.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if not {"xl", "content.xml"} & {name.split("/")[0] for name in names}:
            refused = f"a zip archive (of {', '.join(map(repr, names[:3]))})", "unpack it, and give the table in it"
    if refused:
        raise TableError("a table", f"{refused[0]} in {path}", refused[1])
    found = next((k for mark, k in STARTS.items() if start.startswith(mark)), None)
    if found is None and kind in NAMES:
        text = start and b"\0" not in start and start.isascii()
        what = "text" if text else "neither that nor text" if start else "an empty file"
        raise TableError(NAMES[kind], f"{what} in {path}", "call it .csv or .jsonl" if text else "give another file")
    return found or kind


def read_json(path: Path, encoding: str | None) -> Table:
    """An object a line, or one list of objects."""
    text, rows = utf8(path.read_bytes(), encoding, path).decode().removeprefix("\ufeff"), []
    whole = text.lstrip().startswith("[")
    for number, line in enumerate([text] if whole else text.split("\n"), 1):
        found = parsed(line, str(path), number) if line.strip() else []
        rows.extend(found if isinstance(found, list) and (whole or not found) else [found])
    return of_rows(rows, str(path))


def parsed(text: str, source: str, first: int = 1) -> Any:
    """What JSON says. `first`: the number of its first line. Raises TableError that shows the line of the fault."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        line, at = (e.lineno, f"no JSON from character {e.colno} on") if isinstance(e, json.JSONDecodeError) else (1, str(e))
        start = text.split("\n")[line - 1].strip()[:60]
        got = f"{start!r} in line {first + line - 1} of {source}, {at}"
        raise TableError("one JSON object a line, or one list of them", got, 'write each row as {"COLUMN": VALUE, …} on one line') from e


def read_workbook(path: Path, sheet: str | None) -> Table:
    """The sheet that isn't empty, or the one asked for. Raises MissingExtra, TableError."""
    try:
        import python_calamine as calamine
    except ModuleNotFoundError as e:
        raise MissingExtra(f"python-calamine ({path.name} is an Excel workbook; or save the sheet as CSV)", "excel") from e
    try:
        book = calamine.CalamineWorkbook.from_path(str(path))
        sheets = {name: book.get_sheet_by_name(name).to_python() for name in ([sheet] if sheet in book.sheet_names else book.sheet_names)}
    except (calamine.CalamineError, ValueError) as e:
        raise TableError("an Excel workbook", f"{e} in {path}", "save the sheet as CSV or Parquet") from e
    full = [name for name, cells in sheets.items() if cells]
    if len(full) != 1 or (sheet and sheet not in full):
        got = f"{f'no sheet {sheet!r} but ' if sheet else ''}{', '.join(map(repr, full)) or 'only empty sheets'} in {path}"
        raise TableError("one sheet", got, "say --sheet NAME (in Python: sheet=), or save the sheet as CSV")
    header, *rows = sheets[full[0]]
    names = [text_of(cell) or "" for cell in header]
    rows = [row for row in rows if any(cell != "" for cell in row)]
    return columns_of(((name, [None if row[i] == "" else row[i] for row in rows]) for i, name in enumerate(names)), str(path))


def read_folder(path: Path) -> Table:
    """Columns `file` and `label`: every file in a folder, and the name of the folder in `path` that holds it."""
    files = sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file() and not LITTER.fullmatch(p.name))
    kept = [f for f in files if len(f.parts) > 1] or files
    notes = (f"{len(files) - len(kept)} files of {path} lie in no folder of it: they are left out",) if len(kept) < len(files) else ()
    labels = [f.parts[0] if len(f.parts) > 1 else None for f in kept]
    table = columns_of((("file", [f.as_posix() for f in kept]), ("label", labels)), str(path))
    return replace(table, notes=(*notes, *table.notes), id=("file",))
