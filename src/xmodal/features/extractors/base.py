"""The contract of an extractor: a stateless function of one cell, whose results are stored for ever."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol

import numpy as np

from xmodal.features.column import Spec
from xmodal.media import Raw


class Extractor(Protocol):
    """A frozen dataclass of its settings. Looked up by name in the worker: no torch, no state."""

    name: ClassVar[str]
    source: ClassVar[Spec | None]  # None: from the cell; else from another extractor's stored output
    runs: ClassVar[Literal["worker", "main"]]
    stage: ClassVar[Literal["input", "frozen"]]  # input: may be augmented; frozen: a network's outputs
    weights: ClassVar[Mapping[str, np.ndarray]]  # what the artefact must carry

    @property
    def spec(self) -> Spec: ...

    @property
    def empty(self) -> dict[str, np.ndarray]: ...  # each feature with no cell, [0, …]: its shape and type

    def one(self, raw: Raw) -> dict[str, np.ndarray]: ...


@dataclasses.dataclass(frozen=True)
class FromCell:
    """What extractors that read the cell itself share."""

    source: ClassVar[Spec | None] = None
    runs: ClassVar[Literal["worker", "main"]] = "worker"
    stage: ClassVar[Literal["input", "frozen"]] = "input"
    weights: ClassVar[Mapping[str, np.ndarray]] = {}
    name: ClassVar[str]
    version: ClassVar[int]
    decoder: ClassVar[str]

    @property
    def spec(self) -> Spec:
        """The settings are the fields, as canonical JSON."""
        settings = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return Spec(self.name, self.version, self.decoder, settings)
