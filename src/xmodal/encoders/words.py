"""Text as words (whole words, single characters where a script has no spaces), and words weighed by TF-IDF."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from xmodal.modality.text import UNSPACED

MARKS = "\u0300-\u036f\u0900-\u0dff"  # accents and vowel signs, no letters to `\\w` but parts of a word
HELD = 1_000_000  # different terms that are counted at once
WORD = re.compile(f"[{UNSPACED}]|(?:(?![{UNSPACED}])[\\w{MARKS}])+")


def decode(values: np.ndarray, offsets: np.ndarray) -> list[str]:
    """The strings of a ragged array of UTF-8 bytes, lower-cased."""
    content = values.tobytes()
    return [content[a:b].decode("utf-8", "replace").lower() for a, b in pairwise(offsets)]


def words(text: str) -> list[str]:
    """Thai, Lao, Burmese, Khmer, Chinese and Japanese by characters, all else by words."""
    return WORD.findall(text)


def fit_idf(counts: Iterable[Mapping[str, int]], most: int, private: bool) -> tuple[list[str], np.ndarray]:
    """The most frequent terms of at least two texts (of one where there are few, unless `private`), and ln((1 + n) / (1 + df)) + 1
    of each. Where there are more than HELD, the rarest so far are forgotten (as in lossy counting: Manku & Motwani 2002)."""
    df, texts = Counter[str](), 0
    for count in counts:
        df.update(count.keys())
        texts, rare, most_held = texts + 1, 0, HELD
        while len(df) > most_held:
            rare, most_held = rare + 1, HELD // 2  # so that it isn't done for each text
            df = Counter({term: n for term, n in df.items() if n > rare})
    least = 2 if texts >= 100 or private else 1
    terms = sorted((term for term, n in df.items() if n >= least), key=lambda term: (-df[term], term))[:most]
    idf = np.log((1 + texts) / (1 + np.array([df[term] for term in terms], float))) + 1
    return terms, idf.astype(np.float32)


def tfidf(
    texts: Iterable[Sequence[Mapping[str, int]]], known: Sequence[tuple[Mapping[str, int], np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(1 + ln count) idf of each known term, as scikit-learn's TfidfVectorizer without its checks, which cost one row half a
    millisecond. `texts`: counts of one or more kinds of terms a text; `known`: of each kind the places and idf. Every kind has
    length 1, in idf's precision, and stands behind the one before. Index, weight and ends of the texts."""
    index, weight, ends = [np.zeros(0, np.int32)], [np.zeros(0)], [0]
    for counts in texts:
        start = 0
        for (place, idf), count in zip(known, counts, strict=True):
            found = {place[term]: n for term, n in count.items() if term in place}
            at = np.fromiter(found, np.int32, len(found))
            w = (1 + np.log(np.fromiter(found.values(), idf.dtype, len(found)))) * idf[at]
            index.append(at + np.int32(start))
            weight.append(w / max(float(np.sqrt(w @ w)), 1e-12))
            start += len(idf)
        ends.append(ends[-1] + sum(map(len, index[-len(known) :])))
    return np.concatenate(index), np.concatenate(weight).astype(np.float32), np.array(ends, np.int64)


@lru_cache(maxsize=64)
def vocabulary(content: bytes) -> dict[str, int]:
    """A vocabulary file: a word a line; its index is the line's number, from 1."""
    return {word: i for i, word in enumerate(content.decode().split("\n"), 1)} if content else {}
