"""A shuffled batch of 256 from the store against the same gather by numpy from memory."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.common import Row, at_most
from xmodal.features.column import FeatureColumn, Spec
from xmodal.features.store import Store

ROWS, BATCH, WIDTH = 100_000, 256, 256


def numpy_ragged(values: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Padded with 0, beside the lengths."""
    start, length = offsets[rows], offsets[rows + 1] - offsets[rows]
    mask = np.arange(length.max()) < length[:, None]
    out = np.zeros(mask.shape, values.dtype)
    out[mask] = values[(start[:, None] + np.arange(length.max()))[mask]]
    return out, length


def ratio(ours: Callable[[np.ndarray], object], plain: Callable[[np.ndarray], object]) -> tuple[float, float]:
    """CPU of ours over plain, the median over batches of all rows, side by side, after one pass of each; and plain's ms."""
    batches = np.random.default_rng(0).permutation(ROWS)[: ROWS // BATCH * BATCH].reshape(-1, BATCH)
    spent = np.zeros((3, len(batches), 2))
    for lap in range(3):
        for i, rows in enumerate(batches):
            for side, take in enumerate((ours, plain) if i % 2 else (plain, ours)):
                start = time.process_time()
                take(rows)
                spent[lap, i, side if i % 2 else 1 - side] = time.process_time() - start
    mine, theirs = np.median(spent[1:].reshape(-1, 2), 0)
    return float(mine / theirs), float(theirs * 1000)


def run() -> list[Row]:
    random = np.random.default_rng(0)
    dense = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(random.integers(5, 60, ROWS))]).astype(np.int64)
    values = random.integers(0, 4000, offsets[-1]).astype(np.int32)
    row_BK, state_B = np.arange(ROWS)[:, None], np.zeros(ROWS, np.int8)
    with tempfile.TemporaryDirectory() as folder:
        store, spec = Store(Path(folder)), Spec("bench", 1, "none", "{}")
        digest = np.sort(np.array([f"{i:032x}" for i in range(ROWS)], "S32"))
        store.add(spec, digest, {"x": dense}, {"y": (values, offsets)})
        pack = store.read(spec, digest, {"x": dense[:0], "y": values[:0]}, frozenset({"y"}))
        column = FeatureColumn(dict(pack.dense), {}, row_BK, state_B)
        ragged = FeatureColumn({}, dict(pack.ragged), row_BK, state_B)
        of_dense, dense_ms = ratio(column.take, lambda rows: dense[rows])
        of_ragged, ragged_ms = ratio(ragged.take, lambda rows: numpy_ragged(values, offsets, rows))
    protocol = f"{ROWS:,} rows, batches of {BATCH}, median CPU over 2 passes after a first"
    return [
        at_most(f"gather, dense {WIDTH} float32", of_dense, 2.0, protocol, {"numpy_ms": round(dense_ms, 4)}),
        at_most("gather, ragged 5-60 int32", of_ragged, 1.1, protocol, {"numpy_ms": round(ragged_ms, 4)}),
    ]
