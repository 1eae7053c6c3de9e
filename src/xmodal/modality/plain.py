"""Numbers, dates and names: columns that are their own features."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa

from xmodal.job import Json
from xmodal.media import Media
from xmodal.modality.text import names_or_text
from xmodal.table import DATE, GAPS, NUMBER, WHITE, Guess, Reading, distinct

PADDED = re.compile(r"[+-]?0[0-9].*")  # 007 is a name


class Number:
    """Every value is a number or a gap."""

    family: ClassVar[Literal["plain"]] = "plain"
    options: ClassVar[Mapping[str, Json]] = {"gaps": list(GAPS)}

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Decided from every value."""

        def fits(cell: Any) -> bool:
            if isinstance(cell, str):
                return bool(NUMBER.fullmatch(cell)) and not PADDED.fullmatch(cell)
            return hasattr(cell, "__float__") and not isinstance(cell, bool)

        return guess(column, "number", fits)


class Date:
    """Every value is an ISO date, with or without a time, or a gap."""

    family: ClassVar[Literal["plain"]] = "plain"
    options: ClassVar[Mapping[str, Json]] = {"gaps": list(GAPS)}

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Decided from every value."""

        def fits(cell: Any) -> bool:
            return bool(DATE.fullmatch(cell)) if isinstance(cell, str) else isinstance(cell, datetime.date)

        return guess(column, "date", fits)


class Category:
    """Values are names out of a set."""

    family: ClassVar[Literal["plain"]] = "plain"
    options: ClassVar[Mapping[str, Json]] = {}

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Decided by how often values repeat and how many words they have."""
        return names_or_text(column, "category")


def guess(column: pa.ChunkedArray, modality: str, fits: Any) -> Guess | None:
    """A reading if every distinct value fits or is a gap token, and one at least fits."""
    cells, row = distinct(column)
    gaps: Counter[str] = Counter()
    fitting = 0
    for i, cell in enumerate(cells[:-1]):
        text = cell.strip(WHITE) if isinstance(cell, str) else cell
        if fits(text):
            fitting += 1
        elif isinstance(text, str) and (not text or text.lower() in GAPS):
            gaps[text] += int((row == i).sum()) if text else 0
        elif text == text:
            return None
    if not fitting:
        return None
    taken = "".join(f"; {token!r} taken for a gap in {n} cells" for token, n in gaps.items() if n)
    return Guess(1.0, Reading("", modality, {"gaps": list(GAPS)}, f"{fitting} distinct {modality}s{taken}"))
