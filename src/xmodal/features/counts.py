"""What a build did, and what it could not use: the errors of some cells, the rows of all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from xmodal.errors import MediaError, UserError
from xmodal.job import Json, Key, Rows

SHOWN = 3  # unreadable cells of a column that are named


@dataclass
class Counts:
    """What a build did, in distinct files. `broken`: an error for each that could not be used, with column, row and file; `lost`: the rows
    of each column in which something could not."""

    decoded: int = 0
    extracted: int = 0
    reused: int = 0
    inferred: int = 0  # cells that a frozen network was run on
    broken: list[MediaError] = field(default_factory=list)
    lost: dict[str, Rows] = field(default_factory=dict)
    first: int = 0  # what rows are counted from
    notes: list[str] = field(default_factory=list)  # names read under another spelling; values beyond those of the fit
    inputs: dict[Key, Json] = field(default_factory=dict)  # seconds, bytes, and rows missing or unreadable a column

    def breaks(self, e: MediaError, column: str, row: int) -> None:
        """Rows count from 1."""
        self.broken.append(MediaError(e.reason, e.cell, e.do, column, self.first + row + 1))

    def loses(self, column: str, rows: Rows) -> None:
        """Rows count from 0."""
        if len(rows):
            self.lost[column] = np.union1d(self.lost.get(column, rows[:0]), rows + self.first)


@dataclass
class Broken:
    """Cells that could not be used: the rows of each column, and the first few of them."""

    rows: dict[str, Rows] = field(default_factory=dict)
    first: list[MediaError] = field(default_factory=list)

    def add(self, later: Counts | Broken) -> None:
        """Those of the rows that follow."""
        for column, rows in (later.lost if isinstance(later, Counts) else later.rows).items():
            self.rows[column] = np.concatenate([self.rows.get(column, rows[:0]), rows])
        shown = Counter(e.column for e in self.first)
        for e in later.broken if isinstance(later, Counts) else later.first:
            shown[e.column] += 1
            self.first += [e] if shown[e.column] <= SHOWN else []

    def notes(self) -> list[str]:
        """A message a column."""
        said = []
        for column, rows in self.rows.items():
            count, first = len(rows), [e for e in self.first if e.column == column]
            cells = "; ".join(f"row {e.row}: {e.cell} ({e.reason})" for e in first)
            got = f"{count} unreadable in column {column!r}: {cells}{'; …' if count > len(first) else ''}"
            said.append(str(first[0] if count == 1 else UserError("readable cells", got, first[0].do)))
        return said
