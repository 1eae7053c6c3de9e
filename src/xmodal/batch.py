"""What one step sees: distinct present cells, examples, links; and the fetch that gathers them.

B rows · U distinct present cells · K files of a cell · R examples · C classes · E edges · I gallery rows
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from xmodal.features.column import FeatureColumn
from xmodal.job import Key, Rows, State, TableName, TaskName


@dataclass(frozen=True)
class Cells:
    """One input of one batch: only the distinct present cells. A missing cell does not exist, so nothing can fill it.
    U >= 1: if none is present, one blank cell that no row points to."""

    x: dict[str, Tensor]  # [U, …], padded
    row_BK: Int[Tensor, "B K"] | None  # which of the U are row b's, in order; -1 none; None: row b has cell b
    state_B: Int[Tensor, "B"]  # says why; never changes a number


class Edges(NamedTuple):
    """Rows of this batch that belong together; weight; order or time."""

    source_E: Tensor
    target_E: Tensor
    weight_E: Tensor
    position_E: Tensor


Links = dict[tuple[TableName, str, TableName], Edges]  # (source table, kind, target table)


class View(NamedTuple):
    """Whose rows an example is made of, and what of them may be read."""

    table: TableName
    inputs: frozenset[Key]


class Examples(NamedTuple):
    """R losses of one task. Not "rows of a table": a pair, a triplet, a unit label is one example."""

    rows: tuple[Tensor | None, ...]  # per view [R]; None: every row of the batch as it stands
    y: Tensor | None  # [R, …] class, soft distribution, value, labels a unit, gallery row; None: predict
    weight_R: Tensor  # 0: unlabelled
    offset_R: Tensor | None = None  # [R, C], added to the head's raw score
    ignore_RK: Tensor | None = None
    gallery_I: Tensor | None = None


class Plan(NamedTuple):
    """One GLOBAL step; a rank's shard splits R and nothing else. In `examples`, rows are table positions."""

    examples: dict[TaskName, Examples]
    rows: dict[TableName, Tensor]
    seed: int


@dataclass(frozen=True)
class Batch:
    """Everything one step reads."""

    ids: dict[TableName, Tensor]
    cells: dict[Key, Cells]
    links: Links
    examples: dict[TaskName, Examples]
    seed: int

    def to(self, device: str) -> Batch:
        """The same batch on another device."""
        if device == "cpu":
            return self
        cells = {
            key: Cells({n: t.to(device) for n, t in c.x.items()}, None if c.row_BK is None else c.row_BK.to(device), c.state_B.to(device))
            for key, c in self.cells.items()
        }
        links = {name: Edges(*(t.to(device) for t in e)) for name, e in self.links.items()}
        examples = {name: move(e, device) for name, e in self.examples.items()}
        return Batch({n: t.to(device) for n, t in self.ids.items()}, cells, links, examples, self.seed)


def move(examples: Examples, device: str) -> Examples:
    """The same examples on another device."""
    rows, *rest = examples
    return Examples(tuple(None if r is None else r.to(device) for r in rows), *(None if t is None else t.to(device) for t in rest))  # type: ignore[arg-type]


@runtime_checkable
class Sampler(Protocol):
    """Random access to steps, so that a resumed run sees the same ones."""

    def steps(self, epoch: int) -> int: ...
    def plan(self, seed: int, epoch: int, step: int) -> Plan: ...


def uniform(seed: int, salt: int, rows: np.ndarray) -> np.ndarray:
    """One draw in [0, 1) a row, a function of (seed, salt, row) alone: SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + salt * 0xD1B54A32D192ED03 + 1) % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        x ^= x >> np.uint64(31)
        return (x >> np.uint64(11)).astype(np.float64) / 2**53


@dataclass(frozen=True)
class Fetch:
    """plan -> Batch: one vectorised gather an input, column dropout. Draws are functions of (seed, row)."""

    columns: Mapping[Key, FeatureColumn]  # prepared
    drop: float = 0.0  # chance that an input of a row is hidden; never all of a row's, none where it has one

    def __call__(self, plan: Plan) -> Batch:
        rows = {table: np.asarray(r) for table, r in plan.rows.items()}
        states = {key: self.columns[key].state_B[rows[key.split(".", 1)[0]]] for key in self.columns}
        if self.drop:
            self._hide(states, rows, plan.seed)
        cells = {key: gather(self.columns[key], rows[key.split(".", 1)[0]], state) for key, state in states.items()}
        return Batch(dict(plan.rows), cells, {}, dict(plan.examples), plan.seed)

    def _hide(self, states: dict[Key, np.ndarray], rows: dict[TableName, np.ndarray], seed: int) -> None:
        for table, row_B in rows.items():
            keys = [k for k in states if k.split(".", 1)[0] == table]
            there_BM = np.stack([states[k] == State.PRESENT for k in keys], 1)
            draw_BM = np.stack([uniform(seed, salt, row_B) for salt in range(len(keys))], 1)
            draw_BM = np.where(there_BM, draw_BM, -1.0)
            off_BM = there_BM & (draw_BM < self.drop)
            luckiest = draw_BM.argmax(1)  # the present input with the highest draw always stays
            off_BM[np.arange(len(row_B)), luckiest] = False
            for m, key in enumerate(keys):
                states[key] = np.where(off_BM[:, m], State.MISSING, states[key]).astype(np.int8)


def gather(column: FeatureColumn, rows: Rows, state_B: np.ndarray) -> Cells:
    """The distinct present cells of these rows."""
    row_BK, state = column.row_BK[rows], torch.from_numpy(state_B.astype(np.int64))
    if state_B.any():
        row_BK = np.where((state_B == State.PRESENT)[:, None], row_BK, -1)
    flat = row_BK.ravel()
    if row_BK.shape[1] == 1 and len(flat) and -1 not in (used := set(flat.tolist())) and len(used) == len(flat):
        return Cells(tensors(column.take(flat)), None, state)
    cells, inverse = np.unique(flat, return_inverse=True)
    if len(cells) and cells[0] < 0:
        cells, inverse = cells[1:], inverse - 1
    x = tensors(column.take(cells)) if len(cells) else blank(column)
    return Cells(x, torch.from_numpy(inverse.reshape(row_BK.shape).astype(np.int64)), state)


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """As tensors; unsigned 64-bit and other types that torch lacks never get here (encoders prepare them away)."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def blank(column: FeatureColumn) -> dict[str, Tensor]:
    """One cell of zeros: its shapes are right and no row points to it."""
    dense = {n: np.zeros((1, *a.shape[1:]), a.dtype) for n, a in column.dense.items()}
    ragged = {n: np.zeros((1, 1, *v.shape[1:]), v.dtype) for n, (v, _) in column.ragged.items()}
    return tensors(dense | ragged | {f"{n}_length": np.zeros(1, np.int64) for n in ragged})
