"""What the store lacks of a column's media or texts, made by workers and networks; and what it holds, row by row."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import compress, pairwise

import numpy as np
import pyarrow as pa

from xmodal.errors import Absent, ConfigError, MediaError
from xmodal.features.column import FeatureColumn
from xmodal.features.counts import Counts
from xmodal.features.extractors import Extractor, Frozen
from xmodal.features.store import DIGEST, Store
from xmodal.features.worker import Extraction, Features, Request, pool
from xmodal.job import Input, Key, Progress, State
from xmodal.media import Cell, Media, attempt, shown
from xmodal.table import distinct

FEW = 32  # new cells that are not worth starting workers for
BATCH = 64  # cells that a frozen network is given at once, while the next are decoded
SHARD = 512  # cells after which what was extracted is safe on the disk
ROOM = 256 * 2**20  # bytes of features, after which it is too
BLAKE = partial(hashlib.blake2b, digest_size=16)


def media_columns(
    items: Sequence[Input], extraction: Extraction, split: Callable[[Cell], list[str | bytes]], store: Store, counts: Counts,
    progress: Progress, values: pa.ChunkedArray, state_B: np.ndarray,
) -> dict[Key, FeatureColumn]:  # fmt: skip
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
    digest_U, first_U, read_U = np.unique(digest_F[read], return_index=True, return_inverse=True)
    first_U = read[first_U]  # the first file of each digest
    stored = {m: np.array([store.has(e.spec, digest_U) for e in some]) for m, some in extraction.readers.items()}
    lacking_EU, files_F = ~np.concatenate([*stored.values()]), list(at)
    requests = [(f, (files_F[f], digest_F[f].decode())) for f in first_U.tolist()]
    counts.reused += len(digest_U) - int(lacking_EU.any(0).sum())
    errors = fill(extraction, store, counts, partial(progress, f"features of {name}"), requests, lacking_EU)
    for m, found in errors.items():  # what is wrong with one file is wrong with all of its bytes, each under its name
        twins = [(f, found[first]) for f, first in zip(read.tolist(), first_U[read_U].tolist(), strict=True) if first in found]
        errors[m] = {f: type(e)(e.reason, shown(files_F[f]), e.do) for f, e in twins}
    at_CK = padded([[at[file] for file in files] for files in file_CK])
    empty_C = np.array([files == [] for files in held], bool)
    gone_C = among(at_CK, unread) | np.array([isinstance(files, MediaError) for files in held], bool)
    columns = {}
    for number, item in enumerate(items):
        wrong = errors.get(item.modality, {})
        absent = [f for f, e in wrong.items() if isinstance(e, Absent)]
        broken = {f: e for f, e in (unread | wrong).items() if f not in absent}
        for f, e in sorted(broken.items()):
            if f in wrong or not number:  # what cannot be read is said once
                counts.breaks(e, item.name if f in wrong else name, row_F[f])
        for reason in dict.fromkeys(wrong[f].reason for f in absent):
            some_C = among(at_CK, [f for f in absent if wrong[f].reason == reason])
            counts.notes.append(f"column {item.name!r}: nothing in {some_C[cell_R].sum()} of {len(rows)} cells: {reason}")
        kept_U = digest_U[~np.isin(first_U, list(wrong))]
        row_F1 = np.append(np.where(np.isin(digest_F, kept_U), np.searchsorted(kept_U, digest_F), -1), -1)  # the last: no file
        row_BK = np.full((len(state_B), at_CK.shape[1]), -1)
        row_BK[rows] = row_F1[at_CK][cell_R]
        mine_B = np.where((state_B == State.PRESENT) & (row_BK < 0).all(1), State.BROKEN, state_B).astype(np.int8)
        absent_C, broken_C, wrong_C = (among(at_CK, some) for some in (absent, broken, wrong.keys() & broken))
        counts.loses(name, rows[gone_C[cell_R]])
        counts.loses(item.name, rows[wrong_C[cell_R]])
        mine_B[rows[(empty_C | (absent_C & ~broken_C))[cell_R] & (mine_B[rows] == State.BROKEN)]] = State.MISSING
        columns[item.key] = stored_features(store, extraction.readers[item.modality], kept_U, row_BK, mine_B)
        counts.notes += cuts(item.name, columns[item.key].dense)
    return columns


def among(at_CK: np.ndarray, some: Collection[int]) -> np.ndarray:
    """Which cells hold one of these files, [C]."""
    return np.asarray(np.isin(at_CK, list(some)).any(1))


def padded(lists: Sequence[Sequence[int]]) -> np.ndarray:
    """[C, longest], -1 behind the end of each; one column at the least."""
    out = np.full((len(lists), max(map(len, lists), default=1) or 1), -1)
    for c, one in enumerate(lists):
        out[c, : len(one)] = one
    return out


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


def fill(
    extraction: Extraction, store: Store, counts: Counts, progress: Callable[[int, int], None], requests: Sequence[tuple[int, Request]],
    lacking_EU: np.ndarray,
) -> dict[str, dict[int, MediaError]]:  # fmt: skip
    """`extract`, each of U cells by those of the E extractors alone that it lacks: some cells can never have all."""
    errors: dict[str, dict[int, MediaError]] = {m: {} for m in extraction.readers}
    for lacks_E in np.unique(lacking_EU[:, lacking_EU.any(0)], axis=1).T:
        new, lacks = dict(compress(requests, (lacking_EU == lacks_E[:, None]).all(0))), iter(lacks_E)
        readers = {m: tuple(e for e in some if next(lacks)) for m, some in extraction.readers.items()}
        some_left = replace(extraction, readers={m: some for m, some in readers.items() if some})
        for m, found in extract(some_left, store, counts, progress, new).items():
            errors[m] |= found
    return errors


def extract(
    extraction: Extraction, store: Store, counts: Counts, progress: Callable[[int, int], None], new: dict[int, Request]
) -> dict[str, dict[int, MediaError]]:
    """Store the features of new cells, a shard at a time, by workers if there are many; by modality the errors of those without any.
    Networks read what workers make for them, which isn't stored."""
    errors: dict[str, dict[int, MediaError]] = {m: {} for m in extraction.readers}
    made: dict[str, dict[str, Features]] = {m: {} for m in extraction.readers}
    waits: dict[str, list[str]] = {m: [] for m in extraction.readers}
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
        shards = [list(new)[start : start + SHARD] for start in range(0, len(new), SHARD)]
        coming, done = answers([new[c] for c in shards[0]]) if shards else iter(()), 0
        for shard, after in pairwise([*shards, []]):
            replies, coming, size = coming, answers([new[c] for c in after]), 0  # workers go on while a shard is stored
            try:
                for c, reply in zip(shard, replies, strict=True):
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
                    progress(done := done + 1, len(new))
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
            if bad := [n for n, array in found.items() if not np.isfinite(array).all()]:
                raise ConfigError(
                    f"finite {bad[0]!r} of every cell from network {e.name!r}", "NaN or infinity", "mend the network, or leave it out"
                )
            cell.update(found)
    for cell in made if frozen else ():
        for name in cell.keys() - kept:
            del cell[name]


def together(e: Extractor, made: Sequence[Features]) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The features that an extractor made of some cells: dense, and ragged."""
    dense = {n: np.stack([m[n] for m in made]) if made else array for n, array in e.empty.items() if n not in e.ragged}
    ends = {n: np.cumsum([0, *(len(m[n]) for m in made)]) for n in e.ragged}
    return dense, {n: (np.concatenate([e.empty[n], *(m[n] for m in made)]), offsets) for n, offsets in ends.items()}


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
