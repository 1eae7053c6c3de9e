"""The contract of an extractor: a stateless function of one cell, whose results are stored for ever."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
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
    source: ClassVar[Spec | None] = None  # None: from the cell; else from another extractor's stored output
    runs: ClassVar[Literal["worker", "main"]] = "worker"
    stage: ClassVar[Literal["input", "frozen"]] = "input"  # input: may be augmented; frozen: a network's outputs
    weights: ClassVar[Mapping[str, np.ndarray]] = {}  # what the artefact must carry

    @property
    def spec(self) -> Spec:
        """What the store keeps its results under."""
        return Spec(self.name, self.version, self.decoder, json.dumps(dataclasses.asdict(self), sort_keys=True))

    @property
    @abstractmethod
    def empty(self) -> dict[str, np.ndarray]:
        """Every feature of no cell, [0, …]: its name, shape and type."""

    @abstractmethod
    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        """The features of one cell."""
