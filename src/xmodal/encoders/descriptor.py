"""Classic descriptors as one token: TF-IDF of a text, a vector itself, of other media what their classic extractor makes. Learns in seconds
what encoders of pixels and subwords do not learn from a thousand rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from sklearn.decomposition import PCA
from torch import Tensor, nn

from xmodal.encoders.base import Encoder, present
from xmodal.encoders.words import decode, fit_idf, tfidf, vocabulary, words
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import CLASSIC, Extractor
from xmodal.features.extractors.series import ABOUT
from xmodal.job import Json
from xmodal.tokens import Tokens

EVERY = dict.fromkeys(name for extractor in CLASSIC.values() for name in extractor.empty if name not in ("unread", *ABOUT))
BLOCKS = ("vector", *EVERY)  # each gets the same total variance
OWN_UNITS = {"vector", "summary"}  # may be of any size
COMPONENTS = 64
MOST = 1e6  # of what is standardised: sums of more could overflow
WORDS = 10_000


class Descriptor(Encoder):
    """Prepared text: `word.index`, `word.weight`, sparse; of other media: `pca`."""

    modality = frozenset({"text", "vector", *CLASSIC})
    kind = "descriptor"
    extractor: ClassVar[Mapping[str, Extractor]] = CLASSIC

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """`settings`: private. Of text, index 0 pads."""
        if "text" in train.ragged:
            terms, idf = fit_idf((Counter(words(text)) for text in decode(*train.ragged["text"])), WORDS, bool(settings.get("private")))
            return Fitted({}, {"idf": np.append(np.float32(0), idf)}, {"words": "\n".join(terms).encode()})
        mean, components, variance = fit_pca(train, COMPONENTS, seed)
        common = 1 / max(float(np.sqrt(variance.mean())), 1e-6)
        return Fitted({}, {"mean": mean.astype(np.float32), "components": (components * common).astype(np.float32)})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        if "words" in fitted.files:
            counts = ([Counter(words(text))] for text in decode(*column.ragged["text"]))
            index, weight, ends = tfidf(counts, [(vocabulary(fitted.files["words"]), fitted.wide("idf"))])
            return replace(column, dense={}, ragged={"word.index": (index, ends), "word.weight": (weight, ends)})
        mean, components = fitted.arrays["mean"], fitted.arrays["components"]
        pca = (np.nan_to_num(stacked(column) - mean) @ components.astype(np.float64)).clip(-MOST, MOST).astype(np.float32)
        return replace(column, dense={"pca": pca}, ragged={})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.dropout = nn.Dropout(0.3)
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


def stacked(column: FeatureColumn) -> np.ndarray:
    """What the classic extractor made of each cell, or its vector, side by side, [U, F]; NaN for gaps."""
    return np.concatenate([np.asarray(column.dense[name], np.float32) for name in blocks(column)], 1)


def blocks(column: FeatureColumn) -> list[str]:
    """The classic features of a column."""
    return [name for name in BLOCKS if name in column.dense]


def fit_pca(train: FeatureColumn, most: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`affine` of the classic features, each block of which has the same total variance."""
    width = {name: train.dense[name].shape[1] for name in blocks(train)}
    own_F = np.concatenate([np.full(w, name in OWN_UNITS) for name, w in width.items()])
    return affine(stacked(train), np.concatenate([np.full(w, w**-0.5) for w in width.values()]), most, seed, own_F)


def fit_frozen(train: FeatureColumn, most: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`affine` of what a frozen network made of the cells. A feature that varies much counts more, but not as much more: on validation rows
    of groceries that loses 1.09 where raw features lose 1.15, as do standardised ones."""
    x_UF = np.asarray(train.dense["frozen"], np.float32)
    return affine(x_UF, np.sqrt(x_UF.std(0)) if len(x_UF) else np.ones(x_UF.shape[1]), most, seed)


def affine(
    x_UF: np.ndarray, share_F: np.ndarray, most: int, seed: int, own_F: np.ndarray | bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardise, weigh by `share_F`, PCA: as one affine map, mean [F] and components [F, C]; and their variance [C]. A feature that
    never varies counts for nothing, nor is its value kept; the mean stands for a gap. `own_F`: features that may be of any size."""
    if len(x_UF) < 2:
        return np.zeros(x_UF.shape[1]), np.zeros((x_UF.shape[1], 1)), np.zeros(1)
    mean, gaps_UF = x_UF.mean(0, np.float64).astype(x_UF.dtype), np.isnan(x_UF)
    if gaps_UF.any():
        mean = np.where(gaps_UF, 0, x_UF).sum(0, np.float64) / (~gaps_UF).sum(0).clip(1)
        x_UF = np.where(gaps_UF, mean, x_UF)
    deviation = x_UF.std(0, np.float64)
    least = 1e-6 * np.where(own_F, np.abs(mean), 1 + np.abs(mean))  # less is rounding
    scale = np.where(deviation > least, share_F / np.maximum(deviation, 1e-40), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # shares of a variance that is 0
        pca = PCA(min(most, *x_UF.shape), random_state=seed).fit((x_UF - mean) * scale)
    return np.where(scale > 0, mean, 0), pca.components_.T * scale[:, None], pca.explained_variance_
