"""scikit-learn's own checks (numbers alone), and its tools over frames with media."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from xmodal import CrossModalClassifier, CrossModalRegressor

QUICK = {"epochs": 2, "minimum": 1, "folds": 2}


def not_expected(estimator):
    """A weight counts in losses; rows are still divided into folds, so that one twice is not one of weight 2."""
    return {"check_sample_weight_equivalence_on_dense_data": "folds are drawn by rows"}


@parametrize_with_checks([CrossModalClassifier(training=QUICK), CrossModalRegressor(training=QUICK)], expected_failed_checks=not_expected)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def frame(folder, rows=60):
    """The picture's brightness and the word tell the class; the index is out of order and repeats."""
    from PIL import Image

    random, label = np.random.default_rng(0), np.arange(rows) % 2
    for row in range(rows):
        Image.new("RGB", (16, 16), (40 + 160 * int(label[row]),) * 3).save(folder / f"{row}.png")
    words = [f"{('quiet', 'lively')[c]} number {n} of the long list" for c, n in zip(label, random.integers(0, 999, rows), strict=True)]
    found = pd.DataFrame({"picture": [f"{row}.png" for row in range(rows)], "words": words, "size": random.normal(size=rows)})
    found.index = np.tile(np.arange(rows // 2)[::-1], 2)
    return found, np.where(label, "on", "off")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return folder, *frame(folder)


@pytest.fixture(scope="module")
def fitted(made):
    folder, x, y = made
    model = CrossModalClassifier(media_root=str(folder), training=QUICK, modality={"words": "text"})
    with pytest.warns(UserWarning, match="by position"):
        return clone(model).fit(x, pd.Series(y, index=x.index[::-1]))


def test_frames_with_media_by_position(made, fitted):
    _, x, y = made
    assert {i.modality for i in fitted.learner_.model.answer.inputs.values()} == {"image", "text", "table"}
    assert (fitted.predict(x) == y).all() and fitted.predict_proba(x).shape == (60, 2) and fitted.classes_.tolist() == ["off", "on"]
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(x.drop(columns="words"))
    with pytest.raises(ValueError, match="did you mean 'mean'"):
        CrossModalClassifier(fusion="meen").fit(x[["size"]], y)


def test_pipelines_searches_and_cross_validation(made, monkeypatch):
    from xmodal import race

    every = race.candidates  # what an estimator passes on is told by one family as well
    for place in ("race", "learner"):
        monkeypatch.setattr(f"xmodal.{place}.candidates", lambda *a: [c for c in every(*a) if c.expert.name == "linear"])
    _, x, y = made
    model = CrossModalClassifier(training=QUICK)
    pipe = make_pipeline(FunctionTransformer(lambda t: t[["words", "size"]]), model)
    assert cross_val_score(pipe, x, y, cv=2).min() > 0.9
    plain = ColumnTransformer([("keep", "passthrough", ["size"])]).set_output(transform="pandas")
    assert make_pipeline(plain, model).fit(x, y).predict(x).shape == (60,)
    search = GridSearchCV(model, {"random_state": [0, 1], "modality": [None, {"words": "text"}]}, cv=2).fit(x[["words", "size"]], y)
    assert search.best_score_ > 0.9 and set(search.cv_results_["params"][0]) == {"random_state", "modality"}


def test_arrays_of_words_and_numbers():
    x = np.array([[f"word {i % 2} of {i}", i % 7] for i in range(60)], object)
    found = CrossModalRegressor(training=QUICK, modality={"x0": "text"}).fit(x, np.arange(60) % 2 * 3.0 + 1)
    assert np.abs(found.predict(x) - (np.arange(60) % 2 * 3 + 1)).mean() < 0.5


def test_classes_of_one_name_stay_apart():
    x = np.arange(40.0).reshape(-1, 1)
    y = np.array([1, "1"], object)[(x[:, 0] > 19).astype(int)]
    with pytest.raises((ValueError, TypeError)):
        CrossModalClassifier().fit(x, y)


def test_weights_costs_and_the_positive_class():
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 1))
    y = x[:, 0] + random.normal(size=200) > 0
    plain = CrossModalClassifier(training=QUICK).fit(x, y)
    careful = CrossModalClassifier(training=QUICK, cost={True: {False: 50}, False: {True: 1}}).fit(x, y)
    assert careful.predict(x).sum() > plain.predict(x).sum()
    for positive in (True, False):
        task = CrossModalClassifier(training=QUICK, positive=positive).fit(x, y).learner_.model.answer.task
        assert task.classes[task.positive].lower() == str(positive).lower()
    with pytest.raises(ValueError, match="maybe"):
        CrossModalClassifier(training=QUICK, positive="maybe").fit(x, y)
    heavy = CrossModalClassifier(training=QUICK).fit(x, y, sample_weight=np.where(y, 20.0, 1.0))
    assert heavy.predict_proba(x)[:, 1].mean() > plain.predict_proba(x)[:, 1].mean() + 0.1
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        CrossModalClassifier(training=QUICK).fit(x, y, sample_weight=-np.ones(200))


def test_a_pickle_holds_no_cell_of_a_training_row(made, fitted):
    _, x, _ = made
    assert not fitted.learner_.model.examples
    pickled = pickle.dumps(fitted)
    assert not any(cell.encode() in pickled for cell in x["words"])


def test_names_that_differ_by_spaces_stay_apart():
    x, y = np.arange(60.0).reshape(-1, 1), np.array(["b", "b ", "c"])[np.arange(60) // 20]
    one = CrossModalClassifier(training=QUICK).fit(x, y)
    assert one.classes_.tolist() == ["b", "b ", "c"] and one.predict_proba(x).shape == (60, 3) and set(one.predict(x)) <= set(y)


def test_indices_that_differ_are_said():
    x = pd.DataFrame({"x": np.arange(40.0)})
    with pytest.warns(UserWarning, match="by position"):
        CrossModalRegressor(training=QUICK).fit(x, pd.Series(np.arange(40.0), index=x.index[::-1]))
