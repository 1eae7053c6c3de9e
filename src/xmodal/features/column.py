"""What extractors make of a column: U distinct present cells, and which of them each row points to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from xmodal.job import Json, Rows, State

LONG = 64  # values of a stretch, from which on it is copied by itself


@dataclass(frozen=True)
class Spec:
    """What made a feature. With the cell's bytes it is the store's key."""

    name: str
    version: int
    decoder: str
    settings: str  # canonical JSON
    weights: str = ""  # hash of a network's weights

    @property
    def digest(self) -> str:
        """Stable name of this spec, also its folder in the store."""
        text = json.dumps([self.name, self.version, self.decoder, self.settings, self.weights])
        return f"{self.name}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


@dataclass(frozen=True)
class FeatureColumn:
    """Features of one input. Dense: `{name: [U, …]}`. Ragged: `{name: (values, offsets [U + 1])}`; sparse features are
    two ragged ones, `<name>.index` and `<name>.weight`. Mapped or in memory; a single row is U = 1, no Arrow."""

    dense: dict[str, np.ndarray]
    ragged: dict[str, tuple[np.ndarray, np.ndarray]]
    row_BK: np.ndarray  # int64 [B, K]: which of the U are row b's, in order; -1 none
    state_B: np.ndarray  # int8 [B]
    specs: tuple[Spec, ...] = ()
    digest_U: np.ndarray | None = None  # of the bytes of each media cell, hexadecimal

    def __len__(self) -> int:
        return len(self.row_BK)

    @property
    def cells(self) -> int:
        """U, the number of distinct present cells."""
        lengths = (*map(len, self.dense.values()), *(len(offsets) - 1 for _, offsets in self.ragged.values()))
        return lengths[0] if lengths else 0

    def rows(self, rows: Rows) -> FeatureColumn:
        """These rows over the same cells (nothing is copied but the pointers)."""
        return replace(self, row_BK=self.row_BK[rows], state_B=self.state_B[rows])

    def compact(self) -> FeatureColumn:
        """The same rows over only the cells they use: what a fold may see."""
        used_U = np.unique(self.row_BK[self.row_BK >= 0])
        if len(used_U) == self.cells:
            return self
        row_BK = np.where(self.row_BK < 0, -1, np.searchsorted(used_U, self.row_BK))
        ragged = {k: take_ragged(v, offsets, used_U) for k, (v, offsets) in self.ragged.items()}
        digest_U = None if self.digest_U is None else self.digest_U[used_U]
        return replace(self, dense={k: v[used_U] for k, v in self.dense.items()}, ragged=ragged, row_BK=row_BK, digest_U=digest_U)

    def some(self, start: int, stop: int) -> FeatureColumn:
        """Only these cells, a row each."""
        at = np.arange(start, min(stop, self.cells))
        ragged = {k: take_ragged(v, offsets, at) for k, (v, offsets) in self.ragged.items()}
        return replace(
            self, dense={k: v[start:stop] for k, v in self.dense.items()}, ragged=ragged, row_BK=np.arange(len(at))[:, None],
            state_B=np.zeros(len(at), np.int8), digest_U=None if self.digest_U is None else self.digest_U[start:stop],
        )  # fmt: skip

    def hidden(self) -> FeatureColumn:
        """The same rows with every cell gone."""
        state_B = np.where(self.state_B == State.PRESENT, State.MISSING, self.state_B).astype(np.int8)
        return replace(self, row_BK=np.full_like(self.row_BK, -1), state_B=state_B)

    def take(self, cell_U: np.ndarray) -> dict[str, np.ndarray]:
        """One vectorised gather. Ragged arrays come as [U, longest, …], padded with 0, beside `<name>_length`."""
        out: dict[str, np.ndarray] = {name: np.asarray(array)[cell_U] for name, array in self.dense.items()}
        places: dict[int, tuple[np.ndarray, ...]] = {}  # arrays of the same offsets share them: a step has no time to lose
        for name, (values, offsets) in self.ragged.items():
            if id(offsets) not in places:
                starts = offsets[cell_U]
                length_U = offsets[cell_U + 1] - starts
                place_L = np.arange(max(length_U.max(initial=0), 1))
                places[id(offsets)] = length_U, place_L >= length_U[:, None], starts[:, None] + place_L
            out[f"{name}_length"], gone_UL, at_UL = places[id(offsets)]
            some = np.asarray(values) if len(values) else np.zeros((1, *values.shape[1:]), values.dtype)
            out[name] = some.take(at_UL, 0, mode="clip")  # what lies beyond the last is gone
            np.copyto(out[name], 0, where=gone_UL.reshape(*gone_UL.shape, *(1 for _ in values.shape[1:])))
        return out

    def pooled(self, name: str, fill: float = np.nan) -> np.ndarray:
        """A dense feature a row, [B, D]: the mean over the row's files; `fill` where it has none."""
        array = np.asarray(self.dense[name])
        there_B = (self.row_BK >= 0).any(1)
        x_BD = np.full((len(self), *array.shape[1:]), fill, np.float64)
        row_BK = self.row_BK[there_B]
        weight_BK = (row_BK >= 0) / (row_BK >= 0).sum(1, keepdims=True)
        x_BKD = np.where((row_BK >= 0)[..., None], array[row_BK], 0)  # -1 gathers the last cell, and NaN * 0 is NaN
        x_BD[there_B] = np.einsum("bk,bkd->bd", weight_BK, x_BKD.astype(np.float64))
        return x_BD


def take_ragged(values: np.ndarray, offsets: np.ndarray, cell_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ragged array of only these cells, in this order."""
    starts, lengths = offsets[cell_U], offsets[cell_U + 1] - offsets[cell_U]
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.asarray(values)
    out = np.empty((ends[-1], *values.shape[1:]), values.dtype)
    place(out, ends[:-1], values, starts, lengths)
    return out, ends


def place(out: np.ndarray, into_U: np.ndarray, values: np.ndarray, start_U: np.ndarray, length_U: np.ndarray) -> None:
    """Copy stretches of one array to places in another: long ones each by itself, since an index a value costs more than it."""
    if length_U.sum() < LONG * len(length_U):
        out[within(into_U, length_U)] = values[within(start_U, length_U)]
        return
    for into, start, length in zip(into_U.tolist(), start_U.tolist(), length_U.tolist(), strict=True):
        out[into : into + length] = values[start : start + length]


def within(start_U: np.ndarray, length_U: np.ndarray) -> np.ndarray:
    """The places of some stretches, one after the other."""
    end_U = np.cumsum(length_U)
    return np.asarray(np.arange(end_U[-1] if len(end_U) else 0) + np.repeat(start_U - end_U + length_U, length_U))


@dataclass(frozen=True)
class Fitted:
    """All that an artefact may hold of a fitted part: plain values, arrays, and files of bytes. Never code."""

    config: dict[str, Json] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Hash of the content: equal parts of two experts are computed once a row."""
        h = hashlib.blake2b(json.dumps(self.config, sort_keys=True).encode(), digest_size=16)
        for name, array in sorted(self.arrays.items()):
            h.update(f"{name}{array.dtype}{array.shape}".encode())
            h.update(np.ascontiguousarray(array).data)
        for name, content in sorted(self.files.items()):
            h.update(name.encode() + b"\0" + content)
        return h.hexdigest()

    def wide(self, name: str) -> np.ndarray:
        """An array in double precision, widened once an object."""
        kept = self.__dict__.setdefault("_wide", {})
        if name not in kept:
            kept[name] = self.arrays[name].astype(np.float64)
        return np.asarray(kept[name])

    @classmethod
    def merge(cls, parts: Mapping[str, Fitted], config: Mapping[str, Json]) -> Fitted:
        """Several fitted parts in one, each under its name. `part` takes one out again."""
        return cls(
            {"parts": {name: part.config for name, part in parts.items()}, **config},
            {f"{name}/{k}": v for name, part in parts.items() for k, v in part.arrays.items()},
            {f"{name}/{k}": v for name, part in parts.items() for k, v in part.files.items()},
        )

    @classmethod
    def beside(cls, parts: Mapping[str, Fitted]) -> Fitted:
        """The same, flat, so that it may be a part itself."""
        merged = cls.merge(parts, {})
        return replace(merged, config={f"{name}/{k}": v for name, part in parts.items() for k, v in part.config.items()})

    def part(self, name: str) -> Fitted:
        """The part that `merge` or `beside` put in under this name."""
        start = f"{name}/"
        if "parts" not in self.config:
            config = {k.removeprefix(start): v for k, v in self.config.items() if k.startswith(start)}
            return replace(self, config={"parts": {name: config}}).part(name)
        arrays = {k.removeprefix(start): v for k, v in self.arrays.items() if k.startswith(start)}
        files = {k.removeprefix(start): v for k, v in self.files.items() if k.startswith(start)}
        return Fitted(self.config["parts"][name], arrays, files)  # type: ignore[index,call-overload,arg-type]
