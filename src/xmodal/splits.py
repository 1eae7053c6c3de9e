"""Which rows are learnt from, chosen by and scored: whole groups, shares of classes kept where groups allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from scipy.sparse import block_array, coo_matrix, hstack
from scipy.sparse.csgraph import connected_components

from xmodal.errors import ConfigError, TableError
from xmodal.features.column import FeatureColumn
from xmodal.job import Rows

PARTS = ("train", "val", "test")
SHARES = (0.70, 0.15, 0.15)
FAR = 0.1  # of the rows: a part that is so much smaller or larger than its share is said
TIE_TEXT = 20  # equal texts of at least so many bytes tie their rows


def ties(columns: Sequence[FeatureColumn], group: pa.Array | None, rows: int) -> np.ndarray:
    """One number a row; rows of the same number may never be divided: those of one group (an empty group is its own),
    and those that share a media cell or a text of 20 bytes and more, unless over 1 % of the rows and over 20 share it."""
    found = [coo_matrix((rows, 0))]
    if group is not None:
        codes = group.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
        known = np.flatnonzero(codes >= 0)
        found.append(coo_matrix((np.ones(len(known)), (known, codes[known])), (rows, codes.max(initial=-1) + 1)))
    for column in columns:
        row, file = np.nonzero(column.row_BK >= 0)
        cell = column.row_BK[row, file]
        often = np.bincount(cell, minlength=column.cells)
        strong = (often > 1) & ((often <= 20) | (often <= 0.01 * rows))
        if "text" in column.ragged:
            strong &= np.diff(column.ragged["text"][1]) >= TIE_TEXT
        keep = strong[cell]
        found.append(coo_matrix((np.ones(keep.sum()), (row[keep], cell[keep])), (rows, len(often))))
    holds = hstack(found)  # which row has which group and cells
    _, label = connected_components(block_array([[None, holds], [holds.T, None]]), directed=False)
    return np.asarray(label[:rows])


def allocate(groups_R: np.ndarray, strata_R: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """The part of each row, [R]: groups in seeded order, the largest first, each to the part that still lacks most of
    its classes; a class of one row goes to the first part."""
    _, group = np.unique(groups_R, return_inverse=True)
    _, stratum = np.unique(strata_R, return_inverse=True)
    count_GC = np.zeros((group.max(initial=-1) + 1, stratum.max(initial=0) + 1))
    np.add.at(count_GC, (group, stratum), 1)
    size_G, total_C = count_GC.sum(1), count_GC.sum(0)
    order = np.random.default_rng(seed).permutation(len(count_GC))
    order = order[np.argsort(-size_G[order], kind="stable")]
    lack_PC = np.outer(shares, total_C)
    rare = (total_C >= len(shares)) & (lack_PC.min(0) < 1)  # one for every part
    lack_PC[1:, rare] = np.maximum(lack_PC[1:, rare], 1)
    lack_PC[0, rare] = total_C[rare] - lack_PC[1:, rare].sum(0)
    part_G = np.zeros(len(count_GC), np.int64)
    for g in order:
        need_P = lack_PC @ (count_GC[g] / total_C)
        best = np.flatnonzero(need_P >= need_P.max() - 1e-9)
        part_G[g] = best[lack_PC[best].sum(1).argmax()]
        lack_PC[part_G[g]] -= count_GC[g]
    return np.asarray(part_G[group])


def by_time(time_R: np.ndarray, groups_R: np.ndarray) -> tuple[np.ndarray, tuple[float, float], int]:
    """Parts in SHARES, the latest rows test; equal times are never divided, and a group goes whole where its latest row goes.
    Also where val and test begin, and how many rows went later with their group. Raises ConfigError for fewer than three times."""
    times, count = np.unique(time_R, return_counts=True)
    if len(times) < 3:
        raise ConfigError("at least three different times to split by", f"{len(times)}", "leave --time out, or give --split")
    ends = (np.cumsum(SHARES)[:2] * len(time_R)).astype(int)
    val, test = np.searchsorted(np.cumsum(count), ends, side="right")  # the times of the rows where shares end
    val = min(max(val, 1), len(times) - 2)  # no part is empty
    low, high = float(times[val]), float(times[max(test, val + 1)])
    own_R = (time_R >= low).astype(int) + (time_R >= high)
    latest = np.zeros(int(groups_R.max(initial=-1)) + 1, int)
    np.maximum.at(latest, groups_R, own_R)
    return np.array(PARTS)[latest[groups_R]], (low, high), int((latest[groups_R] > own_R).sum())


def uneven(part_R: np.ndarray, groups_R: np.ndarray) -> list[str]:
    """What to say where groups were too large for the shares."""
    count = {part: int((part_R == part).sum()) for part in PARTS}
    if max(abs(n - share * len(part_R)) for n, share in zip(count.values(), SHARES, strict=True)) <= FAR * len(part_R):
        return []
    most, shares = np.unique(groups_R, return_counts=True)[1].max(), " : ".join(f"{100 * share:.0f}" for share in SHARES)
    got = ", ".join(f"{part} {n} ({n / len(part_R):.0%})" for part, n in count.items())
    why = f"rows that belong together are never divided, up to {most} of the {len(part_R)} rows here"
    return [f"the parts are far from {shares}: {got}; {why}; --split says which rows train, val and test"]


def folds(groups_R: np.ndarray, strata_R: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold of each row. Raises ConfigError where there are fewer groups than folds."""
    found = len(np.unique(groups_R))
    if found < count:
        raise ConfigError(f"at least {count} groups for {count} folds", f"only {found} groups", f"ask for at most {found} folds")
    return allocate(groups_R, strata_R, [1 / count] * count, seed)


def thin(rows: Rows, most: int, seed: int) -> Rows:
    """At most so many of the rows, drawn, in their order."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def given(values: pa.Array, name: str) -> np.ndarray:
    """Parts as the split column spells them. Raises TableError for another word or an empty cell."""
    words = values.to_pylist()
    spelled = {"valid": "val", "validation": "val", "dev": "val", "training": "train", "testing": "test"}
    parts = [spelled.get(str(w).strip().lower(), str(w).strip().lower()) for w in words]
    for row, part in enumerate(parts):
        if part not in PARTS:
            do = "write one of the three, or leave --split out"
            raise TableError(f"train, val or test in split column {name!r}", f"{words[row]!r} in row {row + 1}", do)
    return np.array(parts)


def carve(groups_R: np.ndarray, strata_R: np.ndarray, rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """`rows` in two, the second holding `share` of them; all rows twice where there are too few to divide."""
    second = allocate(groups_R[rows], strata_R[rows], [1 - share, share], seed) == 1
    return (rows[~second], rows[second]) if 0 < second.sum() < len(rows) else (rows, rows)
