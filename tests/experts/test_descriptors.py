from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, hstack
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from tests.doubles import columns, pointed, text

from xmodal.encoders.descriptor import Descriptor
from xmodal.encoders.words import words
from xmodal.experts.descriptors import DESCRIPTORS, MediaDescriptor, PlainDescriptor, TextDescriptor, product
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.job import Key


def plain(number: np.ndarray, category: np.ndarray | None = None, date: np.ndarray | None = None) -> FeatureColumn:
    rows = len(number)
    none, no_date = np.zeros((rows, 0), np.uint64), np.zeros((rows, 0))
    dense = {"number": number, "category": none if category is None else category, "date": no_date if date is None else date}
    return pointed(dense, {}, np.arange(rows))


def sparse(fitted: Fitted, column: FeatureColumn) -> csr_matrix:
    weight, ends = column.ragged["linear.weight"]
    return csr_matrix((weight, column.ragged["linear.index"][0], ends), (len(ends) - 1, fitted.config["width"]))


def test_text_equals_scikit_learn() -> None:
    texts = ["the cat sat", "the cat sat on the mat", "a dog, a dog", "the mat", "dogs sat"]
    fitted = TextDescriptor.fit(text(texts), {}, 0)
    mine = sparse(fitted, TextDescriptor.transform(fitted, text([*texts, "cat unheard", "zzz", ""])))
    pairs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, tokenizer=words, token_pattern=None)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    both = [v.fit(texts) for v in (pairs, characters)]
    theirs = hstack([v.transform([*texts, "cat unheard", "zzz", ""]) for v in both]).toarray()
    assert mine.shape == theirs.shape
    np.testing.assert_allclose((mine @ mine.T).toarray(), theirs @ theirs.T, atol=1e-6)  # columns stand in another order


def test_rare_terms_of_many_texts_are_not_kept() -> None:
    texts = [f"same word{i}x" for i in range(99)]
    few, many = (TextDescriptor.fit(text(t), {}, 0).files["words"] for t in (texts, [*texts, "same other"]))
    assert b"word7x" in few and b"word7x" not in many and b"same" in many


@given(st.lists(st.text(alphabet="ab ç日", max_size=9), min_size=1, max_size=6))
def test_a_text_alone_is_as_in_a_column(texts: list[str]) -> None:
    fitted = TextDescriptor.fit(text(["ab ab ç", "b 日 a", "aab"]), {}, 0)
    column = TextDescriptor.transform(fitted, text(texts))
    for i, one in enumerate(texts):
        alone = TextDescriptor.transform(fitted, text([one]))
        np.testing.assert_array_equal(sparse(fitted, alone).toarray()[0], sparse(fitted, column).toarray()[i])
        np.testing.assert_allclose(alone.dense["dims"][0], column.dense["dims"][i], atol=1e-9)


def test_image_is_pca_of_blocks_with_equal_variance() -> None:
    random = np.random.default_rng(0)
    hog, colour = random.normal(size=(40, 12)), random.normal(size=(40, 6)) * 9
    colour[:, 2] = 4.0  # never varies
    column = pointed({"hog": hog.astype(np.float32), "colour": colour.astype(np.float32)}, {}, np.arange(40))
    fitted = MediaDescriptor.fit(column, {}, 0)
    x = MediaDescriptor.transform(fitted, column).dense["linear"]
    scaled = [(b - b.mean(0)) / np.where(b.std(0) > 0, b.std(0), 1) / np.sqrt(b.shape[1]) for b in (hog, colour)]
    expected = PCA(18, random_state=0).fit_transform(np.concatenate(scaled, 1))
    assert np.isclose((x**2).sum(1).mean(), 1, atol=0.05)
    np.testing.assert_allclose(x @ x.T, expected @ expected.T / (expected**2).sum(1).mean() * (x**2).sum(1).mean(), atol=5e-3)


def test_plain_holds_numbers_within_the_training_range() -> None:
    train = plain(np.array([[1.0], [2.0], [3.0], [np.nan]]))
    fitted = PlainDescriptor.fit(train, {}, 0)
    low, high, far, infinite, gone = PlainDescriptor.transform(fitted, plain(np.array([[1.0], [3.0], [1e30], [np.inf], [np.nan]]))).dense[
        "linear"
    ]
    np.testing.assert_array_equal(far, high)
    np.testing.assert_array_equal(infinite, gone)
    assert low[0] == -high[0] != 0 and low[1] == -high[1] and gone[-1] > 0 == high[-1]


def test_plain_for_trees_keeps_what_is_there() -> None:
    category = np.array([[5], [5], [7], [7], [9], [0]], np.uint64)  # 9 is rare, 0 missing
    date = np.array([[0.0], [86_400.0 * 0.25], [86_400.0], [np.nan], [1e9], [2e9]])
    column = plain(np.arange(6.0)[:, None], category, date)
    dims = PlainDescriptor.transform(PlainDescriptor.fit(column, {}, 0), column).dense["dims"]
    np.testing.assert_array_equal(dims[:, 0], np.arange(6))
    np.testing.assert_array_equal(dims[:, 1], date[:, 0])
    np.testing.assert_array_equal(dims[:, -2:], [[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [np.nan, np.nan]])
    np.testing.assert_allclose(dims[:3, 2:8:3], [[0, 1], [1, 0], [0, 1]], atol=1e-9)  # sine and cosine of the day


@pytest.mark.parametrize("key", ["main.note", "main.pic", "main.table"])
def test_a_column_without_cells(key: Key) -> None:
    column = columns(30, np.arange(30.0))[key]
    kind = DESCRIPTORS[{"main.note": "text", "main.pic": "image", "main.table": "table"}[key]]
    found = kind.transform(kind.fit(column.hidden().compact(), {}, 0), column)
    assert all(len(a) == column.cells for a in found.dense.values())


def test_product_of_one_sparse_row() -> None:
    x = csr_matrix(np.array([[0, 2.0, 0, 3.0]], np.float32))
    weight = np.arange(8).reshape(4, 2).astype(np.float16)
    np.testing.assert_array_equal(product(x, weight), x.toarray() @ weight)


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1e9, 1e30])
def test_vectors_in_any_unit_say_the_same(unit: float) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 5)) * [1, 2, 3, 4, 5] + 1
    x[:, 4] = 7  # never varies
    for kind, name in ((MediaDescriptor, "linear"), (Descriptor, "pca")):
        want, got = (
            kind.transform(kind.fit(one, {}, 0), one).dense[name]
            for one in (
                pointed({"vector": (x * u).astype(np.float32)}, {}, np.arange(80)) for u in (1.0, np.array([unit, 1, unit, 1, unit]))
            )
        )
        np.testing.assert_allclose(np.abs(got), np.abs(want), atol=2e-3)
        far = pointed({"vector": np.array([[3e38, -3e38, 3e38, 3e38, 3e38], [np.nan] * 5], np.float32)}, {}, np.arange(2))
        fitted = kind.fit(pointed({"vector": (x * 1e-3).astype(np.float32)}, {}, np.arange(80)), {}, 0)
        assert np.isfinite(kind.transform(fitted, far).dense[name].astype(np.float32)).all()
        assert not kind.transform(fitted, far).dense[name][1].any(), "gaps are the mean"


def test_a_number_that_one_vector_holds_is_not_kept() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    x[:, 2], x[4, 2] = np.nan, 7654.321
    for kind in (MediaDescriptor, Descriptor):
        for rows in (x, x[4:5]):
            fitted = kind.fit(pointed({"vector": rows}, {}, np.arange(len(rows))), {}, 0)
            assert not any(np.isin(a.astype(np.float32), x).any() for a in fitted.arrays.values() if a.any())
