"""The data that experts read: one table's columns and examples, and what was prepared from them."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from xmodal.batch import Examples
from xmodal.experts.base import Preparer, Settings
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.files import naming
from xmodal.job import Key, Rows, TaskName
from xmodal.splits import thin

Cached = tuple[Fitted, FeatureColumn | None]  # None: fitted alone
MOST = 50_000  # rows that anything but a network is fitted on
PART = 8192  # cells that are prepared at once; of more, what is prepared is on the disk


@dataclass(frozen=True)
class TableData:
    """One table at fit, or the rows at predict. Whatever was prepared is kept until `forget`."""

    columns: Mapping[Key, FeatureColumn]
    examples: Mapping[TaskName, Examples]
    seed: int = 0
    private: bool = False  # nothing may be kept that one row alone holds
    cache: dict[tuple[str, ...], Cached] = field(default_factory=dict)
    some: dict[tuple[str, ...], tuple[str, FeatureColumn]] = field(default_factory=dict)  # of long columns, the rows last asked for

    def fit_part(self, key: Key, encoder: type[Preparer], settings: Settings, rows: Rows) -> Fitted:
        """Fitted on these rows alone."""
        settings = {**settings, **({"private": True} if self.private else {})}
        name = (key, encoder.__module__, encoder.__qualname__, json.dumps(dict(settings), sort_keys=True), digest(rows))
        if name not in self.cache:
            column = self.columns[key].rows(thin(rows, MOST, self.seed)).compact()
            self.cache[name] = (encoder.fit(column, settings, self.seed), None)
        return self.cache[name][0]

    def prepared(self, key: Key, encoder: type[Preparer], settings: Settings, rows: Rows) -> tuple[Fitted, FeatureColumn]:
        """Fitted on these rows alone, applied to the whole column."""
        fitted = self.fit_part(key, encoder, settings, rows)
        return fitted, self.transformed(key, encoder, fitted)

    def transformed(self, key: Key, encoder: type[Preparer], fitted: Fitted, rows: Rows | None = None) -> FeatureColumn:
        """These rows, or all, under a fitted part; equal parts are applied once, but of a long column to no more than these rows."""
        column, name = self.columns[key], (key, encoder.__module__, encoder.__qualname__, fitted.digest)
        if rows is not None and column.cells > MOST:
            if self.some.get(name, ("", column))[0] != (at := digest(rows)):
                self.some[name] = (at, in_parts(encoder, fitted, column.rows(rows).compact()))
            return self.some[name][1]
        if name not in self.cache:
            self.cache[name] = (fitted, in_parts(encoder, fitted, column))
        whole = cast(FeatureColumn, self.cache[name][1])
        return whole if rows is None else whole.rows(rows)

    def forget(self) -> None:
        """Drop what was prepared: a fold is done."""
        self.cache.clear()
        self.some.clear()

    def rest(self) -> None:
        """Give the memory of what is mapped back, until it is read again."""
        for column in (column for _, column in (*self.cache.values(), *self.some.values()) if column is not None):
            for array in (*column.dense.values(), *(values for values, _ in column.ragged.values())):
                if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                    array.base.madvise(mmap.MADV_DONTNEED)

    def offset(self, task: TaskName, offset_RC: np.ndarray) -> TableData:
        """The same data whose examples carry what the pooled experts say."""
        examples = self.examples[task]._replace(offset_R=torch.from_numpy(offset_RC.astype(np.float32)))
        return replace(self, examples={**self.examples, task: examples})


def digest(rows: Rows) -> str:
    """Names these rows."""
    return hashlib.blake2b(np.ascontiguousarray(rows).data, digest_size=16).hexdigest()


def in_parts(encoder: type[Preparer], fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
    """`encoder.transform` of a column, whose cells stand alone: of a long one some thousand at a time, into nameless files that
    are mapped, so that memory doesn't grow with the rows."""
    if column.cells <= PART:
        return encoder.transform(fitted, column)
    shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    ends: dict[str, list[np.ndarray]] = {}
    with naming(Path(tempfile.gettempdir())), ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for start in range(0, column.cells, PART):
            part = encoder.transform(fitted, column.some(start, start + PART))
            for name, array in {**part.dense, **{name: values for name, (values, _) in part.ragged.items()}}.items():
                if name not in files:
                    files[name], shapes[name] = stack.enter_context(tempfile.TemporaryFile()), (array.dtype, array.shape[1:])
                files[name].write(np.ascontiguousarray(array).data)
            for name, (_, offsets) in part.ragged.items():
                before = ends.setdefault(name, [np.zeros(1, np.int64)])
                before.append(offsets[1:] + before[-1][-1])
        counts = {name: int(before[-1][-1]) for name, before in ends.items()}
        maps = {name: mapped(file, *shapes[name], counts.get(name, column.cells)) for name, file in files.items()}
    ragged = {name: (maps.pop(name), np.concatenate(found)) for name, found in ends.items()}
    return replace(column, dense=maps, ragged=ragged)


def mapped(file: IO[bytes], kind: np.dtype[Any], shape: tuple[int, ...], count: int) -> np.ndarray:
    """All that was written to it."""
    file.flush()
    return np.memmap(file, kind, "r", shape=(count, *shape)) if count * math.prod(shape) else np.zeros((count, *shape), kind)
