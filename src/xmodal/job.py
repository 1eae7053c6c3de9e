"""What to learn and with what: names, states, budgets, and the configuration as frozen dataclasses."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from importlib.metadata import EntryPoints, entry_points
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
    def reads(self) -> tuple[str, ...]:
        """What its columns' readings stand under: their names, or its own where it is one of several ways to read a column."""
        own = self.modality != "table" and self.name == f"{self.columns[0]}:{self.modality}"
        return (self.name,) if own else self.columns

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
    """How the networks of one kind are trained."""

    width: int = 64
    batch: int = 64
    rate: float = 1e-3
    decay: float = 0.01
    warmup: float = 0.1  # share of all steps
    epochs: int = 30
    patience: int = 5
    minimum: int = 5
    clip: float = 1.0


@dataclass(frozen=True)
class Recipes:
    """Of each kind of network, and of the race. What two inputs mean together, a descriptor fusion learns late."""

    small: int = 2000  # fewer rows: all choices from out-of-fold predictions, then a refit on all rows
    folds: int = 5
    descriptor: Training = Training(rate=3e-3, decay=0.3, minimum=20)
    raw: Training = Training(rate=2e-3)
    correction: Training = Training(decay=0.3)


def role(default: Any, metavar: str | None, text: str) -> Any:
    """A field of `Job` that is an option too: what stands for its value, and its help."""
    made = {"default_factory": dict} if default == {} else {"default": default}
    return field(**made, metadata={"metavar": metavar, "help": text})


@dataclass(frozen=True)
class Job:
    """What a fit is asked for: the roles of columns and the choices, one spelling in every command, in Python, in the
    configuration file and in the artefact. What has a help text is an option of the commands that learn."""

    table: str | None = None  # a path; what else a fit reads isn't kept
    out: str = "model"
    target: tuple[str, ...] = role(
        (), "COL[=KIND]", "Column to learn; KIND: classify, regress or multilabel (which may be several columns)."
    )
    kind: str | None = None  # None: decided from the column and said
    id: tuple[str, ...] = role((), "COL", "Names a row; never an input.")
    group: str | None = role(None, "COL", "Rows with equal values are never divided.")
    time: str | None = role(None, "COL", "Without --split, later rows test; never an input.")
    weight: str | None = role(None, "COL", "How much a row counts, in learning and in metrics; never an input.")
    split: str | None = role(None, "COL", "Says train, val or test.")
    use: tuple[str, ...] = role((), "COL", "Only these columns are inputs.")
    ignore: tuple[str, ...] = role((), "COL", "Not an input.")
    modality: dict[str, str] = role({}, "COL|INPUT=KIND[+KIND][:OPTION=VALUE;…]", "Read it so; with +, in both ways.")
    input: dict[str, str] = role({}, "NAME=PATTERN", "A named group of plain columns.")
    encoder: dict[str, str] = role({}, "INPUT|MODALITY=NAME", "Encode it so: a network, or pretrained:NAME|FOLDER[;mode=lora|full].")
    download: bool = role(False, None, "Fetch a pretrained network that isn't on this machine; else nothing reaches the network.")
    join: tuple[str, ...] = role((), "FILE", "Its columns of numbers, by --id, are a vector named as the file; of .npy: by row.")
    fusion: str | None = role(None, "NAME", "Of the deep joint experts and the correction.")
    head: str | None = role(None, "NAME", "Of those networks; else the usual one of the task.")
    metric: str | None = role(None, "NAME", "Reported first; decides whether mixing paid.")
    positive: str | None = role(None, "CLASS", "Of two classes; else the rarer.")
    cost: str | None = role(None, "JSON|TOML", "What mistakes cost: {true: {said: cost}}; decides instead of the likeliest class.")
    coverage: float = role(0.9, "SHARE", "Of intervals and sets of classes.")
    media_root: tuple[str, ...] = role((), "DIR", "Folder, zip or tar file where media lie; else beside the table.")
    encoding: str | None = role(None, "NAME", "Of text that is neither UTF-8 nor marked.")
    sheet: str | None = role(None, "NAME", "Of a workbook that has several.")
    seed: int = role(0, None, "Of every draw.")
    ship: str = role("answer", "answer|fusion", "The pool of experts, or the deep fusion alone.")
    time_limit: str | None = role(None, "TIME", "90s, 10m, 1h30m: what does not fit in is left out and said.")
    device: str = role("auto", "auto|cpu|cuda", "Where networks are trained.")
    examples: bool = role(True, None, "Keep a few rows, with thumbnails, for the report; else no cell is kept.")
    training: Recipes = Recipes()

    @property
    def roles(self) -> tuple[str, ...]:
        """Columns that are no inputs."""
        return tuple(n for n in (*self.target, *self.id, self.group, self.time, self.weight, self.split) if n is not None)

    def to_json(self) -> dict[str, Json]:
        """Plain values, all of them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Job:
        """Inverse of `to_json`; what is left out has its default. Raises ConfigError for an unknown key (naming the nearest) or a
        value of another type. A field of every kind of network may stand in `training` itself, once for all."""
        training, every = dict(values.get("training") or {}), {f.name for f in dataclasses.fields(Training)}
        for name in training.keys() - every - {f.name for f in dataclasses.fields(Recipes)}:
            raise unknown("setting", name, {*every, "small", "folds"})
        shared = {name: training.pop(name) for name in every & training.keys()}
        if shared:
            training |= {kind: shared | training.get(kind, {}) for kind in ("descriptor", "raw", "correction")}
        if isinstance(values.get("cost"), Mapping):
            values = {**values, "cost": json.dumps(values["cost"])}
        target = {"target": [values["target"]]} if isinstance(values.get("target"), str) else {"target": values.get("target") or []}
        job = changed(cls(), {**values, **target, "training": training})
        for kind in ("descriptor", "raw", "correction"):
            for name, value in dataclasses.asdict(getattr(job.training, kind)).items():
                if value < 0 or (value == 0 and name in ("width", "batch", "rate", "epochs", "clip")):
                    raise ConfigError(f"{name} above 0", f"{value} in training.{kind}", "give another")
        if not 0 <= job.seed < 2**32:
            raise ConfigError("a seed from 0 to 4294967295", str(job.seed), "give another --seed")
        if not 0.5 <= job.coverage < 1:
            raise ConfigError("a coverage from 0.5 to below 1", str(job.coverage), "give another --coverage")
        if job.ship not in ("answer", "fusion"):
            raise unknown("ship", job.ship, ("answer", "fusion"))
        seconds_of(job.time_limit)
        return job

    def to_toml(self) -> str:
        """The configuration file: every field; one that is None stands as a comment."""
        import tomli_w

        values = self.to_json()
        none = "".join(f"# {name} = (none)\n" for name, value in values.items() if value is None)
        return none + tomli_w.dumps({name: value for name, value in values.items() if value is not None})


def seconds_of(text: str | None) -> float:
    """Of a time limit like 90s, 10m or 1h30m; without a unit, seconds. None: for ever. Raises ConfigError."""
    if text is None:
        return math.inf
    parts = re.fullmatch(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s?)?", text.strip().lower())
    seconds = sum(float(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True)) if parts else 0
    if not seconds:
        raise ConfigError("a time limit like 90s, 10m or 1h30m", repr(text), "give another --time-limit")
    return seconds


TYPES: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool, "tuple": (list, tuple), "dict": Mapping}


def changed(base: T, values: Mapping[str, Any]) -> T:
    """A dataclass with other values, dataclasses in it too. Raises ConfigError for an unknown key or a value of another type."""
    known = {f.name: f for f in dataclasses.fields(base)}  # type: ignore[arg-type]
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise unknown("setting", name, known)
        kind, old = str(known[name].type), getattr(base, name)
        if dataclasses.is_dataclass(old) and isinstance(value, Mapping):
            made[name] = changed(old, value)
            continue
        wanted = TYPES.get(re.split(r"[\[ ]", kind)[0], Mapping)
        inside = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
        fits = isinstance(value, wanted) and isinstance(value, bool) == (kind == "bool") and all(isinstance(v, str) for v in inside)
        if not fits and not (value is None and "None" in kind):
            raise ConfigError(f"{kind} for setting {name!r}", repr(value), "give another value")
        made[name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(base, **made)  # type: ignore[type-var]


def matching(pattern: str, columns: Collection[str]) -> list[str]:
    """The column of just that name, else those that the pattern fits, `*` being a wildcard."""
    wild = re.compile(re.escape(pattern).replace(r"\*", ".*"), re.DOTALL)
    return [pattern] if pattern in columns else [name for name in columns if wild.fullmatch(name)]


@cache
def points(group: str, path: tuple[str, ...]) -> EntryPoints:  # noqa: ARG001
    """The entry points of a group that a search path leads to: every search reads the files of all packages, some 10 ms."""
    return entry_points(group=f"xmodal.{group}")


def registry(group: str, builtin: dict[str, T]) -> dict[str, T]:
    """What is known under this group: ours and the entry points `xmodal.<group>` of installed plugins."""
    found = dict(builtin)
    for point in points(group, tuple(sys.path)):
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
