"""From a table, or from one row, to the features of every input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import pyarrow as pa

from xmodal.errors import MediaError
from xmodal.features.column import FeatureColumn, join
from xmodal.features.extractors import Extractor
from xmodal.features.store import DIGEST, Store
from xmodal.features.worker import Features, extract
from xmodal.features.workers import Request, Workers
from xmodal.job import Input, Key, State, registered
from xmodal.media import Media
from xmodal.modality import MODALITIES, MediaModality
from xmodal.table import Reading, Table, distinct

Progress = Callable[[int, int, str], None]  # done, total, what
FEW = 32  # new cells that are not worth starting workers for
BLAKE = partial(hashlib.blake2b, digest_size=16)
SHARD = 512  # cells after which what was extracted is safe on disk


@dataclass
class Counts:
    """What a build did. `broken`: one error a distinct cell that could not be used, with column, row and file."""

    decoded: int = 0
    extracted: int = 0
    reused: int = 0
    broken: list[MediaError] = field(default_factory=list)


def silent(done: int, total: int, what: str) -> None:
    """No progress shown."""


def build(
    table: Table,
    readings: Mapping[str, Reading],
    inputs: Mapping[Key, Input],
    extractors: Mapping[Key, Sequence[Extractor]],
    media: Media,
    store: Store | None = None,
    progress: Progress = silent,
) -> tuple[dict[Key, FeatureColumn], Counts]:
    """Features of every input for every row. A column that the table lacks is all missing. `store` None: in memory."""
    counts, columns = Counts(), {}
    with Workers(media) as workers:
        for key, item in inputs.items():
            parsed = []
            for name in item.columns:
                there = name in table.data.column_names
                parsed.append(readings[name].parse(table.column(name) if there else pa.chunked_array([pa.nulls(len(table))])))
            if item.modality == "table":
                columns[key] = plain(item, [v for v, _ in parsed], np.stack([s for _, s in parsed], 1))
                report_plain(item, table, np.stack([s for _, s in parsed], 1), counts)
            elif item.modality == "text":
                columns[key] = text(*parsed[0])
            else:
                run = MediaBuild(item, extractors[key], media, store or Store(), counts, workers, progress)
                columns[key] = run(*parsed[0])
    return columns, counts


def plain(item: Input, values: Sequence[Any], state_BP: np.ndarray) -> FeatureColumn:
    """number, date: float64 [B, P], NaN missing; category: uint64 [B, P], 0 missing; a row's cell is the row itself."""
    arrays: dict[str, list[np.ndarray]] = {"number": [], "category": [], "date": []}
    for kind, column in zip(item.kinds, values):
        arrays[kind].append(hashed(column) if kind == "category" else np.asarray(column, np.float64))
    count = len(state_BP)
    types = {"number": np.float64, "category": np.uint64, "date": np.float64}
    dense = {k: np.stack(a, 1) if a else np.zeros((count, 0), types[k]) for k, a in arrays.items()}
    there_B = (state_BP == State.PRESENT).any(1)
    broken_B = (state_BP == State.BROKEN).any(1)
    state_B = np.where(there_B, State.PRESENT, np.where(broken_B, State.BROKEN, State.MISSING)).astype(np.int8)
    return FeatureColumn(dense, {}, np.where(there_B, np.arange(count), -1)[:, None], state_B)


def hashed(column: Any) -> np.ndarray:
    """Each name's blake2b-64, never 0; 0 for none."""
    cells, row = distinct(column) if isinstance(column, pa.ChunkedArray) else (column, slice(None))
    digests = [hashlib.blake2b(c.encode(), digest_size=8).digest() if c is not None else bytes(8) for c in cells]
    codes = np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
    there = np.array([c is not None for c in cells])
    return np.where(there, np.maximum(codes, 1), 0)[row]


def report_plain(item: Input, table: Table, state_BP: np.ndarray, counts: Counts) -> None:
    """Cells that should be numbers or dates and are not."""
    for column, kind, state_B in zip(item.columns, item.kinds, state_BP.T):
        for row in np.flatnonzero(state_B == State.BROKEN):
            where = f"column {column!r}, row {row + 1}: {table.column(column)[int(row)].as_py()!r}"
            counts.broken.append(MediaError(f"not a {kind}", where, "mend the cell"))


def text(values: pa.ChunkedArray, state_B: np.ndarray) -> FeatureColumn:
    """`text`: UTF-8 bytes of the distinct texts, as Arrow's buffers hold them."""
    coded = values.cast(pa.large_string()).combine_chunks().dictionary_encode()
    row_B = coded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return FeatureColumn({}, {"text": buffers(coded.dictionary)}, row_B[:, None], state_B)


def buffers(words: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes and offsets [U + 1]."""
    _, offsets, content = words.buffers()
    if not len(words) or content is None:
        return np.zeros(0, np.uint8), np.zeros(len(words) + 1, np.int64)
    at = np.frombuffer(offsets, np.int64)[words.offset : words.offset + len(words) + 1]
    return np.frombuffer(content, np.uint8), at


@dataclass
class MediaBuild:
    """One media column: cells -> digests -> what the store lacks -> features."""

    item: Input
    extractors: Sequence[Extractor]
    media: Media
    store: Store
    counts: Counts
    workers: Workers
    progress: Progress

    def __call__(self, values: pa.ChunkedArray, state_B: np.ndarray) -> FeatureColumn:
        """The digest of a cell's bytes names it: equal pictures are one, whatever their paths."""
        cells, cell_B = distinct(values)
        rows = np.flatnonzero(state_B == State.PRESENT)
        cell_C, first_C, row_C = np.unique(cell_B[rows], return_index=True, return_inverse=True)
        rows_C = rows[first_C]
        digests = [self._digest(cells[c], int(row)) for c, row in zip(cell_C, rows_C)]
        good = np.flatnonzero([d is not None for d in digests])
        digest_U, first_U, cell_U = np.unique(
            np.array([digests[c] for c in good], DIGEST), return_index=True, return_inverse=True
        )
        failed_U = self._extract(digest_U, [cells[c] for c in cell_C[good[first_U]]], rows_C[good[first_U]])
        place_C = np.full(len(cell_C), -1)
        place_C[good] = np.where(failed_U, -1, np.cumsum(~failed_U) - 1)[cell_U]
        row_B = np.full(len(state_B), -1)
        row_B[rows] = place_C[row_C]
        state_B = np.where((state_B == State.PRESENT) & (row_B < 0), State.BROKEN, state_B).astype(np.int8)
        kept_U = digest_U[~failed_U]
        parts = [FeatureColumn(self.store.read(e.spec, kept_U, e.empty), {}, row_B[:, None], state_B, (e.spec,)) for e in self.extractors]
        return join(parts)

    def _digest(self, cell: object, row: int) -> str | None:
        try:
            with self.media.open(cell) as file:
                return hashlib.file_digest(file, BLAKE).hexdigest()  # type: ignore[arg-type]
        except MediaError as e:
            return self._broken(e, row)

    def _broken(self, e: MediaError, row: int) -> None:
        got = e.got.removesuffix(f" ({e.reason})")
        self.counts.broken.append(MediaError(e.reason, f"column {self.item.columns[0]!r}, row {row + 1}: {got}", e.do))

    def _extract(self, digest_U: np.ndarray, cells: Sequence[object], rows_U: np.ndarray) -> np.ndarray:
        """Store what is new, a shard at a time; which cells failed."""
        need_EU = np.stack([~self.store.has(e.spec, digest_U) for e in self.extractors])
        new = np.flatnonzero(need_EU.any(0))
        failed_U = np.zeros(len(digest_U), bool)
        self.counts.reused += len(digest_U) - len(new)
        for start in range(0, len(new), SHARD):
            some = new[start : start + SHARD]
            wanted = [[e for e, need in zip(self.extractors, need_EU[:, u]) if need] for u in some]
            requests = [(cells[u], digest_U[u].decode(), self.item.modality, w) for u, w in zip(some, wanted)]
            made: dict[Extractor, list[tuple[int, dict[str, np.ndarray]]]] = {e: [] for e in self.extractors}
            for done, (u, reply) in enumerate(zip(some, self._run(requests, len(new) > FEW)), start + 1):
                if isinstance(reply, MediaError):
                    failed_U[u] = True
                    self._broken(reply, int(rows_U[u]))
                else:
                    self.counts.decoded += 1
                    for extractor, features in zip(wanted[done - 1 - start], reply):
                        made[extractor].append((u, features))
                self.progress(done, len(new), f"features of {self.item.name}")
            for extractor, found in made.items():
                self.counts.extracted += len(found)
                if found:
                    features = {name: np.stack([f[name] for _, f in found]) for name in extractor.empty}
                    self.store.add(extractor.spec, digest_U[[u for u, _ in found]], features)
        for extractor in self.extractors if len(new) else ():
            self.store.merge(extractor.spec)
        return failed_U

    def _run(self, requests: Sequence[Request], many: bool) -> Iterator[Features | MediaError]:
        return self.workers.map(requests) if many else (attempt(r, self.media) for r in requests)


def attempt(request: Request, media: Media) -> Features | MediaError:
    """One cell, in this process."""
    cell, digest, modality, extractors = request
    try:
        return extract(cell, digest, modality, extractors, media)
    except MediaError as e:
        return MediaError(e.reason, e.got.removesuffix(f" ({e.reason})"), e.do)


def build_row(
    cells: Mapping[str, Any],
    readings: Mapping[str, Reading],
    inputs: Mapping[Key, Input],
    extractors: Mapping[Key, Sequence[Extractor]],
    media: Media,
) -> dict[Key, FeatureColumn]:
    """The same features for one row (U = 1): no Arrow, no store, no hashing of contents."""
    columns = {}
    for key, item in inputs.items():
        values, states = zip(*(readings[name].cell(cells.get(name)) for name in item.columns))
        if item.modality == "table":
            columns[key] = plain(item, [[v] for v in values], np.array([states]))
        elif item.modality == "text":
            content = (values[0] or "").encode()
            bytes_U = np.frombuffer(content, np.uint8), np.array([0, len(content)] if values[0] else [0])
            columns[key] = one({}, {"text": bytes_U}, states[0])
        else:
            columns[key] = row_media(item, values[0], states[0], extractors[key], media)
    return columns


def row_media(item: Input, cell: object, state: State, extractors: Sequence[Extractor], media: Media) -> FeatureColumn:
    """One media cell's features; none if it is missing or broken."""
    dense = {name: array for e in extractors for name, array in e.empty.items()}
    if state == State.PRESENT:
        try:
            raw = cast(MediaModality, registered("modalities", MODALITIES, item.modality)).open(cell, media)
            dense = {name: array[None] for e in extractors for name, array in e.one(raw).items()}
        except MediaError:
            state = State.BROKEN
    return one(dense, {}, state)


def one(dense: dict[str, np.ndarray], ragged: dict[str, tuple[np.ndarray, np.ndarray]], state: State) -> FeatureColumn:
    """A column of one row."""
    row_BK = np.array([[0 if state == State.PRESENT else -1]])
    return FeatureColumn(dense, ragged, row_BK, np.array([state], np.int8))
