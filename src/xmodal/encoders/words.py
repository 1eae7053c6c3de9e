"""Text as words: whole words, single characters where a script has no spaces."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

import numpy as np

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
MARKS = "\u0300-\u036f\u0900-\u0dff"  # accents and vowel signs, no letters to `\\w` but parts of a word
WORD = re.compile(f"[{UNSPACED}]|(?:(?![{UNSPACED}])[\\w{MARKS}])+")


def decode(values: np.ndarray, offsets: np.ndarray) -> list[str]:
    """The strings of a ragged array of UTF-8 bytes, lower-cased."""
    content = values.tobytes()
    return [content[a:b].decode("utf-8", "replace").lower() for a, b in pairwise(offsets)]


def words(text: str) -> list[str]:
    """Thai, Lao, Burmese, Khmer, Chinese and Japanese by characters, all else by words."""
    return WORD.findall(text)


@lru_cache(maxsize=64)
def vocabulary(content: bytes) -> dict[str, int]:
    """A vocabulary file: a word a line; its index is the line's number, from 1."""
    return {word: i for i, word in enumerate(content.decode().split("\n"), 1)} if content else {}
