"""What modalities share whose cells are files: which columns hold them, and what `inspect` counts of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol, TypeVar, cast

import numpy as np
import pyarrow as pa

from xmodal.errors import ConfigError, MediaError, TableError, Unfound
from xmodal.formats import sort_of
from xmodal.job import Json
from xmodal.media import Cell, Media, Raw, attempt
from xmodal.table import Guess, Reading, distinct

T = TypeVar("T")
NONE: Mapping[str, Json] = MappingProxyType({})
SAMPLE = 100  # cells whose headers decide what a column is
Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]  # what `Raw.load` gives, severity 1 to 5, draws


class File(Raw, Protocol):
    """An opened file that `inspect` can tell about."""

    def facts(self) -> list[str]:
        """For counts: its format, and what is odd about it."""
        ...


class Files(ABC):
    """A modality of files: paths, bytes, data: URIs, base64; several in a cell too."""

    family: ClassVar[Literal["media"]] = "media"
    kind: ClassVar[str]  # its name in the registry
    noun: ClassVar[str]  # what its files are called, in the plural
    suffixes: ClassVar[tuple[str, ...]]  # of names that are meant to be such files
    bounded: ClassVar[bool] = False  # whether the caps keep decoding short; else it is left to a process that can be killed
    corruptions: ClassVar[Mapping[str, Corruption]] = {}

    @abstractmethod
    def open(self, cell: Cell, media: Media) -> File:
        """Header checked, nothing decoded. Raises MediaError."""

    @abstractmethod
    def draw(self, raw: Raw) -> np.ndarray | str:
        """For people to look at: uint8 [H, W, 3], or SVG. Raises MediaError."""

    def named(self, file: str | bytes) -> bool:
        """Whether its name, or for bytes their start, says that it is of this modality."""
        if isinstance(file, bytes):
            return sort_of(file)[0] == self.kind
        return file.lower().endswith(self.suffixes) or file.lower().startswith(f"data:{self.kind}/")

    def natural(self, file: File) -> bool:
        """Whether an opened file is read so unasked."""
        return True

    def files(self, cell: Cell, media: Media, options: Mapping[str, Json] = NONE) -> list[str | bytes]:
        """The files of a cell, each a path or bytes. `options`: of the column's reading. Raises MediaError."""
        return media.files(cell, cast(str | None, options.get("separator")))

    def written(self, cells: Iterable[Cell], media: Media, options: Mapping[str, Json]) -> tuple[dict[str, Json], tuple[str, ...]]:
        """What else of the reading these cells decide, and what to tell of it."""
        return {}, ()

    def recognise(self, column: pa.ChunkedArray, media: Media, asked: bool = False) -> Guess | None:
        """By the headers of cells spread over the column. Raises ConfigError for paths of such files of which none opens, because of
        Unfound if none is there; TableError then where they are `asked` for."""
        whole = column
        if pa.types.is_nested(column.type):
            column = column.take(pa.array(spread(range(len(column)))))
        cells = [c for c in distinct(column)[0] if isinstance(c, (str, bytes, list, dict)) and c]
        separator, several = self._separator([c for c in cells if isinstance(c, str)], media)
        folders = 2 * len(cells) > len(column)  # names of classes may be names of folders; names of rows do not repeat
        options: dict[str, Json] = {"separator": separator} if separator else {}
        more, notes = self.written(chain(spread(cells), (cell.as_py() for cell in whole)), media, options)
        options |= more
        held = [attempt(self.files, cell, media, options) for cell in spread(cells)]
        errors, opened, called, strange = [e for e in held if isinstance(e, MediaError)], 0, 0, 0
        for cell, files in zip(spread(cells), held, strict=True):
            if isinstance(files, MediaError) or not all(isinstance(f, (str, bytes)) for f in files):
                continue
            if not folders and isinstance(cell, str) and files and str(files[0]).startswith(f"{cell.rstrip('/')}/"):
                continue
            tried = [attempt(self.open, file, media) for file in files[:3]]
            errors += [e for e in tried if isinstance(e, MediaError)]
            good = [p for p in tried if not isinstance(p, MediaError)]
            opened, called = opened + bool(good), called + any(map(self.named, files))
            strange += bool(good) and not any(map(self.natural, good))
        if max(opened, called) <= len(held) / 2 and not (asked and errors):
            return None
        if errors and not opened:
            gone = [e.path for e in errors if isinstance(e, Unfound) and "://" not in e.cell]  # links are no paths
            if len(gone) == len(errors):
                got = f"none of the {len(gone)} tried is there, the first: {gone[0]}"
                do = "give the folder in which they lie with --media-root"
                raise (TableError if asked else ConfigError)(f"{self.noun} at its paths", got, do) from errors[0]
            got = f"none of {len(held)} opens, the first: {errors[0].got}"
            do = f"{errors[0].do}; or give --media-root FOLDER, or leave the column out with --ignore"
            raise ConfigError(f"{self.noun} at its paths", got, do)
        reason = f"{opened} of {len(held)} sampled cells open as {self.noun}"
        if separator:
            reason += f"; {separator!r} separates several files in {several} cells"
        return Guess.of(0.1 if strange > opened / 2 else 0.9, self.kind, reason, options, notes)

    def _separator(self, cells: list[str], media: Media) -> tuple[str | None, int]:
        """What stands between the names in most cells that hold it, and in how many it stands."""
        best: tuple[str | None, int] = (None, 0)
        for mark in ";|":
            holding = [c for c in cells if mark in c and c[:5].lower() != "data:"]
            files = [f for c in spread(holding) if isinstance(f := attempt(self.files, c, media, {"separator": mark}), list) and len(f) > 1]
            fitting = sum(any(self.named(f) or not isinstance(attempt(self.open, f, media), MediaError) for f in some) for some in files)
            if 2 * fitting > len(spread(holding)) and len(holding) > best[1]:
                best = mark, len(holding)
        return best

    def survey(self, column: pa.ChunkedArray, media: Media, reading: Reading) -> Counter[str]:
        """How many files of all rows are of each format, are odd in some way, are spelled otherwise, or why they don't open."""
        counts, (cells, row) = Counter[str](), distinct(column)
        for cell, often in zip(cells[:-1], np.bincount(row, minlength=len(cells)).tolist(), strict=False):
            media.said.clear()
            files = attempt(self.files, cell, media, reading.options)
            for file in [files] if isinstance(files, MediaError) else files:
                opened = file if isinstance(file, MediaError) else attempt(self.open, file, media)
                facts = [f"unreadable: {opened.reason}"] if isinstance(opened, MediaError) else opened.facts()
                counts += Counter(dict.fromkeys(facts, often))
            counts += Counter(dict.fromkeys(media.said, often))
        return counts


def spread(cells: Sequence[T]) -> Sequence[T]:
    """So many of them, over all of them."""
    return cells[:: max(len(cells) // SAMPLE, 1)][:SAMPLE]
