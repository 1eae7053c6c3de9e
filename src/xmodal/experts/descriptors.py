"""Classic descriptors of each modality, as every classic expert reads them: `linear`, a matrix for linear models whose
rows have length about 1 whatever the modality, and `dims`, at most 30 columns for trees. U cells · F features."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from xmodal.encoders.plain import BINS, place, quantiles
from xmodal.encoders.words import decode, words
from xmodal.experts.base import Preparer, Settings
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import EXTRACTORS, Extractor

DIMS = 30
COMPONENTS = 128
TERMS = (20_000, 60_000)  # of words and pairs of words; of characters
BLOCKS = ("hog", "colour")  # of a picture's descriptor; each gets the same total variance
RARE = 2  # categories and terms seen less often are not kept


class Descriptor(Preparer):
    """A preparer that knows whose outputs it reads."""

    extractor: ClassVar[Mapping[str, Extractor]] = {}


def analysers() -> tuple[Callable[[str], list[str]], Callable[[str], list[str]]]:
    """Words and pairs of words (characters where a script has no spaces); 2 to 5 characters within words."""
    pairs = TfidfVectorizer(ngram_range=(1, 2), tokenizer=words, token_pattern=None).build_analyzer()
    return pairs, TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb").build_analyzer()


class TextDescriptor(Descriptor):
    """`linear`: TF-IDF of words and of characters side by side, sparse, each of length 1. `dims`: its truncated SVD."""

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted:
        """Terms of at least two texts (one where there are few) and their ln((1 + n) / (1 + df)) + 1."""
        texts = decode(*train.ragged["text"])
        files, arrays = {}, {}
        for name, analyse, most in zip(("words", "characters"), analysers(), TERMS, strict=True):
            df = Counter(term for text in texts for term in set(analyse(text)))
            least = RARE if len(texts) >= 100 else 1
            kept = sorted((t for t, n in df.items() if n >= least), key=lambda t: (-df[t], t))[:most]
            files[name] = json.dumps(kept).encode()
            arrays[name] = (np.log((1 + len(texts)) / (1 + np.array([df[t] for t in kept], float))) + 1).astype(np.float32)
        x_UF = tfidf(Fitted({}, arrays, files), texts)
        rank = min(DIMS, *(n - 1 for n in x_UF.shape))
        if rank > 0:
            arrays["components"] = TruncatedSVD(rank, random_state=seed).fit(x_UF).components_.T.astype(np.float32)
        else:
            arrays["components"] = np.zeros((x_UF.shape[1], 1), np.float32)
        return Fitted({"width": x_UF.shape[1]}, arrays, files)

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Sparse `linear`, dense `dims`."""
        x_UF = tfidf(fitted, decode(*column.ragged["text"]))
        ends = x_UF.indptr.astype(np.int64)
        sparse = {"linear.index": (x_UF.indices, ends), "linear.weight": (x_UF.data, ends)}
        return replace(column, dense={"dims": x_UF @ fitted.arrays["components"]}, ragged=sparse)


@lru_cache(maxsize=64)
def vocabulary(content: bytes) -> dict[str, int]:
    """Term -> place."""
    return {term: i for i, term in enumerate(json.loads(content))}


def tfidf(fitted: Fitted, texts: list[str]) -> csr_matrix:
    """(1 + ln count) idf of each known term, of length 1 a text and block; as scikit-learn's TfidfVectorizer, without
    its checks, which cost one row half a millisecond."""
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    known = [vocabulary(fitted.files[name]) for name in ("words", "characters")]
    idf = [fitted.arrays[name] for name in ("words", "characters")]
    shift, analyse = (0, len(idf[0])), analysers()
    for text in texts:
        for block in (0, 1):
            place = known[block]
            count = Counter(place[t] for t in analyse[block](text) if t in place)
            index = np.fromiter(count, np.int32, len(count))
            weight = (1 + np.log(np.fromiter(count.values(), np.float32, len(count)))) * idf[block][index]
            rows.append((index + shift[block], weight / max(float(np.sqrt(weight @ weight)), 1e-12)))
    ends = np.concatenate([[0], np.cumsum([len(i) for i, _ in rows], dtype=np.int64)])[::2]
    index = np.concatenate([np.zeros(0, np.int32), *(i for i, _ in rows)]).astype(np.int32)
    weight = np.concatenate([np.zeros(0, np.float32), *(w for _, w in rows)]).astype(np.float32)
    return csr_matrix((weight, index, ends), (len(texts), shift[1] + len(idf[1])))


class ImageDescriptor(Descriptor):
    """`linear`: HOG and colours, standardised, PCA on one common scale. `dims`: its first 30."""

    extractor: ClassVar[Mapping[str, Extractor]] = {"image": EXTRACTORS["descriptor"]()}

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted:
        """Mean, deviation and components as one affine map."""
        x_UF = stacked(train)
        if len(x_UF) < 2:
            return Fitted({}, {"mean": np.zeros(x_UF.shape[1], np.float32), "components": np.zeros((x_UF.shape[1], 1), np.float32)})
        mean, deviation = x_UF.mean(0), x_UF.std(0)
        block = np.concatenate([np.full(train.dense[n].shape[1], train.dense[n].shape[1] ** -0.5) for n in BLOCKS])
        scale = np.where(deviation > 1e-6, block / np.maximum(deviation, 1e-6), 0.0)
        pca = PCA(min(COMPONENTS, *x_UF.shape), svd_solver="auto", random_state=seed).fit((x_UF - mean) * scale)
        common = 1 / max(float(np.sqrt(pca.explained_variance_.mean())), 1e-6)
        return Fitted({}, {"mean": mean, "components": (pca.components_.T * scale[:, None] * common).astype(np.float32)})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Dense `linear` and `dims`."""
        x_UF = (stacked(column) - fitted.arrays["mean"]) @ fitted.arrays["components"]
        return replace(column, dense={"linear": x_UF / np.sqrt(x_UF.shape[1]), "dims": x_UF[:, :DIMS]}, ragged={})


def stacked(column: FeatureColumn) -> np.ndarray:
    """What the extractor made of a picture, side by side, [U, F]."""
    return np.concatenate([np.asarray(column.dense[name], np.float32) for name in BLOCKS], 1)


class PlainDescriptor(Descriptor):
    """`linear`: numbers and dates scaled and held within the training range, categories one-hot (an unknown one is all
    zero), a 1 for what is missing. `dims`: numbers and dates as they are, NaN where missing, and the one-hot."""

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted:
        """Means, deviations, ranges; categories seen at least twice, the 30 most frequent of a column."""
        x_UF = numbers(train)
        there_UF = np.isfinite(x_UF)
        count_F = np.maximum(there_UF.sum(0), 1)
        mean_F = np.where(there_UF, x_UF, 0).sum(0) / count_F
        deviation_F = np.sqrt((np.where(there_UF, x_UF - mean_F, 0) ** 2).sum(0) / count_F)
        scale_F = np.where(deviation_F > 1e-9 * np.maximum(np.abs(mean_F), 1), 1 / np.maximum(deviation_F, 1e-300), 0.0)
        low_F, high_F = (f(np.where(there_UF, x_UF, mean_F), axis=0, initial=i) for f, i in ((np.min, np.inf), (np.max, -np.inf)))
        known, column = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for c, x_U in enumerate(np.asarray(train.dense["category"]).T):
            value, often = np.unique(x_U[x_U != 0], return_counts=True)
            kept = np.sort(value[often >= RARE][np.argsort(-often[often >= RARE], kind="stable")[:DIMS]])
            known.append(kept)
            column.append(np.full(len(kept), c))
        edges_FE = np.array([quantiles(x) for x in x_UF.T]).reshape(-1, BINS + 1)
        arrays = {"edges": edges_FE, "mean": mean_F, "scale": scale_F, "low": low_F, "high": high_F}
        return Fitted({}, arrays | {"known": np.concatenate(known), "column": np.concatenate(column)})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Dense `linear` and `dims`."""
        x_UF, a = numbers(column), fitted.arrays
        category_UP = np.asarray(column.dense["category"])
        hot_UF = (category_UP[:, a["column"]] == a["known"]).astype(np.float64)
        gone_UF = np.concatenate([np.isnan(x_UF), category_UP == 0], 1)
        scaled_UF = np.nan_to_num((np.clip(x_UF, a["low"], a["high"]) - a["mean"]) * a["scale"])
        dims_UF = np.concatenate([x_UF, np.where(category_UP[:, a["column"]] == 0, np.nan, hot_UF)], 1)
        place_UF = place(x_UF, a["edges"]) / BINS - 0.5  # bends where training values are dense
        linear_UF = np.concatenate([scaled_UF, 2 * np.nan_to_num(place_UF), hot_UF, gone_UF], 1)
        return replace(column, dense={"linear": linear_UF / np.sqrt(linear_UF.shape[1]), "dims": dims_UF}, ragged={})


def numbers(column: FeatureColumn) -> np.ndarray:
    """Numbers and dates side by side, [U, F]; infinite ones count as missing."""
    x_UF = np.concatenate([np.asarray(column.dense[name], np.float64) for name in ("number", "date")], 1)
    return np.where(np.isfinite(x_UF), x_UF, np.nan)


DESCRIPTORS: dict[str, type[Descriptor]] = {"text": TextDescriptor, "image": ImageDescriptor, "table": PlainDescriptor}
