"""Numbers and dates: every value must be one, or a gap."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from xmodal.media import Media
from xmodal.table import GAPS, NUMBER, Guess, distinct

PADDED = re.compile(r"[+-]?0[0-9].*")  # 007 is a name


def is_number(cell: Any) -> bool:
    """Text that spells one, not padded; or a number, not a truth value."""
    if isinstance(cell, str):
        return bool(NUMBER.fullmatch(cell)) and not PADDED.fullmatch(cell)
    return hasattr(cell, "__float__") and not isinstance(cell, bool)


@dataclass(frozen=True)
class Measure:
    """A modality whose cells are values of a scale."""

    kind: str
    fits: Callable[[Any], bool]
    family: ClassVar[Literal["plain"]] = "plain"

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Decided from every value; gap tokens are counted in the reason."""
        cells, row = distinct(column)
        gaps = {}
        fitting = 0
        for i, cell in enumerate(cells[:-1]):
            text = cell.strip() if isinstance(cell, str) else cell
            if self.fits(text):
                fitting += 1
            elif text not in ("", None) and str(text).lower() not in GAPS:
                return None
            elif text:
                gaps[text] = int(np.count_nonzero(row == i))
        taken = "".join(f"; {token!r} counts as a gap ({n} cells)" for token, n in gaps.items())
        quantity = "; each once: taken for a quantity, not an id" if fitting == len(row) else ""
        return Guess.of(1.0, self.kind, f"{fitting} distinct {self.kind}s{quantity}{taken}") if fitting else None
