"""Classic descriptors of each modality, as every classic expert reads them: `linear`, a matrix for linear models whose
rows have length about 1 whatever the modality, and `dims`, at most 30 columns for trees. U cells · F features."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import zip_longest
from typing import ClassVar, cast

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from xmodal.encoders.descriptor import MOST, fit_frozen, fit_pca, stacked
from xmodal.encoders.plain import BINS, cycles, frequent, place, quantiles
from xmodal.encoders.words import decode, fit_idf, tfidf, words
from xmodal.experts.base import Preparer, Settings
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import CLASSIC, Extractor

DIMS = 30
COMPONENTS = 128
FROZEN = 512  # components of what a frozen network makes
TERMS = {"words": 20_000, "characters": 60_000}
FEW = 2_000  # texts whose terms are kept while they are read twice


class Descriptor(Preparer):
    """A preparer that knows whose outputs it reads."""

    extractor: ClassVar[Mapping[str, Extractor]] = {}


# words and pairs of words (characters where a script has no spaces); 2 to 5 characters within words
ANALYSERS: dict[str, Callable[[str], list[str]]] = {
    "words": TfidfVectorizer(ngram_range=(1, 2), tokenizer=words, token_pattern=None).build_analyzer(),
    "characters": TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb").build_analyzer(),
}


class TextDescriptor(Descriptor):
    """`linear`: TF-IDF of words and of characters side by side, sparse, each of length 1. `dims`: its truncated SVD."""

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted:
        """`settings`: private."""
        texts, kept, files, arrays = decode(*train.ragged["text"]), {}, {}, {}
        for name in ANALYSERS:
            kept[name] = list(counted(texts, name)) if len(texts) <= FEW else []
            terms, arrays[name] = fit_idf(kept[name] or counted(texts, name), TERMS[name], bool(settings.get("private")))
            files[name] = json.dumps(terms).encode()
        x_UF = weighed(Fitted({}, arrays, files), [kept[name] or counted(texts, name) for name in ANALYSERS])
        rank = min(DIMS, *(n - 1 for n in x_UF.shape))
        svd_FD = TruncatedSVD(rank, n_iter=2, random_state=seed).fit(x_UF).components_.T if rank > 0 else np.zeros((x_UF.shape[1], 1))
        return Fitted({"width": x_UF.shape[1]}, arrays | {"components": svd_FD.astype(np.float16)}, files)

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Sparse `linear`, dense `dims`."""
        texts = decode(*column.ragged["text"])
        x_UF = weighed(fitted, [counted(texts, name) for name in ANALYSERS])
        ends = x_UF.indptr.astype(np.int64)
        sparse = {"linear.index": (x_UF.indices, ends), "linear.weight": (x_UF.data, ends)}
        return replace(column, dense={"dims": product(x_UF, fitted.arrays["components"])}, ragged=sparse)


@lru_cache(maxsize=64)
def vocabulary(content: bytes) -> dict[str, int]:
    """Term -> place."""
    return {term: i for i, term in enumerate(json.loads(content))}


def counted(texts: Sequence[str], name: str) -> Iterator[Counter[str]]:
    """How often each text has each term."""
    return map(Counter, map(ANALYSERS[name], texts))


def weighed(fitted: Fitted, counts: Iterable[Iterable[Counter[str]]]) -> csr_matrix:
    """TF-IDF of the terms of every analyser, [U, F]."""
    known = [(vocabulary(fitted.files[name]), fitted.arrays[name]) for name in ANALYSERS]
    index, weight, ends = tfidf(zip(*counts, strict=True), known)
    return csr_matrix((weight, index, ends), (len(ends) - 1, sum(len(idf) for _, idf in known)))


def product(x_UF: csr_matrix | np.ndarray, weight_FC: np.ndarray) -> np.ndarray:
    """x @ weight, the weights in half precision; of one sparse cell only those that it needs are read."""
    if isinstance(x_UF, csr_matrix) and x_UF.shape[0] == 1:
        return np.asarray(x_UF.data[None] @ weight_FC[x_UF.indices].astype(np.float64))
    return np.asarray(x_UF @ weight_FC.astype(np.float64))


class MediaDescriptor(Descriptor):
    """`linear`: what the classic extractor makes of a cell, or a vector itself, standardised, PCA, mean squared length
    1. `dims`: its first 30."""

    extractor: ClassVar[Mapping[str, Extractor]] = CLASSIC

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted:
        """Mean, deviation and components as one affine map, whose `scale` has the size that half precision can't."""
        mean, components, variance = fit_pca(train, COMPONENTS, seed)
        scale = np.abs(components).max(1) / max(float(np.sqrt(variance.sum())), 1e-6)
        components = (components / np.abs(components).max(1, keepdims=True).clip(1e-300)).astype(np.float16)
        return Fitted({}, {"mean": mean.astype(np.float32), "scale": scale, "components": components})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Dense `linear` and `dims`."""
        x_UF = (np.nan_to_num(stacked(column) - fitted.arrays["mean"]) * fitted.arrays["scale"]) @ fitted.wide("components")
        x_UF = x_UF.clip(-MOST, MOST)
        return replace(column, dense={"linear": x_UF, "dims": x_UF[:, :DIMS]}, ragged={})


class PlainDescriptor(Descriptor):
    """`linear`: numbers and dates by their place within the training range and among its quantiles, -1 to 1; a date's
    cycles; categories one-hot (an unknown one is all zero); a 1 for what is missing. `dims`: numbers and dates as they
    are, cycles and the one-hot; NaN where missing."""

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted:
        """Quantiles; of each column the DIMS most frequent categories seen at least twice; the root mean square length. `settings`:
        private."""
        known = [frequent(x_U)[:DIMS] for x_U in np.asarray(train.dense["category"]).T]
        edges = np.array([quantiles(x_U, bool(settings.get("private"))) for x_U in numbers(train).T]).reshape(-1, BINS + 1)
        column = np.repeat(np.arange(len(known)), [len(k) for k in known])
        arrays = {"edges": edges, "known": np.concatenate([np.zeros(0, np.uint64), *known]), "column": column, "length": np.ones(1)}
        linear = PlainDescriptor.transform(Fitted({}, arrays), train).dense["linear"]
        arrays["length"] *= np.sqrt((linear**2).sum(1).mean()) if linear.any() else 1.0
        return Fitted({}, arrays)

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Dense `linear` and `dims`."""
        a, x_UP, category_UP = fitted.arrays, numbers(column), np.asarray(column.dense["category"])
        date_UP = x_UP[:, x_UP.shape[1] - column.dense["date"].shape[1] :]
        cycle_UF = cycles(date_UP, np.zeros((date_UP.shape[1], 2)))[..., 1:].reshape(len(x_UP), 6 * date_UP.shape[1])
        hot_UF = np.where(category_UP[:, a["column"]] == 0, np.nan, category_UP[:, a["column"]] == a["known"])
        low_P, high_P = a["edges"][:, 0], a["edges"][:, -1]
        within_UP = 2 * (np.clip(x_UP, low_P, high_P) - low_P) / np.where(high_P > low_P, high_P - low_P, 1) - 1
        place_UP = 2 * place(x_UP, a["edges"]) / BINS - 1  # bends where training values are dense
        linear = np.nan_to_num(np.concatenate([within_UP, place_UP, cycle_UF, hot_UF], 1))
        linear = np.concatenate([linear, np.isnan(x_UP), category_UP == 0], 1)
        dims = np.concatenate([x_UP, cycle_UF, hot_UF], 1)
        return replace(column, dense={"linear": linear / a["length"], "dims": dims}, ragged={})


class FrozenDescriptor(Descriptor):
    """What a frozen network made of a cell. `linear`: PCA, mean squared length 1. `dims`: its first 30."""

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted:
        """Mean and components as one affine map."""
        mean, components, variance = fit_frozen(train, FROZEN, seed)
        components = components / max(float(np.sqrt(variance.sum())), 1e-6)
        return Fitted({}, {"mean": mean.astype(np.float32), "components": components.astype(np.float16)})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Dense `linear` and `dims`."""
        x_UF = (np.asarray(column.dense["frozen"]) - fitted.arrays["mean"]) @ fitted.wide("components")
        return replace(column, dense={"linear": x_UF, "dims": x_UF[:, :DIMS]}, ragged={})


@lru_cache(maxsize=64)
def with_frozen(classic: type[Descriptor]) -> type[Descriptor]:
    """The classic descriptors of a modality and what a frozen network made of the same cells, side by side."""

    class Both(Descriptor):
        """`linear`: both, one behind the other. `dims`: in turn."""

        extractor = classic.extractor

        @classmethod
        def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted:
            parts = {"classic": classic.fit(train, settings, seed), "frozen": FrozenDescriptor.fit(train, settings, seed)}
            width = cast(int, parts["classic"].config.get("width", 0))
            found = Fitted.beside(parts)
            return (
                replace(found, config=found.config | {"width": width + parts["frozen"].arrays["components"].shape[1]}) if width else found
            )

        @staticmethod
        def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
            one, two = (p.transform(fitted.part(n), column) for n, p in (("classic", classic), ("frozen", FrozenDescriptor)))
            dims, linear = in_turn(one.dense["dims"], two.dense["dims"]), two.dense["linear"]
            if "linear" in one.dense:
                return replace(one, dense={"linear": np.concatenate([one.dense["linear"], linear], 1), "dims": dims}, ragged={})
            (index, ends), weight = one.ragged["linear.index"], one.ragged["linear.weight"][0]
            terms = csr_matrix((weight, index, ends), (column.cells, int(cast(int, fitted.config["width"])) - linear.shape[1]))
            x_UF = hstack([terms, csr_matrix(linear)], "csr")
            sparse = {"linear.index": x_UF.indices, "linear.weight": x_UF.data}
            ends = x_UF.indptr.astype(np.int64)
            return replace(one, dense={"dims": dims}, ragged={n: (a, ends) for n, a in sparse.items()})

    Both.__qualname__ = f"Both[{classic.__module__}.{classic.__qualname__}]"
    return Both


def in_turn(x_UF: np.ndarray, y_UF: np.ndarray) -> np.ndarray:
    """Columns of both, alternately, so that the first ones hold the best of each; at most DIMS."""
    both = [c for pair in zip_longest(y_UF.T, x_UF.T) for c in pair if c is not None]
    return np.stack(both[:DIMS], 1) if both else np.zeros((len(x_UF), 0))


def numbers(column: FeatureColumn) -> np.ndarray:
    """Numbers and dates side by side, [U, P]; infinite ones count as missing."""
    x_UP = np.concatenate([np.asarray(column.dense[name], np.float64) for name in ("number", "date")], 1)
    return np.where(np.isfinite(x_UP), np.clip(x_UP, -1e150, 1e150), np.nan)


DESCRIPTORS: dict[str, type[Descriptor]] = {
    "text": TextDescriptor, "table": PlainDescriptor, "vector": MediaDescriptor, **dict.fromkeys(CLASSIC, MediaDescriptor)
}  # fmt: skip
