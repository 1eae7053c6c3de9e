"""Words: text, told from names out of a set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from xmodal.job import Json
from xmodal.media import Media
from xmodal.table import WHITE, Guess, Reading, distinct, text_of


class Text:
    """Sentences or titles."""

    family: ClassVar[Literal["text"]] = "text"
    options: ClassVar[Mapping[str, Json]] = {}

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Decided by how often values repeat and how many words they have."""
        return names_or_text(column, "text")


def names_or_text(column: pa.ChunkedArray, modality: str) -> Guess | None:
    """Text has many words that seldom repeat; a category's values repeat, or are codes."""
    if pa.types.is_binary(column.type) or pa.types.is_nested(column.type):
        return None
    cells, row = distinct(column)
    texts = [text_of(c) or "" for c in cells]
    there = np.array([bool(t.strip(WHITE)) for t in texts])
    count, kinds = int(there[row].sum()), int(there.sum())
    if not kinds:
        return None
    present = [t for t, here in zip(texts, there) if here]
    words = float(np.mean([len(t.split()) for t in present]))
    letters = float(np.mean([len(t) for t in present]))
    share = kinds / count
    if words >= 4 or letters >= 40:
        text = share > 0.3 or kinds > 50
    else:
        text = kinds > 20 and share > (0.3 if words >= 1.5 else 0.5) and not coded(present)
    if text != (modality == "text") or pa.types.is_dictionary(column.type) and modality == "text":
        return None
    reason = f"{kinds} distinct in {count} cells, {words:.1f} words each"
    return Guess(0.5, Reading("", modality, {}, reason))


def coded(texts: list[str]) -> bool:
    """Whether most are codes: one word that holds a digit."""
    return sum(len(t.split()) == 1 and any(c.isdigit() for c in t) for t in texts) > len(texts) / 2
