"""A row's identity: by the parsed cells, so that it is the same whatever container the table comes in, and in any order.

R rows · U distinct cells · W words of 64 bits
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from xmodal.features.column import FeatureColumn
from xmodal.job import Key
from xmodal.table import distinct, text_of
from xmodal.table.reading import PADDED, PLAIN, seconds

PART = 20_000  # rows whose hashes are Python objects at once
EXACT = 28  # digits that a Decimal keeps when its zeros go


def keys(named: Sequence[pa.ChunkedArray], columns: Mapping[Key, FeatureColumn], y_R: np.ndarray) -> np.ndarray:
    """Three names of each row, uint64 [3, R], from coarse to fine: by the id columns, else by all input cells (blake2b-64; numbers in
    single precision, as some containers keep them); by both, exactly, and the label; by these and how often they occurred before."""
    held = [(column, cell_words(column)) for _, column in sorted(columns.items())]
    out = np.zeros((3, len(y_R)), np.uint64)
    for at in (slice(start, start + PART) for start in range(0, len(y_R), PART)):
        rows = [(column, word_U, at) for column, word_U in held]
        names = [id_words(name.slice(at.start, PART))[:, None] for name in named] or [row_words(*row, np.float32) for row in rows]
        out[0, at] = digests(names)
        out[1, at] = digests([out[0, at, None], *(row_words(*row, np.float64) for row in rows), bits(y_R[at].reshape(len(y_R[at]), -1))])
    order = np.argsort(out[1], kind="stable")
    first = np.r_[True, np.diff(out[1, order]) > 0]
    again = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    out[2, order] = out[1, order] + (again + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return out


def places(key_3R: np.ndarray) -> np.ndarray:
    """Names that tell nothing of a row but its place in just this table, [3, R]."""
    whole = hashlib.blake2b(key_3R[2].tobytes()).digest()
    return np.tile(hashed(whole + row.to_bytes(8, "little") for row in range(key_3R.shape[1])), (3, 1))


def settled(key_3R: np.ndarray, part_R: np.ndarray) -> np.ndarray:
    """What to keep of each row, [R]: the coarsest of its names under which all rows are in one part."""
    out = np.array(key_3R[2])
    for key_R in (key_3R[1], key_3R[0]):
        _, at = np.unique(key_R, return_inverse=True)
        low, high = np.full(at.max() + 1, 255), np.zeros(at.max() + 1, np.int64)
        np.minimum.at(low, at, part_R)
        np.maximum.at(high, at, part_R)
        one_R = (low == high)[at]
        out[one_R] = key_R[one_R]
    return out


def looked_up(key_3R: np.ndarray, kept: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The part of each row among those that were kept, int64 [R]; -1 where it isn't there."""
    order = np.argsort(kept)
    out = np.full(key_3R.shape[1], -1)
    for key_R in key_3R:
        at_R = np.searchsorted(kept[order], key_R).clip(max=len(kept) - 1)
        hit_R = (kept[order[at_R]] == key_R) & (out < 0)
        out[hit_R] = part[order[at_R[hit_R]]]
    return out


def digests(words: Sequence[np.ndarray]) -> np.ndarray:
    """Blake2b-64 of the words [R, W] of each row, [R]."""
    joined = np.concatenate(words, 1).astype("<u8")
    content, size = joined.tobytes(), 8 * joined.shape[1]
    return hashed(content[i : i + size] for i in range(0, len(content), size))


def hashed(contents: Any) -> np.ndarray:
    """Blake2b-64 of each of some bytes."""
    return np.fromiter((int.from_bytes(hashlib.blake2b(c, digest_size=8).digest(), "little") for c in contents), np.uint64)


def bits(x: np.ndarray, kind: type[np.floating] = np.float64) -> np.ndarray:
    """Numbers in this precision as words; one NaN, one zero."""
    with np.errstate(over="ignore"):
        rounded = x.astype(kind).astype(np.float64)
    return np.where(np.isnan(rounded), np.nan, rounded + 0.0).view(np.uint64)


def cell_words(column: FeatureColumn) -> np.ndarray | None:
    """A word of each distinct cell, [U], where rows point to cells: of media by their bytes."""
    if "text" in column.ragged:
        values, offsets = column.ragged["text"]
        return hashed(values[start:end].tobytes() for start, end in pairwise(offsets))
    if "vector" in column.dense:
        return digests([bits(np.asarray(column.dense["vector"]))])
    if column.digest_U is not None:
        return np.fromiter((int(digest[:16], 16) for digest in column.digest_U), np.uint64)
    return None


def row_words(column: FeatureColumn, word_U: np.ndarray | None, at: slice, kind: type[np.floating]) -> np.ndarray:
    """What an input holds in these rows, [R, W]: of a plain group each cell; else one word of all files of a row, in order."""
    if word_U is None:
        dense = {name: np.asarray(array[at]) for name, array in column.dense.items()}
        return np.concatenate([bits(dense["number"], kind), dense["category"].astype(np.uint64), bits(dense["date"])], 1)
    out = np.zeros(len(column.row_BK[at]), np.uint64)
    for cell_R in column.row_BK[at].T:
        there = cell_R >= 0
        out[there] = out[there] * np.uint64(0x100000001B3) + word_U[cell_R[there]]
    return out[:, None]


def id_words(values: pa.ChunkedArray) -> np.ndarray:
    """A word of each cell of an id column, [R]; 0 for none."""
    cells, row = distinct(values)
    return np.asarray(hashed((b"" if c is None else b"=" + c.encode(errors="replace")) for c in map(name_of, cells))[row])


def name_of(cell: Any) -> str | None:
    """An id as text, numbers and dates in one way of writing: 0.10 is 0.1, 2024-01-31 is that midnight; 007 isn't 7."""
    text = text_of(cell)
    if text is None:
        return None
    text = text.strip()
    if PLAIN.fullmatch(text) and not PADDED.fullmatch(text) and len(text) <= EXACT:
        with contextlib.suppress(ArithmeticError):  # an exponent beyond all bounds
            return str(Decimal(text).normalize())
    with contextlib.suppress(ValueError):
        return f"{seconds(text, {})} s"
    return text
