"""The data that experts read: one table's columns and examples, and what was prepared from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from xmodal.batch import Examples
from xmodal.experts.base import Preparer, Settings
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.job import Key, Rows, TaskName

Cached = tuple[Fitted, FeatureColumn]


@dataclass(frozen=True)
class TableData:
    """One table at fit, or the rows at predict. Whatever was prepared is kept until `forget`."""

    columns: Mapping[Key, FeatureColumn]
    examples: Mapping[TaskName, Examples]
    seed: int = 0
    cache: dict[tuple[str, ...], Cached] = field(default_factory=dict)

    def prepared(self, key: Key, encoder: type[Preparer], settings: Settings, rows: Rows) -> Cached:
        """Fitted on these rows alone, applied to the whole column."""
        at = hashlib.blake2b(np.ascontiguousarray(rows).data, digest_size=16).hexdigest()
        name = (key, encoder.__module__, encoder.__qualname__, json.dumps(dict(settings), sort_keys=True), at)
        if name not in self.cache:
            fitted = encoder.fit(self.columns[key].rows(rows).compact(), settings, self.seed)
            self.cache[name] = (fitted, self.transformed(key, encoder, fitted))
        return self.cache[name]

    def transformed(self, key: Key, encoder: type[Preparer], fitted: Fitted) -> FeatureColumn:
        """The whole column under a fitted part; equal parts are applied once."""
        name = (key, encoder.__module__, encoder.__qualname__, fitted.digest)
        if name not in self.cache:
            self.cache[name] = (fitted, encoder.transform(fitted, self.columns[key]))
        return self.cache[name][1]

    def forget(self) -> None:
        """Drop what was prepared: a fold is done."""
        self.cache.clear()

    def offset(self, task: TaskName, offset_RC: np.ndarray) -> TableData:
        """The same data whose examples carry what the pooled experts say."""
        examples = self.examples[task]._replace(offset_R=torch.from_numpy(offset_RC.astype(np.float32)))
        return replace(self, examples={**self.examples, task: examples})
