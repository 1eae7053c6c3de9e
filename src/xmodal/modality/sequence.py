"""Sequences: arrays of T steps by D values, T differing from cell to cell.

T steps · D values a step
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from xmodal.errors import MediaError, TableError
from xmodal.formats import array_of, sort_of
from xmodal.job import Json
from xmodal.media import Cell, Media, Raw, attempt, shown
from xmodal.modality.files import NONE, Corruption, Files
from xmodal.modality.vector import CORRUPTIONS, differing
from xmodal.table import Guess, distinct
from xmodal.table.reading import listed

WIDTH, HEIGHT, LINES = 192, 96, 8  # of a drawing, and how many columns it shows


def loss(x_TD: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A tenth of the steps a step of severity becomes gaps, in at most three stretches. More severe, the same and their neighbours."""
    far_T = np.abs(np.arange(len(x_TD))[:, None] - random.integers(len(x_TD), size=3)).min(1)
    made = x_TD.copy()
    made[np.argsort(far_T, kind="stable")[: len(x_TD) * severity // 10]] = np.nan
    return made


class Series:
    """One opened sequence. Raises MediaError for other arrays and for none."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name = data, name
        if sort_of(data)[1] != "NPY":
            raise MediaError("no .npy array", name, "save it with numpy.save, or give a list of lists")
        array = array_of(data, name)
        if array.ndim not in (1, 2) or not array.size or array.dtype.kind not in "fiub":
            raise MediaError(f"{array.dtype} of shape {array.shape}, no steps by values", name, "give numbers of shape (steps, values)")
        self.array = array.reshape(len(array), -1)

    @property
    def digest(self) -> str:
        """Of its bytes."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    def facts(self) -> list[str]:
        """For counts."""
        return ["NPY"]

    def load(self) -> np.ndarray:
        """Float32 [T, D]; NaN: a gap. Raises MediaError for infinities and for nothing but gaps."""
        with np.errstate(over="ignore", invalid="ignore"):
            x_TD = self.array.astype(np.float32)
        if np.isinf(x_TD).any() or np.isnan(x_TD).all():
            raise MediaError("infinite values" if np.isinf(x_TD).any() else "nothing but NaN", self.name, "correct the values")
        return x_TD


class Sequence(Files):
    """Arrays of steps by values, each of its own length: .npy files, lists of lists, the same as JSON, arrays in memory."""

    kind: ClassVar[str] = "sequence"
    bounded: ClassVar[bool] = True
    noun: ClassVar[str] = "sequences"
    suffixes: ClassVar[tuple[str, ...]] = (".npy",)
    corruptions: ClassVar[Mapping[str, Corruption]] = {**CORRUPTIONS, "loss": loss}

    def open(self, cell: Cell, media: Media) -> Series:
        """Raises MediaError for what is no array of steps by values."""
        with media.open(cell) as file:
            return Series(file.read(), shown(cell))

    def files(self, cell: Cell, media: Media, options: Mapping[str, Json] = NONE) -> list[str | bytes]:
        """A list of steps is one file, in .npy; one of names, several. Raises MediaError."""
        steps: Any = listed(cell)
        if not isinstance(steps, (list, tuple, np.ndarray)) or any(isinstance(one, (str, bytes, dict)) for one in steps):
            return super().files(cell, media, options)
        try:
            np.save(file := io.BytesIO(), np.array(steps, np.float64), allow_pickle=False)
        except (TypeError, ValueError, OverflowError) as e:
            widths = sorted({len(one) if isinstance(one, (list, tuple, np.ndarray)) else 1 for one in steps})
            why = f"steps of {widths[0]} and of {widths[-1]} values" if len(widths) > 1 else f"steps that are not numbers ({e})"
            raise MediaError(why, shown(cell), "correct the cell") from e
        return [file.getvalue()] if len(steps) else []

    def recognise(self, column: pa.ChunkedArray, media: Media, asked: bool = False) -> Guess | None:
        """As files are, or lists of lists; then the width of every cell. Raises TableError where they differ."""
        cells, row_B = distinct(column)
        if self._flat(listed(next((c for c in cells if c is not None and c not in ("", [])), None))):
            return None  # vectors, unless asked for: then series of single values
        guess = super().recognise(column, media, asked)
        if guess is None:
            return None
        shapes, widths = set[tuple[int, ...]](), dict[int, int]()
        for at, cell in enumerate(cells):
            files = attempt(self.files, cell, media, guess.reading.options)
            for file in [] if isinstance(files, MediaError) else files:
                if not isinstance(one := attempt(self.open, file, media), MediaError):
                    shapes.add(one.array.shape)
                    widths.setdefault(one.array.shape[1], at)
        if len(widths) > 1:
            do = "mend the rows, or keep those of each width in a table of their own"
            raise TableError("sequences of as many values a step", differing(widths, row_B), do)
        options = guess.reading.options | {"width": next(iter(widths), 1)}
        picture = pa.types.is_binary(column.type) and len(shapes) == 1  # may be pixels; if they can't, no picture opens
        reason = f"{guess.reading.reason}; {options['width']} values a step"
        return guess._replace(score=0.85 if picture else 0.95, reading=replace(guess.reading, options=options, reason=reason))

    def _flat(self, steps: Any) -> bool:
        """Whether a cell is a list of numbers alone."""
        return isinstance(steps, list) and bool(steps) and not isinstance(steps[0], (str, bytes, dict, list))

    def draw(self, raw: Raw) -> str:
        """The course of the first columns, each over its own range, as SVG."""
        x_TD = raw.load()[:, :LINES]
        x_TD = x_TD[np.unique(np.linspace(0, len(x_TD) - 1, WIDTH).astype(int))]
        finite = np.where(np.isnan(x_TD), np.nanmean(x_TD), x_TD)
        low, high = finite.min(0), finite.max(0)
        y_TD = HEIGHT - 2 - (finite - low) / np.where(high > low, high - low, 1) * (HEIGHT - 4)
        at_T = np.linspace(0, WIDTH, len(x_TD))
        ways = (" ".join(f"{t:.1f},{y:.1f}" for t, y in zip(at_T, y_T, strict=True)) for y_T in y_TD.T)
        lines = "".join(f'<polyline fill="none" stroke="hsl({45 * d} 70% 40%)" points="{way}"/>' for d, way in enumerate(ways))
        size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{lines}</svg>'
