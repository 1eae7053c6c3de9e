"""Vectors: lists of numbers of one width, in a cell each or gathered from columns of numbers.

D width
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xmodal.errors import ConfigError, TableError
from xmodal.job import Job, Json, matching
from xmodal.media import Media
from xmodal.modality.files import Corruption
from xmodal.modality.plain import Measure
from xmodal.table import Guess, Reading, Table, distinct
from xmodal.table.reading import listed, side_by_side

WIDE = 20_000  # numbers, from which on a cell is said to be long
PADDED = "^[+-]?0[0-9]"  # 007 is a name


def noise(x: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Every value off by about 10 % of itself a step of severity."""
    moved: np.ndarray = x * (1 + 0.1 * severity * random.standard_normal(x.shape))
    return moved.astype(x.dtype)


def unit(x: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A tenth of the columns a step of severity is in another unit: 1,000 times as large, or a tenth. More severe, the same and others."""
    draw_2D = random.random((2, *x.shape[-1:]))
    factor_D = np.where(draw_2D[1] < 0.5, 1000.0, 0.1)
    return np.where(draw_2D[0] < 0.1 * severity, x * factor_D, x).astype(x.dtype)


CORRUPTIONS: Mapping[str, Corruption] = {"noise": noise, "unit": unit}


class Vector:
    """Lists of numbers of one width: of a table's own kind, as JSON, an array, or several columns of numbers."""

    family: ClassVar[Literal["vector"]] = "vector"
    corruptions: ClassVar[Mapping[str, Corruption]] = CORRUPTIONS

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Decided from every cell: all lists of nothing but numbers and gaps. Raises TableError where their widths differ."""
        if not (pa.types.is_nested(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return None
        cells, row_B = distinct(column)
        if any(isinstance(c, str) and c.strip() and c.lstrip()[0] != "[" for c in cells):
            return None
        lists = [listed(c) if not isinstance(c, str) or c.strip() else None for c in cells]
        full = {i: c for i, c in enumerate(lists) if isinstance(c, list) and c}
        if not full or len(full) + sum(c is None or c == [] for c in lists) < len(lists):
            return None
        if any(isinstance(e, (list, dict)) for e in next(iter(full.values()))):
            return None
        options = writing([e for c in full.values() for e in c])
        if options is None:
            return None
        widths: dict[int, int] = {}
        for i, c in full.items():
            widths.setdefault(len(c), i)
        if len(widths) > 1:
            raise TableError("vectors of one width", differing(widths, row_B), "mend the row, or say --modality COL=sequence for series")
        width = next(iter(widths))
        notes = (
            (f"{width:,} numbers a cell: all are read, which takes long and {8 * width * len(full) / 1e6:,.0f} MB",) if width > WIDE else ()
        )
        return Guess.of(0.95, "vector", f"{len(full)} lists of {width} numbers", {"width": width, **options}, notes)


def differing(widths: Mapping[int, int], row_B: np.ndarray) -> str:
    """Of which width the first rows of two widths are. `widths`: width -> a distinct cell; `row_B`: the distinct cell of each row."""
    (one, a), (two, b) = sorted((width, int(np.flatnonzero(row_B == cell)[0]) + 1) for width, cell in widths.items())[:2]
    return f"{one} in row {a} and {two} in row {b}"


def writing(elements: list[Any]) -> dict[str, Json] | None:
    """How numbers in lists are written, as options of a number; None where one is no number."""
    words = [e for e in elements if isinstance(e, str) and e.strip()]
    if any(e is not None and not isinstance(e, (str, int, float)) for e in elements):
        return None
    if not words:
        return {} if any(e is not None for e in elements) else None
    return written(pa.chunked_array([pa.array(words)]))


def written(column: pa.ChunkedArray) -> dict[str, Json] | None:
    """The options under which every cell of a column is a number or a gap; None where there are none."""
    with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):  # most, at a thousandth of the cost
        column.cast(pa.float64())
        return None if pc.any(pc.match_substring_regex(column, PADDED)).as_py() else {}
    guess = Measure("number").recognise(column, Media(()))
    return {k: v for k, v in guess.reading.options.items() if k in ("decimal", "thousands", "unit")} if guess else None


def grouped(table: Table, job: Job) -> tuple[Table, Job]:
    """The table whose groups of --input that are vectors are a column each, and the job in which they are columns. Raises ConfigError."""
    vectors = [name for name in job.input if job.modality.get(name, "").partition(":")[0] == "vector"]
    for name in vectors:
        asked = [n for n in table.data.column_names if n not in (*job.roles, *job.ignore)]
        names = matching(job.input[name], [n for n in asked if not job.use or n in job.use or name in job.use])
        if not names or name in table.data.column_names:
            got = f"a column of that name in {table.source}" if names else f"no column that {job.input[name]!r} fits"
            raise ConfigError("columns for a vector of a new name", got, f"give another --input {name}=PATTERN")
        table = gathered(table, name, names)
    rest = {name: pattern for name, pattern in job.input.items() if name not in vectors}
    return table, replace(job, input=rest, use=(*job.use, *vectors) if job.use else ())


def gathered(table: Table, name: str, names: list[str]) -> Table:
    """The table with these columns, or those of them that are there, as one of lists."""
    own = [table.data[n] if n in table.data.column_names else None for n in names]
    data = table.data.drop_columns([n for n in names if n in table.data.column_names])
    return replace(table, data=data.append_column(name, side_by_side(own, table.data.num_rows)), made={**table.made, name: tuple(names)})


def regrouped(table: Table, readings: Mapping[str, Reading]) -> Table:
    """The same columns gathered as at fit."""
    for name, reading in readings.items():
        names: Any = reading.options.get("columns", ())
        if name not in table.data.column_names and any(n in table.data.column_names for n in names):
            table = gathered(table, name, names)
    return table
