"""From a table, or from one row, to the features of every input."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xmodal.errors import Absent, MediaError, UserError
from xmodal.features.column import FeatureColumn
from xmodal.features.corrupt import Corruption, corrupted
from xmodal.features.extractors import Extractor, Frozen
from xmodal.features.store import DIGEST, Store
from xmodal.features.worker import Extraction, Features, Kept, Request, media_modality, pool
from xmodal.job import Input, Json, Key, Progress, State
from xmodal.media import Cell, Media, attempt
from xmodal.table import Reading, Table, distinct

SHOWN = 3  # unreadable cells of a column that are named
FEW = 32  # new cells that are not worth starting workers for
BATCH = 64  # cells that a frozen network is given at once, while the next are decoded
SHARD = 512  # cells after which what was extracted is safe on the disk
ROOM = 256 * 2**20  # bytes of features, after which it is too
BLAKE = partial(hashlib.blake2b, digest_size=16)
TYPES = {"number": np.float64, "category": np.uint64, "date": np.float64}
Readings = Mapping[str, Reading]
Inputs = Mapping[Key, Input]
Extractors = Mapping[Key, Sequence[Extractor]]
Columns = dict[Key, FeatureColumn]


@dataclass
class Counts:
    """What a build did, in distinct files. `broken`: an error for each that could not be used, with column, row and file."""

    decoded: int = 0
    extracted: int = 0
    reused: int = 0
    inferred: int = 0  # cells that a frozen network was run on
    broken: list[MediaError] = field(default_factory=list)
    first: int = 0  # what rows are counted from
    notes: list[str] = field(default_factory=list)  # names read under another spelling; values beyond those of the fit
    inputs: dict[Key, Json] = field(default_factory=dict)  # seconds, bytes, and rows missing or unreadable a column

    def breaks(self, e: MediaError, column: str, row: int) -> None:
        """Rows count from 1."""
        self.broken.append(MediaError(e.reason, e.cell, e.do, column, self.first + row + 1))


@dataclass
class Broken:
    """Cells that could not be used: how many a column, and the first few of them."""

    count: Counter[str] = field(default_factory=Counter)
    first: list[MediaError] = field(default_factory=list)

    def add(self, broken: Iterable[MediaError]) -> None:
        """The next of them."""
        for e in broken:
            self.count[e.column] += 1
            if self.count[e.column] <= SHOWN:
                self.first.append(e)

    def merge(self, later: Broken) -> None:
        """Those of the rows that follow."""
        self.count.update(later.count)
        self.first += later.first

    def notes(self) -> list[str]:
        """A message a column."""
        said = []
        for column, count in self.count.items():
            first = [e for e in self.first if e.column == column][:SHOWN]
            cells = "; ".join(f"row {e.row}: {e.cell} ({e.reason})" for e in first)
            got = f"{count} unreadable in column {column!r}: {cells}{'; …' if count > len(first) else ''}"
            said.append(str(first[0] if count == 1 else UserError("readable cells", got, first[0].do)))
        return said


def build(
    table: Table, readings: Readings, inputs: Inputs, extractors: Extractors, media: Media, store: Store | None = None,
    progress: Progress = lambda *_: None, corruption: Corruption | None = None,
) -> tuple[Columns, Counts]:  # fmt: skip
    """Features of every input for every row. A column that the table lacks is all missing. `store`: None is the default one; what is
    corrupted should have one of its own."""
    counts, columns = Counts(first=table.first), {}
    none = pa.chunked_array([pa.nulls(table.data.num_rows)])
    for key, item in inputs.items():
        start = time.perf_counter()
        held = {name: table.column(name) if name in table.data.column_names else none for name in item.columns}
        parsed = [readings[name].parse(column) for name, column in zip(item.reads, held.values(), strict=True)]
        if item.modality == "table":
            columns[key] = plain(item, [v for v, _ in parsed], np.stack([s for _, s in parsed], 1))
            columns[key] = corrupted(columns[key], corruption) if corruption else columns[key]
            for name, (value_B, _) in zip(held, parsed, strict=True):
                low, high = readings[name].range
                far = ((x := np.asarray(value_B)) < low).sum() + (x > high).sum() if np.isfinite(low) else 0
                if far:
                    counts.notes.append(f"column {name!r}: {far} cells lie outside {low} to {high}, where the fit has seen values")
        elif item.modality == "text":
            columns[key] = text(*parsed[0])
            columns[key] = corrupted(columns[key], corruption) if corruption else columns[key]
            for e in extractors.get(key, ()):
                assert isinstance(e, Frozen)
                columns[key] = text_features(columns[key], e, store or Store(), counts, partial(progress, f"features of {item.name}"))
        elif item.modality == "vector":
            columns[key] = vectors(pc.list_flatten(parsed[0][0]).to_numpy(), parsed[0][1], width_of(readings[item.reads[0]]))
            columns[key] = corrupted(columns[key], corruption) if corruption else columns[key]
        elif key not in columns:
            items = together_read(item, inputs)
            extraction = Extraction({i.modality: tuple(extractors[i.key]) for i in items}, media, corruption)
            split = partial(media_modality(item.modality).files, media=media, options=readings[item.reads[0]].options)
            columns |= media_columns(items, extraction, split, store or Store(), counts, progress, *parsed[0])
        if item.modality == "sequence":
            columns[key] = shaped(columns[key], width_of(readings[item.reads[0]]), counts, item.name)
        if gaps := gaps_in(columns[key]):
            counts.notes.append(f"column {item.name!r}: {gaps} numbers are missing within its cells: the mean of training stands for them")
        for (name, column), (_, state_B) in zip(held.items(), parsed, strict=True):
            for row in np.flatnonzero(state_B == State.BROKEN).tolist():
                cell = column[row].as_py()
                cell = f"{cell[:60]}…" if isinstance(cell, str) and len(cell) > 60 else cell
                got = "a nested object" if isinstance(cell, dict) else repr(cell)
                kind = readings[name].modality if item.modality == "table" else item.modality
                wanted = f"{width_of(readings[item.reads[0]])} numbers" if kind == "vector" else f"a {kind}"
                counts.breaks(MediaError(f"not {wanted}", got), name, row)
        states = [s for _, s in parsed] if item.modality == "table" else [columns[key].state_B]
        size = sum(a.nbytes for a in columns[key].dense.values()) + sum(v.nbytes for v, _ in columns[key].ragged.values())
        lack = {n: [int((s == State.MISSING).sum()), int((s == State.BROKEN).sum())] for n, s in zip(item.columns, states, strict=True)}
        counts.inputs[key] = {"seconds": time.perf_counter() - start, "bytes": size, "columns": cast(Json, lack)}
    return columns, counts


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


def text_features(
    column: FeatureColumn, extractor: Frozen, store: Store, counts: Counts, progress: Callable[[int, int], None]
) -> FeatureColumn:
    """The column with what a frozen network makes of its texts, by the bytes of each; texts of about the same length together."""
    content, offsets = column.ragged["text"]
    text_U = [content[a:b] for a, b in pairwise(offsets)]
    digest_U = np.array([BLAKE(t.tobytes()).hexdigest() for t in text_U], DIGEST)
    order = np.argsort(np.diff(offsets), kind="stable")[::-1]
    new = order[~store.has(extractor.spec, digest_U)[order]]
    counts.reused += len(text_U) - len(new)
    for start in range(0, len(new), SHARD):
        shard = new[start : start + SHARD]
        store.add(extractor.spec, digest_U[shard], *together(extractor, extractor.many([{"text": text_U[u]} for u in shard])))
        counts.inferred += len(shard)
        progress(min(start + SHARD, len(new)), len(new))
    if len(new):
        store.merge(extractor.spec)
    sorted_U = np.unique(digest_U)
    pack = store.read(extractor.spec, sorted_U, extractor.empty)
    at_U = np.searchsorted(sorted_U, digest_U)
    return replace(column, dense={**column.dense, **{n: np.asarray(a)[at_U] for n, a in pack.dense.items()}})


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


def together_read(item: Input, inputs: Inputs) -> list[Input]:
    """The media inputs of one column, which is read once for all of them."""
    return [i for i in inputs.values() if i.columns == item.columns and i.modality not in ("table", "text")]


def media_columns(
    items: Sequence[Input], extraction: Extraction, split: Callable[[Cell], list[str | bytes]], store: Store, counts: Counts,
    progress: Progress, values: pa.ChunkedArray, state_B: np.ndarray,
) -> Columns:  # fmt: skip
    """Cells -> files -> digests -> what the store lacks -> the features of each input of one column. Files of equal bytes are one,
    whatever their paths; what is wrong with one file of a row masks that one."""
    (name,) = items[0].columns
    cells, cell_B = distinct(values)
    rows = np.flatnonzero(state_B == State.PRESENT)
    used_C, first_C, cell_R = np.unique(cell_B[rows], return_index=True, return_inverse=True)
    held = [attempt(split, cells[c]) for c in used_C.tolist()]
    for c, e in enumerate(held):
        if isinstance(e, MediaError):
            counts.breaks(e, name, int(rows[first_C[c]]))
    file_CK = [[] if isinstance(files, MediaError) else files for files in held]
    at = {file: f for f, file in enumerate(dict.fromkeys(file for files in file_CK for file in files))}
    row_F = {at[file]: int(rows[r]) for files, r in zip(file_CK[::-1], first_C[::-1], strict=True) for file in files}
    said = extraction.media.said.copy()
    digests = [attempt(digest_of, file, extraction.media) for file in at]
    respelled = (extraction.media.said - said).items()
    counts.notes += [f"column {name!r}: {how} in {count} of {len(at)} names" for how, count in respelled]
    unread = {f: d for f, d in enumerate(digests) if isinstance(d, MediaError)}
    digest_F = np.array(["" if f in unread else d for f, d in enumerate(digests)], DIGEST)
    read = np.flatnonzero(digest_F != b"")
    digest_U, first_U = np.unique(digest_F[read], return_index=True)
    first_U = read[first_U]  # the first file of each digest
    stored = {m: np.array([store.has(e.spec, digest_U) for e in some]) for m, some in extraction.readers.items()}
    files_F = list(at)
    new = {f: (files_F[f], digest_F[f].decode()) for f in first_U[~np.concatenate([*stored.values()]).all(0)].tolist()}
    counts.reused += len(digest_U) - len(new)
    lacking = {m: tuple(e for e, has_U in zip(some, stored[m], strict=True) if not has_U.all()) for m, some in extraction.readers.items()}
    lacking = {m: some for m, some in lacking.items() if some}
    errors = extract(replace(extraction, readers=lacking), store, counts, partial(progress, f"features of {name}"), new)
    at_CK = np.full((len(file_CK), max(map(len, file_CK), default=1) or 1), -1)
    for c, files in enumerate(file_CK):
        at_CK[c, : len(files)] = [at[file] for file in files]
    empty_C = np.array([files == [] for files in held], bool)
    columns = {}
    for number, item in enumerate(items):
        wrong = errors.get(item.modality, {})
        absent = [f for f, e in wrong.items() if isinstance(e, Absent)]
        broken = {f: e for f, e in (unread | wrong).items() if f not in absent}
        for f, e in sorted(broken.items()):
            if f in wrong or not number:  # what cannot be read is said once
                counts.breaks(e, item.name if f in wrong else name, row_F[f])
        for reason, count in Counter(wrong[f].reason for f in absent).items():
            counts.notes.append(f"column {item.name!r}: {count} of {len(at)} files missing: {reason}")
        kept_U = digest_U[~np.isin(first_U, list(wrong))]
        row_F1 = np.append(np.where(np.isin(digest_F, kept_U), np.searchsorted(kept_U, digest_F), -1), -1)  # the last: no file
        row_BK = np.full((len(state_B), at_CK.shape[1]), -1)
        row_BK[rows] = row_F1[at_CK][cell_R]
        mine_B = np.where((state_B == State.PRESENT) & (row_BK < 0).all(1), State.BROKEN, state_B).astype(np.int8)
        absent_C, broken_C = (np.isin(at_CK, some).any(1) for some in (absent, list(broken)))
        mine_B[rows[(empty_C | (absent_C & ~broken_C))[cell_R] & (mine_B[rows] == State.BROKEN)]] = State.MISSING
        columns[item.key] = stored_features(store, extraction.readers[item.modality], kept_U, row_BK, mine_B)
        counts.notes += cuts(item.name, columns[item.key].dense)
    return columns


def stored_features(
    store: Store, extractors: Sequence[Extractor], kept_U: np.ndarray, row_BK: np.ndarray, state_B: np.ndarray
) -> FeatureColumn:
    """What the store holds of these digests."""
    packs = [store.read(e.spec, kept_U, e.empty, e.ragged) for e in extractors]
    dense = {feature: array for pack in packs for feature, array in pack.dense.items()}
    ragged = {feature: pair for pack in packs for feature, pair in pack.ragged.items()}
    return FeatureColumn(dense, ragged, row_BK, state_B, tuple(e.spec for e in extractors), kept_U)


def cuts(name: str, dense: Mapping[str, np.ndarray]) -> list[str]:
    """A note of files that are not read to their end."""
    unread_U2 = np.asarray(dense.get("unread", np.zeros((0, 2))), float)
    cut = unread_U2[:, 1] > 0
    if not cut.any():
        return []
    whole, left = unread_U2[cut].sum(0)
    return [f"column {name!r}: of {cut.sum()} of {len(cut)} files only the start is read, {left / whole:.0%} of their length is left out"]


def digest_of(cell: Cell, media: Media) -> str:
    """Of its bytes. Raises MediaError."""
    with media.open(cell) as file:
        return hashlib.file_digest(file, BLAKE).hexdigest()


def extract(
    extraction: Extraction, store: Store, counts: Counts, progress: Callable[[int, int], None], new: dict[int, Request]
) -> dict[str, dict[int, MediaError]]:
    """Store the features of new cells, a shard at a time, by workers if there are many; by modality the errors of those without any.
    Networks read what workers make for them, which isn't stored."""
    errors: dict[str, dict[int, MediaError]] = {m: {} for m in extraction.readers}
    made: dict[str, dict[str, Features]] = {m: {} for m in extraction.readers}
    waits: dict[str, list[str]] = {m: [] for m in extraction.readers}
    size = 0
    working = replace(extraction, readers={m: for_workers(some) for m, some in extraction.readers.items()})
    few = contextlib.nullcontext(partial(map, lambda request: attempt(working.one, *request)))

    def infer() -> None:
        for m, cells in waits.items():
            run_networks(extraction.readers[m], [made[m][cell] for cell in cells], counts)
            cells.clear()

    def keep() -> None:
        infer()
        for m, extractors in extraction.readers.items():
            for e in extractors if made[m] else ():
                store.add(e.spec, np.array(list(made[m]), DIGEST), *together(e, list(made[m].values())))
            counts.decoded += len(made[m])
            counts.extracted += len(made[m]) * len(extractors)
            made[m].clear()

    with few if len(new) <= FEW and working.bounded else pool(working) as answers:
        for start in range(0, len(new), SHARD):
            shard = list(new)[start : start + SHARD]
            try:
                for done, (c, reply) in enumerate(zip(shard, answers([new[c] for c in shard]), strict=True), start + 1):
                    for m in extraction.readers:
                        one = reply if isinstance(reply, MediaError) else reply[m]
                        if isinstance(one, MediaError):
                            errors[m][c] = one
                        else:
                            made[m][new[c][1]] = one
                            waits[m].append(new[c][1])
                            size += sum(array.nbytes for array in one.values())
                    if max(map(len, waits.values()), default=0) >= BATCH:
                        infer()
                    if size > ROOM:
                        keep()
                        size = 0
                    progress(done, len(new))
            finally:  # who is interrupted, or out of time, keeps what is done
                keep()
    for e in (e for some in extraction.readers.values() for e in some if new):
        store.merge(e.spec)
    if new and (freed := store.trim([e.spec for some in extraction.readers.values() for e in some])):
        counts.notes.append(f"the cache was over its limit: {freed / 1e6:,.0f} MB that were not used for longest are deleted")
    return errors


def for_workers(extractors: Sequence[Extractor]) -> tuple[Extractor, ...]:
    """What workers run for these, each once."""
    if not any(isinstance(e, Frozen) for e in extractors):  # most, and one row has no time to lose
        return tuple(extractors)
    every = {e.spec.digest: e for one in extractors if (e := one.source if isinstance(one, Frozen) else one)}
    return tuple(every.values())


def run_networks(extractors: Sequence[Extractor], made: Sequence[Features], counts: Counts) -> None:
    """Put what frozen networks make of some cells in place of what workers made for them alone."""
    frozen = [e for e in extractors if isinstance(e, Frozen)]
    kept = {name for e in extractors for name in e.empty}
    for e in frozen if made else ():
        counts.inferred += len(made)
        for cell, found in zip(made, e.many(made), strict=True):
            cell.update(found)
    for cell in made if frozen else ():
        for name in cell.keys() - kept:
            del cell[name]


def together(e: Extractor, made: Sequence[Features]) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The features that an extractor made of some cells: dense, and ragged."""
    dense = {n: np.stack([m[n] for m in made]) if made else array for n, array in e.empty.items() if n not in e.ragged}
    ends = {n: np.cumsum([0, *(len(m[n]) for m in made)]) for n in e.ragged}
    return dense, {n: (np.concatenate([e.empty[n], *(m[n] for m in made)]), offsets) for n, offsets in ends.items()}


def build_row(
    cells: Mapping[str, Cell], readings: Readings, inputs: Inputs, extractors: Extractors, media: Media, kept: Kept | None = None
) -> Columns:
    """The same features for one row (U = 1): no Arrow, no store, no hashing of contents. `kept`: the processes that earlier rows started
    for cells that may take long."""
    columns, kept = Columns(), kept or Kept()
    for key, item in inputs.items():
        whole = [readings[read].among(cells) for read in item.reads]
        values, states = zip(*(readings[read].cell(cell) for read, cell in zip(item.reads, whole, strict=True)), strict=True)
        if item.modality == "table":
            columns[key] = plain(item, [[v] for v in values], np.array([states]))
            continue
        value, state = values[0], states[0]
        if item.modality == "text":
            content = (value or "").encode(errors="replace")
            ragged = {"text": (np.frombuffer(content, np.uint8), np.array([0, len(content)][: 1 + bool(content)]))}
            at = np.array([[0 if state == State.PRESENT else -1]])
            dense: dict[str, np.ndarray] = {}
            for e in extractors.get(key, ()):
                assert isinstance(e, Frozen)
                dense |= together(e, e.many([{"text": ragged["text"][0]}] if content else []))[0]
            columns[key] = FeatureColumn(dense, ragged, at, np.array([state], np.int8))
            continue
        if item.modality == "vector":
            flat = np.zeros(0) if value is None else value
            columns[key] = vectors(flat, np.array([state], np.int8), width_of(readings[item.reads[0]]))
            continue
        if key in columns:
            continue
        items, split = together_read(item, inputs), media_modality(item.modality).files
        files = attempt(split, value, media, readings[item.reads[0]].options) if state == State.PRESENT else []
        extraction = Extraction({i.modality: for_workers(extractors[i.key]) for i in items}, media)
        made = [files] if isinstance(files, MediaError) else [kept.ask(item.columns[0], extraction, file) for file in files]
        for i in items:
            mine = [m if isinstance(m, MediaError) else m[i.modality] for m in made]
            run_networks(extractors[i.key], [m for m in mine if not isinstance(m, MediaError)], Counts())
            columns[i.key] = row_column(mine, extractors[i.key], state)
            if i.modality == "sequence":
                columns[i.key] = shaped(columns[i.key], width_of(readings[i.reads[0]]), Counts(), i.name)
    return columns


def row_column(made: Sequence[Features | MediaError], extractors: Sequence[Extractor], state: State) -> FeatureColumn:
    """The features of the files of one row's cell."""
    good = [m for m in made if not isinstance(m, MediaError)]
    if state == State.PRESENT and not good:
        state = State.BROKEN if any(not isinstance(m, Absent) for m in made) else State.MISSING
    dense: dict[str, np.ndarray] = {}
    ragged: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for e in extractors:
        some = together(e, good)
        dense, ragged = dense | some[0], ragged | some[1]
    there_K = np.array([not isinstance(m, MediaError) for m in made] or [False])
    return FeatureColumn(dense, ragged, np.where(there_K, np.cumsum(there_K) - 1, -1)[None], np.array([state], np.int8))
