"""Classic descriptors as one token: HOG and colours of a picture, TF-IDF of a text. Learns in seconds what encoders of
pixels and subwords do not learn from a thousand rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from sklearn.decomposition import PCA
from torch import Tensor, nn

from xmodal.encoders.base import Encoder, present
from xmodal.encoders.words import decode, vocabulary, words
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import Json
from xmodal.tokens import Tokens

BLOCKS = ("hog", "colour")
COMPONENTS = 64
WORDS = 10_000


class Descriptor(Encoder):
    """Prepared text: `word.index`, `word.weight`, sparse; prepared pictures: `pca`."""

    modality: ClassVar[frozenset[str]] = frozenset({"image", "text"})
    kind: ClassVar[Literal["descriptor", "raw"]] = "descriptor"
    extractor: ClassVar[Mapping[str, Extractor]] = {"image": EXTRACTORS["descriptor"]()}

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """`settings`: dropout, private."""
        part = fit_tfidf(train, bool(settings.get("private"))) if "text" in train.ragged else fit_pca(train, seed)
        return replace(part, config={**part.config, "dropout": settings.get("dropout", 0.3)})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        if "words" in fitted.files:
            return tfidf(fitted, column)
        mean, components = fitted.arrays["mean"], fitted.arrays["components"]
        pca = ((stacked(column) - mean) @ components).astype(np.float32)
        return replace(column, dense={"pca": pca}, ragged={})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.dropout = nn.Dropout(float(fitted.config["dropout"]))  # type: ignore[arg-type]
        if "words" in fitted.files:
            self.linear: nn.Module = nn.EmbeddingBag(len(fitted.arrays["idf"]), width, mode="sum")
            nn.init.normal_(self.linear.weight, std=width**-0.5)
        else:
            self.linear = nn.Linear(fitted.arrays["components"].shape[1], width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        if "pca" in x:
            y_UD = self.linear(self.dropout(x["pca"]))
        else:
            y_UD = self.linear(x["word.index"], per_sample_weights=self.dropout(x["word.weight"]))
        return present(self.norm(y_UD)[:, None])


def fit_tfidf(train: FeatureColumn, private: bool = False) -> Fitted:
    """The words of at least two texts (of one where there are few, unless `private`), and ln((1 + n) / (1 + df)) + 1 of
    each; index 0 pads."""
    texts = decode(*train.ragged["text"])
    count = Counter(word for text in texts for word in set(words(text)))
    least = 2 if len(texts) >= 100 or private else 1
    ranked = sorted((word for word, n in count.items() if n >= least), key=lambda word: (-count[word], word))[:WORDS]
    df = np.array([0, *(count[word] for word in ranked)], float)
    idf = (np.log((1 + len(texts)) / (1 + df)) + 1).astype(np.float32)
    return Fitted({}, {"idf": idf}, {"words": "\n".join(ranked).encode()})


def tfidf(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
    """(1 + ln count) idf of each known word, of length 1 a text."""
    known, idf = vocabulary(fitted.files["words"]), fitted.arrays["idf"]
    index, weight, offsets = [], [], [0]
    for text in decode(*column.ragged["text"]):
        count = Counter(known[word] for word in words(text) if word in known)
        at = np.fromiter(count, np.int32, len(count))
        w = (1 + np.log(np.fromiter(count.values(), np.float64, len(count)))) * idf[at]
        index.append(at)
        weight.append(w / max(float(np.sqrt(w @ w)), 1e-12))
        offsets.append(offsets[-1] + len(at))
    flat = np.concatenate([np.zeros(0, np.int32), *index]), np.concatenate([np.zeros(0, np.float32), *weight])
    at, ends = flat[0], np.array(offsets, np.int64)
    return replace(column, dense={}, ragged={"word.index": (at, ends), "word.weight": (flat[1].astype(np.float32), ends)})


def stacked(column: FeatureColumn) -> np.ndarray:
    """What the classic extractor made of a picture, side by side, [U, F]."""
    return np.concatenate([np.asarray(column.dense[name], np.float32) for name in BLOCKS], 1)


def fit_pca(train: FeatureColumn, seed: int) -> Fitted:
    """Standardise, PCA, one common scale: as one affine map. A feature that never varies counts for nothing."""
    x_UF = stacked(train)
    if not len(x_UF):
        return Fitted({}, {"mean": np.zeros(x_UF.shape[1], np.float32), "components": np.zeros((x_UF.shape[1], 1), np.float32)})
    mean, deviation = x_UF.mean(0), x_UF.std(0)
    size_F = np.concatenate([np.full(train.dense[name].shape[1], train.dense[name].shape[1]) for name in BLOCKS])
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0) / np.sqrt(size_F)
    pca = PCA(min(COMPONENTS, *x_UF.shape), svd_solver="auto", random_state=seed).fit((x_UF - mean) * scale)
    common = 1 / max(float(np.sqrt(pca.explained_variance_.mean())), 1e-6)
    components = (pca.components_.T * scale[:, None] * common).astype(np.float32)
    return Fitted({}, {"mean": mean, "components": components})
