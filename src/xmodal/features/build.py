"""From a table, or from one row, to the features of every input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from xmodal.errors import MediaError
from xmodal.features.column import FeatureColumn, join
from xmodal.features.extractors import Extractor
from xmodal.features.store import DIGEST, Store
from xmodal.features.worker import Extraction, Features, Pool
from xmodal.job import Input, Key, Progress, State
from xmodal.media import Cell, Media
from xmodal.table import Reading, Table, distinct

FEW = 32  # new cells that are not worth starting workers for
SHARD = 512  # cells after which what was extracted is safe on the disk
BLAKE = partial(hashlib.blake2b, digest_size=16)
TYPES = {"number": np.float64, "category": np.uint64, "date": np.float64}
Readings = Mapping[str, Reading]
Inputs = Mapping[Key, Input]
Extractors = Mapping[Key, Sequence[Extractor]]
Columns = dict[Key, FeatureColumn]
T = TypeVar("T")


@dataclass
class Counts:
    """What a build did, in distinct cells. `broken`: an error for each that could not be used, with column, row and file."""

    decoded: int = 0
    extracted: int = 0
    reused: int = 0
    broken: list[MediaError] = field(default_factory=list)

    def breaks(self, e: MediaError, column: str, row: int) -> None:
        """Rows count from 1."""
        self.broken.append(MediaError(e.reason, f"column {column!r}, row {row + 1}: {e.where}", e.do))


def build(
    table: Table, readings: Readings, inputs: Inputs, extractors: Extractors, media: Media, store: Store | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[Columns, Counts]:  # fmt: skip
    """Features of every input for every row. A column that the table lacks is all missing. `store`: None is the default one."""
    counts = Counts()
    columns = {}
    for key, item in inputs.items():
        none = pa.chunked_array([pa.nulls(table.data.num_rows)])
        held = {name: table.column(name) if name in table.data.column_names else none for name in item.columns}
        parsed = [readings[name].parse(column) for name, column in held.items()]
        if item.modality == "table":
            columns[key] = plain(item, [v for v, _ in parsed], np.stack([s for _, s in parsed], 1))
            for (name, column), (_, state_B) in zip(held.items(), parsed, strict=True):
                for row in np.flatnonzero(state_B == State.BROKEN).tolist():
                    counts.breaks(MediaError(f"not a {readings[name].modality}", repr(column[row].as_py())), name, row)
        elif item.modality == "text":
            columns[key] = text(*parsed[0])
        else:
            extraction = Extraction(item.modality, tuple(extractors[key]), media)
            columns[key] = media_column(item.name, extraction, store or Store(), counts, progress, *parsed[0])
    return columns, counts


def plain(item: Input, values: Sequence[Any], state_BP: np.ndarray) -> FeatureColumn:
    """number, date: float64 [B, P], NaN missing; category: uint64 [B, P], 0 missing; a row's cell is the row itself."""
    count = len(state_BP)
    columns = {kind: [v for v, k in zip(values, item.kinds, strict=True) if k == kind] for kind in TYPES}
    columns["category"] = [hashed(v) for v in columns["category"]]
    dense = {kind: np.stack(c, 1).astype(TYPES[kind]) if c else np.zeros((count, 0), TYPES[kind]) for kind, c in columns.items()}
    there_B, broken_B = (state_BP == State.PRESENT).any(1), (state_BP == State.BROKEN).any(1)
    state_B = np.where(there_B, State.PRESENT, np.where(broken_B, State.BROKEN, State.MISSING)).astype(np.int8)
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


def media_column(
    name: str, extraction: Extraction, store: Store, counts: Counts, progress: Progress, values: pa.ChunkedArray, state_B: np.ndarray
) -> FeatureColumn:
    """Cells -> digests -> what the store lacks -> features. Cells of equal bytes are one, whatever their paths."""
    cells, cell_B = distinct(values)
    rows = np.flatnonzero(state_B == State.PRESENT)
    used_C, first_C, cell_R = np.unique(cell_B[rows], return_index=True, return_inverse=True)
    row_C = rows[first_C].tolist()
    digests = [attempt(digest_of, cells[c], extraction.media) for c in used_C.tolist()]
    errors = {c: d for c, d in enumerate(digests) if isinstance(d, MediaError)}
    digest_C = np.array(["" if c in errors else d for c, d in enumerate(digests)], DIGEST)
    digest_U, first_U = np.unique(digest_C[digest_C != b""], return_index=True)
    first_U = np.flatnonzero(digest_C != b"")[first_U]  # the first cell of each digest
    stored_EU = np.array([store.has(e.spec, digest_U) for e in extraction.extractors])
    new = {c: (cells[used_C[c]], digest_C[c].decode()) for c in first_U[~stored_EU.all(0)].tolist()}
    counts.reused += len(digest_U) - len(new)
    lacking = tuple(e for i, e in enumerate(extraction.extractors) if not stored_EU[i].all())
    errors |= extract(replace(extraction, extractors=lacking), store, counts, partial(progress, f"features of {name}"), new)
    for c, e in sorted(errors.items()):
        counts.breaks(e, name, row_C[c])
    kept_U = digest_U[~np.isin(first_U, list(errors))]
    row_B = np.full(len(state_B), -1)
    row_B[rows] = np.where(np.isin(digest_C, kept_U), np.searchsorted(kept_U, digest_C), -1)[cell_R]
    state_B = np.where((state_B == State.PRESENT) & (row_B < 0), State.BROKEN, state_B).astype(np.int8)
    made = [(e.spec, store.read(e.spec, kept_U, e.empty)) for e in extraction.extractors]
    return join([FeatureColumn(features, {}, row_B[:, None], state_B, (spec,)) for spec, features in made])


def digest_of(cell: Cell, media: Media) -> str:
    """Of its bytes. Raises MediaError."""
    with media.open(cell) as file:
        return hashlib.file_digest(file, BLAKE).hexdigest()


def attempt(action: Callable[..., T], *arguments: Any) -> T | MediaError:
    """What it returns, or the MediaError that it raises."""
    try:
        return action(*arguments)
    except MediaError as e:
        return e


def extract(
    extraction: Extraction, store: Store, counts: Counts, progress: Callable[[int, int], None], new: dict[int, tuple[Cell, str]]
) -> dict[int, MediaError]:
    """Store the features of new cells (path or bytes, and digest), a shard at a time; the errors of those that have none."""
    errors = {}
    made: dict[str, Features] = {}
    for done, (c, reply) in enumerate(zip(new, replies(extraction, list(new.values())), strict=True), 1):
        if isinstance(reply, MediaError):
            errors[c] = reply
        else:
            made[new[c][1]] = reply
        if made and (len(made) == SHARD or done == len(new)):
            for e in extraction.extractors:
                store.add(e.spec, np.array(list(made), DIGEST), {name: np.stack([f[name] for f in made.values()]) for name in e.empty})
            counts.decoded += len(made)
            counts.extracted += len(made) * len(extraction.extractors)
            made = {}
        progress(done, len(new))
    for e in extraction.extractors if new else ():
        store.merge(e.spec)
    return errors


def replies(extraction: Extraction, requests: Sequence[tuple[Cell, str]]) -> Iterator[Features | MediaError]:
    """Each cell's features or error, in order; by workers if there are many."""
    if len(requests) <= FEW:
        yield from (attempt(extraction.one, *request) for request in requests)
        return
    with Pool(extraction) as pool:
        for start in range(0, len(requests), SHARD):
            yield from pool.map(requests[start : start + SHARD])


def build_row(cells: Mapping[str, Cell], readings: Readings, inputs: Inputs, extractors: Extractors, media: Media) -> Columns:
    """The same features for one row (U = 1): no Arrow, no store, no hashing of contents."""
    columns = {}
    for key, item in inputs.items():
        values, states = zip(*(readings[name].cell(cells.get(name)) for name in item.columns), strict=True)
        dense: Features = {}
        ragged = {}
        state = states[0]
        if item.modality == "table":
            columns[key] = plain(item, [[v] for v in values], np.array([states]))
            continue
        if item.modality == "text":
            content = (values[0] or "").encode(errors="replace")
            ragged["text"] = np.frombuffer(content, np.uint8), np.array([0, len(content)][: 1 + bool(content)])
        else:
            dense = {name: array for e in extractors[key] for name, array in e.empty.items()}
            made = attempt(Extraction(item.modality, tuple(extractors[key]), media).one, values[0]) if state == State.PRESENT else {}
            if isinstance(made, MediaError):
                state = State.BROKEN
            else:
                dense |= {name: array[None] for name, array in made.items()}
        row_BK = np.array([[0 if state == State.PRESENT else -1]])
        columns[key] = FeatureColumn(dense, ragged, row_BK, np.array([state], np.int8))
    return columns
