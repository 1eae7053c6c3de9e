"""The contract of an extractor: a stateless function of one cell, whose results are stored for ever."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from xmodal.features.column import Spec
from xmodal.media import Raw


@dataclasses.dataclass(frozen=True)
class Extractor(ABC):
    """Its fields are its settings. Looked up by name in the worker: no torch, no state."""

    name: ClassVar[str]
    version: ClassVar[int]
    decoder: ClassVar[str] = "pillow 2"  # and its version, which is ours: counted up when it decodes otherwise
    ragged: ClassVar[frozenset[str]] = frozenset()  # the features whose first dimension differs from cell to cell
    runs: ClassVar[Literal["worker", "main"]] = "worker"
    stage: ClassVar[Literal["input", "frozen"]] = "input"  # input: may be augmented; frozen: a network's outputs

    @property
    def source(self) -> Extractor | None:
        """Of one that runs in the main process: what a worker makes of the cell for it; None: the bytes of a text."""
        return None

    @property
    def weights(self) -> str:
        """Hash of a network's weights."""
        return ""

    @property
    def spec(self) -> Spec:
        """What the store keeps its results under."""
        settings = dataclasses.asdict(self) | ({"source": self.source.spec.digest} if self.source else {})
        return Spec(self.name, self.version, self.decoder, json.dumps(settings, sort_keys=True), self.weights)

    @property
    @abstractmethod
    def empty(self) -> dict[str, np.ndarray]:
        """Every feature of no cell, [0, …]: its name, shape and type."""

    @abstractmethod
    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        """The features of one cell."""


class Frozen(Extractor):
    """What a network whose weights stay as they are makes of a cell: `frozen`, float32 [length]. It runs once a cell, here."""

    runs: ClassVar[Literal["worker", "main"]] = "main"
    stage: ClassVar[Literal["input", "frozen"]] = "frozen"

    @property
    @abstractmethod
    def length(self) -> int:
        """Of the vector."""

    @abstractmethod
    def many(self, cells: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """The features of some cells, from what `source` made of each."""

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {"frozen": np.zeros((0, self.length), np.float32)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        assert self.source is not None
        return self.many([self.source.one(raw)])[0]
