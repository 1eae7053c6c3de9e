"""Cells made worse on purpose, to see how much an answer bears (as Hendrycks & Dietterich 2019 do for pictures).

U cells. A corruption is a function of what its modality hands out of a cell, of a severity from 1 to 5, and of draws that depend on a
seed and the cell alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from xmodal.errors import ConfigError, unknown
from xmodal.features.column import FeatureColumn
from xmodal.job import Input, registered
from xmodal.media import Raw
from xmodal.modality import MODALITIES

SEVERITIES = range(1, 6)


def known(item: Input) -> Mapping[str, Any]:
    """The corruptions of an input by name; a group of plain columns has those of numbers, if it holds some."""
    if item.modality == "table" and "number" not in item.kinds:
        return {}
    return getattr(registered("modalities", MODALITIES, "number" if item.modality == "table" else item.modality), "corruptions", {})


def called(item: Input) -> set[str]:
    """By what an input is named where it is made worse: its own name, its modality, and of a group that holds numbers `number`."""
    return {item.name, item.modality, *({"number"} & {*item.kinds})}


@dataclass(frozen=True)
class Corruption:
    """One of a modality's, at one severity."""

    modality: str
    name: str
    severity: int
    seed: int = 0

    @classmethod
    def of(cls, item: Input, text: str, seed: int) -> Corruption:
        """NAME or NAME:SEVERITY (else 3). Raises ConfigError."""
        name, _, severity = text.partition(":")
        if name not in known(item):
            raise unknown("corruption", name, known(item))
        if (severity or "3") not in map(str, SEVERITIES):
            raise ConfigError("a severity from 1 to 5", repr(text), f"say {name}:3")
        return cls("number" if item.modality == "table" else item.modality, name, int(severity or 3), seed)

    def __call__(self, x: Any, cell: str) -> Any:
        """`cell`: what tells it from others. Numbers stay within their type: what would overflow is its largest."""
        digest = hashlib.blake2b(cell.encode(errors="replace"), digest_size=8).digest()
        random = np.random.default_rng((self.seed, int.from_bytes(digest, "little")))
        function = registered("modalities", MODALITIES, self.modality).corruptions[self.name]  # type: ignore[attr-defined]
        with np.errstate(over="ignore"):
            made = function(x, self.severity, random)
        if not (isinstance(made, np.ndarray) and np.issubdtype(made.dtype, np.floating)):
            return made
        limits = np.finfo(made.dtype)
        return made.clip(limits.min, limits.max)


@dataclass(frozen=True)
class Worse:
    """An opened cell that hands out less than it holds."""

    raw: Raw
    corruption: Corruption

    @property
    def digest(self) -> str:
        """Of its bytes as they are."""
        return self.raw.digest

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def load(self, **settings: Any) -> np.ndarray:
        """What the cell hands out, corrupted."""
        made: np.ndarray = self.corruption(self.raw.load(**settings), self.digest)
        return made


def corrupted(column: FeatureColumn, corruption: Corruption) -> FeatureColumn:
    """The features of an input whose cells are their own features: text, numbers, arrays."""
    if "text" in column.ragged:
        values, offsets = column.ragged["text"]
        content = values.tobytes()
        texts = [content[a:b].decode("utf-8", "replace") for a, b in pairwise(offsets)]
        made = [np.frombuffer(corruption(text, text).encode(errors="replace"), np.uint8) for text in texts]
        return replace(column, ragged={"text": (np.concatenate([values[:0], *made]), np.cumsum([0, *map(len, made)]))})
    dense = dict(column.dense)
    if "number" in dense:
        dense["number"] = np.stack([corruption(x_U, str(p)) for p, x_U in enumerate(np.asarray(dense["number"], float).T)], 1)
    if "vector" in dense:
        x_UD = np.asarray(dense["vector"])
        dense["vector"] = np.array([corruption(x_D, x_D.tobytes().hex()) for x_D in x_UD], np.float32).reshape(x_UD.shape)
    return replace(column, dense=dense)
