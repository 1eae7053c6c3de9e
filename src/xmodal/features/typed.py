"""Columns whose cells are their own features: plain ones, texts, vectors; and the shape of what is stored of sequences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pyarrow as pa

from xmodal.errors import MediaError
from xmodal.features.column import FeatureColumn
from xmodal.features.counts import Counts
from xmodal.job import Input, State
from xmodal.table import Reading, distinct

TYPES = {"number": np.float64, "category": np.uint64, "date": np.float64}


def plain(item: Input, values: Sequence[Any], state_BP: np.ndarray) -> FeatureColumn:
    """number, date: float64 [B, P], NaN missing; category: uint64 [B, P], 0 missing; a row's cell is the row itself."""
    count = len(state_BP)
    columns: dict[str, list[Any]] = {kind: [] for kind in TYPES}
    for kind, column in zip(item.kinds, values, strict=True):
        columns[kind].append(hashed(column) if kind == "category" else column)
    dense = {kind: np.array(columns[kind], dtype).reshape(-1, count).T.copy() for kind, dtype in TYPES.items()}
    there_B, broken_B = (state_BP == State.PRESENT).any(1), (state_BP == State.BROKEN).any(1)
    state_B = np.select([there_B, broken_B], [State.PRESENT, State.BROKEN], State.MISSING).astype(np.int8)
    return FeatureColumn(dense, {}, np.where(there_B, np.arange(count), -1)[:, None], state_B)


def hashed(names: pa.ChunkedArray | list[str | None]) -> np.ndarray:
    """blake2b-64 of each name, never 0; 0 for none."""
    cells, row = distinct(names) if isinstance(names, pa.ChunkedArray) else (names, np.arange(len(names)))
    digests = (b"" if c is None else hashlib.blake2b(c.encode(errors="replace"), digest_size=8).digest() for c in cells)
    return np.array([max(int.from_bytes(d, "little"), 1) if d else 0 for d in digests], np.uint64)[row]


def text(values: pa.ChunkedArray, state_B: np.ndarray) -> FeatureColumn:
    """`text`: the UTF-8 bytes of the distinct texts, as Arrow's buffers hold them."""
    coded = values.cast(pa.large_string()).combine_chunks().dictionary_encode()
    row_B = coded.indices.fill_null(-1).to_numpy().astype(np.int64)
    words = coded.dictionary
    _, offsets, content = words.buffers()
    at_U = np.frombuffer(offsets, np.int64)[: len(words) + 1] if len(words) else np.zeros(1, np.int64)
    return FeatureColumn({}, {"text": (np.frombuffer(content or b"", np.uint8), at_U)}, row_B[:, None], state_B)


def vectors(flat: np.ndarray, state_B: np.ndarray, width: int) -> FeatureColumn:
    """`vector`: float32 [U, width] of the present rows, whose numbers are `flat`, each a cell of its own; NaN for a gap."""
    there_B = state_B == State.PRESENT
    x_UD = np.asarray(flat, np.float32).reshape(there_B.sum(), width)
    return FeatureColumn({"vector": x_UD}, {}, np.where(there_B, np.cumsum(there_B) - 1, -1)[:, None], state_B)


def shaped(column: FeatureColumn, width: int, counts: Counts, name: str) -> FeatureColumn:
    """Features of sequences, which are stored flat: `steps` [T, width] a cell, `summary` dense. A cell of another width is BROKEN."""
    own_U = np.asarray(column.dense["width"])
    row_BK = np.where((column.row_BK >= 0) & (np.append(own_U, -1)[column.row_BK] == width), column.row_BK, -1)
    lost_B = (column.row_BK >= 0).any(1) & (row_BK < 0).all(1)
    counts.loses(name, np.flatnonzero((row_BK != column.row_BK).any(1)))
    for row, k in np.argwhere(row_BK != column.row_BK).tolist():
        counts.breaks(MediaError(f"{own_U[column.row_BK[row, k]]} values a step, where the fit had {width}", "the sequence"), name, row)
    column = replace(column, row_BK=row_BK, state_B=np.where(lost_B, State.BROKEN, column.state_B).astype(np.int8))
    column = column if (own_U == width).all() else column.compact()
    dense, ragged = {**column.dense}, {}
    for feature, (flat, ends) in column.ragged.items():
        if feature == "summary":
            dense[feature] = np.asarray(flat).reshape(column.cells, -1) if len(flat) else np.zeros((0, 1), np.float32)
        else:
            ragged[feature] = np.asarray(flat).reshape(-1, width), ends // width
    return replace(column, dense=dense, ragged=ragged)


def gaps_in(column: FeatureColumn) -> int:
    """How many numbers are missing within the vectors or sequences of its rows."""
    if "vector" in column.dense:
        return int(np.isnan(column.dense["vector"]).sum())
    return int(np.asarray(column.dense["gaps"])[column.row_BK[column.row_BK >= 0]].sum()) if "gaps" in column.dense else 0


def width_of(reading: Reading) -> int:
    """How many numbers a vector has, or a step of a sequence."""
    return cast(int, reading.options.get("width", 1))
