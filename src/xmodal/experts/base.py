"""A trained answer of any family over some inputs, and the data that it reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np

from xmodal.batch import Examples
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.job import Budget, Input, Json, Key, Rows, TaskName
from xmodal.tasks import Prediction, Task

Settings = Mapping[str, Json]
Family: TypeAlias = Literal["features", "deep", "hybrid"]


@runtime_checkable
class Preparer(Protocol):
    """The two steps that encoders and classic descriptors share: fitted on training rows, applied to any."""

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted: ...
    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn: ...


@runtime_checkable
class Data(Protocol):
    """One table at fit, or the rows at predict. All row numbers are positions in it."""

    @property
    def columns(self) -> Mapping[Key, FeatureColumn]: ...
    @property
    def examples(self) -> Mapping[TaskName, Examples]: ...
    @property
    def private(self) -> bool:
        """Whether nothing may be kept that one row alone holds."""

    def prepared(self, key: Key, encoder: type[Preparer], settings: Settings, rows: Rows) -> tuple[Fitted, FeatureColumn]:
        """Fitted on THESE rows (a fold's), applied to the whole column; cached by them."""

    def fit_part(self, key: Key, encoder: type[Preparer], settings: Settings, rows: Rows) -> Fitted:
        """Fitted on THESE rows, applied to nothing yet; cached by them."""

    def transformed(self, key: Key, encoder: type[Preparer], fitted: Fitted, rows: Rows | None = None) -> FeatureColumn:
        """These rows, or all, under a fitted part; cached by the part's digest, so equal parts are computed once."""


class Expert(ABC):
    """Built with the tasks it answers, the inputs it may read and its settings (plain values, saved with it)."""

    name: ClassVar[str]  # in the registry, and in an artefact
    family: ClassVar[Family]

    def __init__(self, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], settings: Settings) -> None:
        self.tasks, self.inputs, self.settings = tasks, dict(sorted(inputs.items())), settings
        self.parts: dict[Key, Fitted] = {}  # what `prepared` fitted of each input
        self.curve: list[float] = []  # the validation loss of each round of the last fit, where there are rounds

    @abstractmethod
    def fit(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """Learn on `rows`; returns the epochs or trees used. `valid` None: exactly `budget.epochs`."""

    @abstractmethod
    def fitted(self) -> Fitted:
        """All that an artefact needs of it."""

    @classmethod
    @abstractmethod
    def restore(cls, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], fitted: Fitted) -> Expert:
        """Inverse of `fitted`."""

    @abstractmethod
    def predict(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> dict[TaskName, Prediction]:
        """One prediction a row, in order, as if the hidden inputs had no cell. Reads only `inputs`."""


def states(data: Data, inputs: Mapping[Key, Input], rows: Rows, hide: frozenset[Key]) -> np.ndarray:
    """state_RM of a prediction: why each input of each row can or cannot be used."""
    columns = {key: data.columns[key].rows(rows) for key in inputs}
    return np.stack([(c.hidden() if key in hide else c).state_B for key, c in columns.items()], 1)
