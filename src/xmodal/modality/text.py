"""Text, and categories: names out of a set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from xmodal.media import Media
from xmodal.table import Guess, distinct, text_of
from xmodal.table.reading import spaced, spelled

# Thai, Lao, Burmese, Khmer, Chinese, Japanese: scripts without spaces between words
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


UNIT = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+|\s+")  # a word, a character of a script without spaces, or what lies between
LETTERS = "etaoinshrdlu"


def drop(text: str, severity: int, random: np.random.Generator) -> str:
    """Words left out, up to 75 % of them."""
    return "".join(unit for unit in UNIT.findall(text) if unit.isspace() or random.random() >= 0.15 * severity)


def typos(text: str, severity: int, random: np.random.Generator) -> str:
    """Characters left out, doubled or replaced, up to 20 % of them."""
    made = []
    for letter in text:
        kind = random.integers(3) if not letter.isspace() and random.random() < 0.04 * severity else 3
        made.append(("", 2 * letter, LETTERS[random.integers(len(LETTERS))], letter)[kind])
    return "".join(made)


def shuffle(text: str, severity: int, random: np.random.Generator) -> str:
    """Words in another order: up to all of them."""
    units = UNIT.findall(text)
    words = [i for i, unit in enumerate(units) if not unit.isspace()]
    moved = [i for i in words if random.random() < 0.2 * severity]
    other = dict(zip(moved, random.permutation(moved).tolist(), strict=True))
    return "".join(units[other.get(i, i)] for i in range(len(units)))


@dataclass(frozen=True)
class Words:
    """Both modalities; each column of words is one of them."""

    kind: Literal["text", "category"]

    @property
    def corruptions(self) -> Mapping[str, Callable[[str, int, np.random.Generator], str]]:
        """Of a text."""
        return {"drop": drop, "typos": typos, "shuffle": shuffle} if self.kind == "text" else {}

    @property
    def family(self) -> Literal["text", "plain"]:
        """A category stands among the plain columns."""
        return "text" if self.kind == "text" else "plain"

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Text has many words that seldom repeat; a category's values repeat, or are codes."""
        if pa.types.is_binary(column.type) or pa.types.is_nested(column.type):
            return None
        texts = counts(column)
        if not (count := texts.total()):
            return None
        words, letters = (float(np.mean([size(t) for t in texts])) for size in (words_in, len))
        kinds, share = len(texts), len(texts) / count
        if words >= 4 or letters >= 40:
            text = kinds > 50 or share > 0.3
        else:
            text = kinds > 20 and share > (0.3 if words >= 1.5 else 0.5) and not coded(texts)
        if (text and not pa.types.is_dictionary(column.type)) != (self.kind == "text"):
            return None
        reason = f"{kinds} distinct in {count} cells, {words:.1f} words each"
        if self.kind == "category":
            return Guess.of(0.5, self.kind, reason, {"spelled": spelled(texts)}, tuple(spaced(texts)))
        cells, row = distinct(column)
        blank = int(np.isin(row, [i for i, c in enumerate(cells) if isinstance(c, str) and c and not c.strip()]).sum())
        return Guess.of(0.5, self.kind, reason + (f"; {blank} cells of spaces alone count as empty" if blank else ""))


def words_in(text: str) -> float:
    """By its spaces; in scripts without them, two characters are about a word."""
    return len(text.split()) + len(re.findall(f"[{UNSPACED}]", text)) / 2


def counts(column: pa.ChunkedArray) -> Counter[str]:
    """How often each value occurs as text, spaces and all."""
    cells, row = distinct(column)
    found: Counter[str] = Counter()
    for cell, n in zip(cells, np.bincount(row, minlength=len(cells)).tolist(), strict=True):
        if n and (text := repr(cell) if isinstance(cell, bytes) else text_of(cell)):
            found[text] += n
    return found


def coded(texts: Collection[str]) -> bool:
    """Whether most are codes: one word that holds a digit."""
    return sum(words_in(t) <= 1 and any(c.isdigit() for c in t) for t in texts) > len(texts) / 2
