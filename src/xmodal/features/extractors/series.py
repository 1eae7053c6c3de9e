"""Sequences: their steps for networks, and statistics over time for everything else. What the features mean is told by `width`, the
values a step: the store keeps them flat, `features.build` gives them their shape.

T steps · D values a step · S segments
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xmodal.features.extractors.base import Extractor
from xmodal.media import Raw

SEGMENTS = 4
ABOUT = {"width": np.zeros(0, np.int64), "gaps": np.zeros(0, np.int64), "length": np.zeros(0, np.int64)}


def about(x_TD: np.ndarray) -> dict[str, np.ndarray]:
    """D, how many of the values are gaps, and T."""
    found = {"width": x_TD.shape[1], "gaps": np.isnan(x_TD).sum(), "length": len(x_TD)}
    return {name: np.array(value, np.int64) for name, value in found.items()}


def summary_size(width: int) -> int:
    """How many numbers the statistics of so many values are."""
    return (7 + SEGMENTS) * width + 1


@dataclass(frozen=True)
class Steps(Extractor):
    """`steps`: float32 [T · D], NaN for gaps; of more than `most` steps the first and the last."""

    name: ClassVar[str] = "steps"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = "npy 1"
    ragged: ClassVar[frozenset[str]] = frozenset({"steps"})
    most: int = 4096

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {**ABOUT, "steps": np.zeros(0, np.float32)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        x_TD = raw.load()
        over = max(len(x_TD) - self.most, 0)
        return {**about(x_TD), "steps": np.delete(x_TD, slice(self.most // 2, self.most // 2 + over), 0).ravel()}


@dataclass(frozen=True)
class Summary(Extractor):
    """`summary`: float32 [11 · D + 1]: mean, deviation, least, greatest, first, last, deviation of the differences between steps, and the
    means of 4 segments, of each value; ln(1 + T). NaN where a value is never told."""

    name: ClassVar[str] = "summary"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = "npy 1"
    ragged: ClassVar[frozenset[str]] = frozenset({"summary"})

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {**ABOUT, "summary": np.zeros(0, np.float32)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        x_TD = raw.load().astype(np.float64)
        parts = np.array_split(x_TD, SEGMENTS) if len(x_TD) >= SEGMENTS else [x_TD] * SEGMENTS
        told = ~np.isnan(x_TD)
        first, last = told.argmax(0), len(x_TD) - 1 - told[::-1].argmax(0)
        column = np.arange(x_TD.shape[1])
        with warnings.catch_warnings(action="ignore"):  # means of nothing are NaN
            found = [measure(x_TD, 0) for measure in (np.nanmean, np.nanstd, np.nanmin, np.nanmax)]
            found += [x_TD[first, column], x_TD[last, column]]
            found.append(np.nanstd(np.diff(x_TD, axis=0), 0) if len(x_TD) > 1 else 0 * column)
            found += [np.nanmean(part, 0) for part in parts]
        return {**about(x_TD), "summary": np.append(np.concatenate(found), np.log1p(len(x_TD))).astype(np.float32)}
