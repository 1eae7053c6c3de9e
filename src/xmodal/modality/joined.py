"""Other tables beside the main one: the columns of numbers of each become one vector, matched by the id columns.

R rows · P columns
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xmodal.errors import ConfigError, MediaError, TableError
from xmodal.formats import array_of
from xmodal.modality.vector import written
from xmodal.table import Reading, Table, read_table, text_of
from xmodal.table.reading import side_by_side


def sources(files: Sequence[str], given: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """What is joined, by the name of its input: a file's stem, or where a column has that name, the file's own. Raises ConfigError."""
    found: dict[str, Any] = {}
    for name, source in [("", file) for file in files] + list(given.items()):
        names = [name] if name else [Path(source).stem, Path(source).name]
        free = next((n for n in names if n not in (*columns, *found)), None)
        if free is None:
            raise ConfigError("a joined table of a new name", f"{name or source!r}, as another is called", "rename it")
        found[free] = source
    return found


def joined(table: Table, found: Mapping[str, Any], ids: Sequence[str], known: Mapping[str, Reading] | None, encoding: str | None) -> Table:
    """The table with a column of lists for each joined one. `known`: the readings of a fit, by which its columns are found again.
    Raises TableError, ConfigError."""
    cells: Any
    names: tuple[str, ...]
    for name, source in found.items():
        if known is not None and name not in known:
            table = replace(
                table, notes=(*table.notes, f"joined {name!r} is no input of the model, or already in the table: it is not read")
            )
            continue
        if isinstance(source, np.ndarray) or (isinstance(source, (str, Path)) and Path(source).suffix.lower() == ".npy"):
            cells, names, said = by_position(table, source), (), list[str]()
        else:
            columns: Any = known[name].options.get("columns") if known is not None else None
            cells, names, said = by_id(table, read_table(source, encoding), ids, columns, known is None)
            said = [f"joined {name!r}: {note}" for note in said]
        made = {**table.made, name: names}
        table = replace(table, data=table.data.append_column(name, cells), notes=(*table.notes, *said), made=made)
    return table


def by_position(table: Table, source: Any) -> pa.Array:
    """The rows of an array [R, P], or of one in a .npy file."""
    try:
        x_RP = source if isinstance(source, np.ndarray) else array_of(Path(source).read_bytes(), str(source))
    except MediaError as e:
        raise TableError("a .npy file of numbers", f"{e.where} ({e.reason})", e.do) from e
    except OSError as e:
        raise TableError("a .npy file that can be read", f"{e.strerror}: {source}", "check the path") from e
    if x_RP.ndim != 2 or len(x_RP) != table.data.num_rows or x_RP.dtype.kind not in "fiub":
        got = f"{x_RP.dtype} of shape {x_RP.shape}"
        raise TableError(f"numbers of shape ({table.data.num_rows}, width), as {table.source} has rows", got, "join by --id with a table")
    ends = np.arange(len(x_RP) + 1) * x_RP.shape[1]
    return pa.LargeListArray.from_arrays(pa.array(ends), pa.array(x_RP.astype(np.float64).ravel()))


def by_id(
    table: Table, other: Table, ids: Sequence[str], columns: Sequence[str] | None, new: bool
) -> tuple[pa.Array, tuple[str, ...], list[str]]:
    """The other's columns of numbers, of the row that has the same id, byte for byte; which they are; what to tell of it."""
    names, notes = other.data.column_names, list(other.notes)
    if not ids or not {*ids} <= {*names} & {*table.data.column_names}:
        got = f"{', '.join(map(repr, ids)) or 'none'}, of the columns {', '.join(map(repr, names[:5]))} … in {other.source}"
        raise ConfigError("--id columns that both tables have, to join by", got, "name them with --id, or rename them")
    theirs, mine = keys(other, ids), keys(table, ids)
    at: dict[tuple[str, ...], int] = {}
    for row, key in enumerate(theirs):
        if key and at.setdefault(key, row) != row:
            got = f"{worded(key)} in rows {at[key] + 1} and {row + 1} of {other.source}"
            raise TableError("each id once in a joined table", got, "delete one of the rows")
    found = [at.get(key) if key else None for key in mine]
    lacking, unused = found.count(None), len(theirs) - len({*found} - {None})
    if new and lacking == len(found) > 0:
        first = (next((worded(key) for key in some if key), "none") for some in (theirs, mine))
        got = f"none of {len(theirs)} in {other.source}: {' there, '.join(first)} here"
        raise TableError(f"the ids of {table.source}", got, "write them alike, or name other --id columns")
    if lacking or unused:
        notes.append(f"{lacking} of {len(found)} rows have no row in {other.source}, of whose rows {unused} are not used")
    if columns is None:
        columns = [n for n in names if n not in ids and numeric(other.data[n])]
        if not columns:
            raise TableError("columns of numbers", f"none in {other.source}", "join tables of numbers")
        left = [n for n in names if n not in (*columns, *ids)]
        notes += [f"columns of no numbers are left out: {', '.join(map(repr, left[:5]))}"] if left else []
    elif gone := [n for n in columns if n not in names]:
        notes.append(f"{len(gone)} columns are not in {other.source}, {gone[0]!r} for one: their numbers count as missing")
    lists = side_by_side([other.data[n] if n in names else None for n in columns], len(theirs))
    if new and pa.types.is_string(lists.type.value_type) and written(pa.chunked_array([lists.flatten()])) is None:
        raise TableError("numbers written in one way", f"decimal commas and points in {other.source}", "write them alike")
    return lists.take(pa.array(found, pa.int64())), tuple(columns), notes


def keys(table: Table, ids: Sequence[str]) -> list[tuple[str, ...] | None]:
    """The id of each row: text as it is, other cells as text; None where a part of it is empty."""
    parts = ([c if isinstance(c, str) else text_of(c) for c in table.data[name].to_pylist()] for name in ids)
    return [tuple(map(str, key)) if all(key) else None for key in zip(*parts, strict=True)]


def numeric(column: pa.ChunkedArray) -> bool:
    """Whether all of it is numbers or gaps."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return written(column) is not None
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def worded(key: Sequence[str]) -> str:
    """As messages have it."""
    return ", ".join(map(repr, key))
