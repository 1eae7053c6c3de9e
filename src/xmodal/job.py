"""What to learn and with what: names, states, budgets, and the configuration as frozen dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from xmodal.errors import ConfigError, unknown

Key = str  # an input: "table.name", never split again; users see the name alone
TableName = str
TaskName = str
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Rows = np.ndarray  # int64 positions
Progress = Callable[[str, int, int], None]  # stage, done, total
T = TypeVar("T")
MAIN: TableName = "main"  # the table of a fit on one table


class State(IntEnum):
    """Why a cell can or cannot be used."""

    PRESENT = 0
    MISSING = 1
    BROKEN = 2
    DISTRUSTED = 3


@dataclass(frozen=True)
class Input:
    """What is encoded, masked, dropped, explained and charged as one: a media column or a group of plain columns."""

    key: Key
    modality: str  # "image", "text", …; "table" for a group of plain columns
    columns: tuple[str, ...]
    kinds: tuple[str, ...] = ()  # of a plain group, column by column: number, category, date
    encoder: str | None = None  # asked for by --encoder

    @property
    def name(self) -> str:
        """What users and JSON see."""
        return self.key.split(".", 1)[1]


@dataclass(frozen=True)
class Budget:
    """How long and on what. `epochs`: exact, for a refit. `folder`: checkpoints."""

    seconds: float | None = None
    epochs: int | None = None
    device: str = "cpu"
    threads: int = 1
    folder: Path | None = None


@dataclass(frozen=True)
class Training:
    """How every deep expert is trained."""

    width: int = 64
    batch: int = 64
    rate: float = 1e-3
    decay: float = 0.01
    warmup: float = 0.1  # share of all steps
    epochs: int = 30
    patience: int = 5
    minimum: int = 5
    clip: float = 1.0
    folds: int = 5
    small: int = 2000  # fewer rows: all choices from out-of-fold predictions, then a refit on all rows


@dataclass(frozen=True)
class Job:
    """The roles of columns and the choices of a fit, one spelling in every command, in Python and in the artefact."""

    target: str | None = None
    kind: str | None = None  # classify | regress; None: decided from the column and said
    id: tuple[str, ...] = ()
    group: str | None = None
    split: str | None = None
    use: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    modality: dict[str, str] = field(default_factory=dict)  # COL or INPUT -> KIND
    input: dict[str, str] = field(default_factory=dict)  # NAME -> PATTERN, a named group of plain columns
    encoder: dict[str, str] = field(default_factory=dict)  # INPUT or MODALITY -> NAME
    fusion: str | None = None
    metric: str | None = None
    media_root: tuple[str, ...] = ()
    seed: int = 0
    device: str = "auto"
    training: dict[str, Json] = field(default_factory=dict)  # fields of Training; what isn't given is each expert's own

    @property
    def trained(self) -> Training:
        """What is given, and the defaults."""
        return build(Training, self.training)

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Job:
        """Inverse of `to_json`. Raises ConfigError for an unknown key (naming the nearest) or a value of another type."""
        job = build(cls, {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        build(Training, job.training)
        if not 0 <= job.seed < 2**32:
            raise ConfigError("a seed from 0 to 4294967295", str(job.seed), "give another --seed")
        return job


def build(cls: type[T], values: dict[str, Any]) -> T:
    """A dataclass from a mapping, checking every key and the type of every value against its default's."""
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise unknown("setting", name, known)
        default = known[name].default
        if isinstance(default, (bool, int, float, str)) and value is not None:
            wanted: Any = (int, float) if isinstance(default, float) else type(default)
            if not isinstance(value, wanted) or (isinstance(value, bool) and not isinstance(default, bool)):
                raise ConfigError(f"{type(default).__name__} for setting {name!r}", repr(value), "give another value")
    return cls(**values)


def registry(group: str, builtin: dict[str, T]) -> dict[str, T]:
    """What is known under this group: ours and the entry points `xmodal.<group>` of installed plugins."""
    found = dict(builtin)
    for point in entry_points(group=f"xmodal.{group}"):
        found.setdefault(point.name, point.load())
    return found


def registered(group: str, builtin: dict[str, T], name: str) -> T:
    """One of them by name. Raises ConfigError naming the nearest."""
    if name in builtin:
        return builtin[name]
    found = registry(group, builtin)
    if name not in found:
        raise unknown(f"{group[:-3]}y" if group.endswith("ies") else group[:-1], name, found)
    return found[name]
