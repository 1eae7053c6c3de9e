from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from tests.doubles import pointed, text

from xmodal.batch import tensors
from xmodal.encoders.descriptor import Descriptor
from xmodal.encoders.words import fit_idf, words

RANDOM = np.random.default_rng(0)


def test_words() -> None:
    assert words("don't stop: naïve café_9") == ["don", "t", "stop", "naïve", "café_9"]
    assert words("ไทย ok 今日は") == ["ไ", "ท", "ย", "ok", "今", "日", "は"]
    assert words("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert words("한국어 문장") == ["한국어", "문장"]


def test_tfidf_is_scikit_learns() -> None:
    texts = [" ".join(RANDOM.choice(["aa", "bb", "cc", "dd", "ee"], RANDOM.integers(1, 9))) for _ in range(30)]
    column = text(texts)
    fitted = Descriptor.fit(column, {}, 0)
    prepared = Descriptor.transform(fitted, column)
    x = prepared.take(np.arange(30))
    dense = np.zeros((30, len(fitted.arrays["idf"])))
    np.add.at(dense, (np.arange(30)[:, None], x["word.index"]), x["word.weight"])
    expected = TfidfVectorizer(sublinear_tf=True, vocabulary=fitted.files["words"].decode().split("\n")).fit_transform(texts).toarray()
    np.testing.assert_allclose(dense[:, 1:], expected, atol=1e-6)
    assert not dense[:, 0].any()


def test_only_words_of_training_and_of_two_texts() -> None:
    fitted = Descriptor.fit(text(["a b", "a c"] * 50 + ["once"]), {}, 0)
    assert fitted.files["words"] == b"a\nb\nc"
    unknown = Descriptor.transform(fitted, text(["once upon", ""]))
    assert unknown.ragged["word.index"][1].tolist() == [0, 0, 0]
    assert torch.isfinite(Descriptor(fitted, 8).eval()(tensors(unknown.take(np.arange(2)))).x_BND).all()
    empty = Descriptor.fit(text([]), {}, 0)
    assert Descriptor.transform(empty, text(["a"])).ragged["word.index"][1].tolist() == [0, 0]


def test_the_rarest_terms_are_forgotten_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [Counter(["often", f"once{i}", *(["sometimes"] if i % 3 else [])]) for i in range(300)]
    every, idf = fit_idf(counts, 3, False)
    monkeypatch.setattr("xmodal.encoders.words.HELD", 20)
    some, idf_some = fit_idf(iter(counts), 3, False)
    assert every == some == ["often", "sometimes"]
    np.testing.assert_array_equal(idf, idf_some)


def test_pca_is_an_affine_map_with_balanced_blocks() -> None:
    latent = RANDOM.normal(size=(200, 2))
    hog = np.concatenate([latent[:, :1] * 5 + RANDOM.normal(0, 0.1, (200, 1)) for _ in range(30)] + [np.full((200, 1), 7.0)], 1)
    colour = latent[:, 1:] + RANDOM.normal(0, 0.1, (200, 3))
    column = pointed({"hog": hog.astype(np.float32), "colour": colour.astype(np.float32)}, {}, np.arange(200))
    fitted = Descriptor.fit(column, {}, 0)
    pca = Descriptor.transform(fitted, column).dense["pca"]
    assert np.abs(np.cov(pca.T) - np.diag(pca.var(0, ddof=1))).max() < 1e-3, "components are uncorrelated"
    assert abs(pca.var(0, ddof=1).mean() - 1) < 1e-3
    two = np.abs(np.corrcoef(np.concatenate([pca[:, :2], latent], 1).T)[:2, 2:])
    assert two.max(0).min() > 0.7, "3 colours weigh as much as 30 gradients"
    assert pca.var(0)[2:].max() < 0.1 * pca.var(0)[1]
    some = column.rows(np.arange(5)).compact()
    assert Descriptor.transform(Descriptor.fit(some, {}, 0), column).dense["pca"].shape == (200, 5)
    for few in (column.hidden(), column.rows(np.arange(1))):
        pca = Descriptor.transform(Descriptor.fit(few.compact(), {}, 0), column).dense["pca"]
        assert pca.shape == (200, 1) and not pca.any(), "none, or one picture, says nothing"
