from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, HistGradientBoostingRegressor
from tests.doubles import INPUTS, table

from xmodal.experts import forest as module
from xmodal.experts.boosted import ROUNDS, SETTINGS, STEP, Boosted
from xmodal.experts.classic import between, pack, walk
from xmodal.experts.forest import TREES, Forest, hidden, nodes
from xmodal.job import Budget

PLAIN = {"main.table": INPUTS["main.table"]}


@pytest.mark.parametrize(("kind", "classes"), [("classify", 2), ("classify", 3), ("regress", 2)])
def test_boosted_equals_the_library(kind: str, classes: int) -> None:
    task, data = table(kind, rows=200, classes=classes)
    rows = np.arange(200)
    expert = Boosted({"y": task}, PLAIN, {})
    expert.fit(data, rows, None, Budget(epochs=7), 0)
    x, y = expert.matrix(data, rows), data.examples["y"].y.numpy()
    assert np.isnan(x).any()
    kinds = {"classify": HistGradientBoostingClassifier, "regress": HistGradientBoostingRegressor}
    model = kinds[kind](max_iter=7, early_stopping=False, random_state=0, **SETTINGS).fit(x[:-1], y[:-1])
    expected = model.predict_proba(x) if kind == "classify" else task.unpool(model.predict(x)[:, None])
    bulk, few = expert.predict(data, rows)["y"].score, expert.predict(data, rows[:30])["y"].score
    np.testing.assert_allclose(bulk, expected, rtol=1e-12)
    np.testing.assert_array_equal(few, bulk[:30])


def test_valid_chooses_the_rounds() -> None:
    task, data = table("classify", rows=200)
    train, valid = np.arange(0, 200, 2), np.arange(1, 199, 2)
    expert, again = Boosted({"y": task}, PLAIN, {}), Boosted({"y": task}, PLAIN, {})
    used = expert.fit(data, train, valid, Budget(), 0)
    assert used % STEP == 0 and STEP <= used < ROUNDS
    assert again.fit(data, train, None, Budget(epochs=used), 0) == used
    np.testing.assert_array_equal(expert.predict(data, valid)["y"].score, again.predict(data, valid)["y"].score)
    again.fit(data, train, None, Budget(epochs=ROUNDS), 0)
    assert again.loss(data, valid) > expert.loss(data, valid)


def test_a_forest_walks_as_the_library_does() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 5)).astype(np.float32), random.integers(0, 3, 300)
    x[random.random(x.shape) < 0.2] = np.nan
    x[::3] = np.round(x[::3], 1)  # many equal values
    model = ExtraTreesClassifier(10, random_state=0).fit(x, y)
    packed = pack([nodes(tree, np.float32) for tree in model.estimators_])
    mine = packed["value"][walk(packed, x)]
    theirs = np.stack([tree.predict_proba(x) for tree in model.estimators_], 1)
    np.testing.assert_allclose(mine, theirs, atol=1e-7)


def test_a_forest_is_kept_small() -> None:
    task, data = table("classify")
    forest = Forest({"y": task}, INPUTS, {})
    forest.fit(data, np.arange(80), None, Budget(epochs=1), 0)
    assert forest.arrays["threshold"].dtype == np.float32 and len(forest.arrays["root"]) == TREES
    assert forest.arrays["value"].dtype == np.float16


def test_hidden_keeps_one_present_input() -> None:
    there = np.random.default_rng(0).random((500, 4)) < 0.5
    off = hidden(there, np.arange(500), 3)
    left = there & ~off
    assert not (off & ~there).any() and (left.any(1) == there.any(1)).all()
    assert 0.3 < off[there.sum(1) > 2].mean() / there[there.sum(1) > 2].mean() < 0.6
    np.testing.assert_array_equal(off[7:9], hidden(there[7:9], np.arange(7, 9), 3))  # a draw is the row's own


def test_nodes_do_not_grow_with_rows_or_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    task, data = table("classify", rows=600, classes=30)
    forest = Forest({"y": task}, PLAIN, {})
    monkeypatch.setattr(module, "NUMBERS", 3000)
    forest.fit(data, np.arange(600), None, Budget(epochs=1), 0)
    assert forest.arrays["value"].size <= TREES * 3000


def test_unlabelled_rows_teach_nothing() -> None:
    for kind in (Boosted, Forest):
        task, data = table("classify")
        one, two = kind({"y": task}, PLAIN, {}), kind({"y": task}, PLAIN, {})
        one.fit(data, np.arange(80), None, Budget(epochs=3), 0)
        two.parts = one.parts
        two.learn(data, np.arange(79), None, Budget(epochs=3), 0)
        np.testing.assert_array_equal(one.predict(data, np.arange(80))["y"].score, two.predict(data, np.arange(80))["y"].score)


def test_thresholds_are_no_cells_and_part_the_rows_as_before() -> None:
    x_BF = np.array([[1.0, 5.0], [2.0, np.nan], [4.0, 6.0], [np.inf, 9.0]])
    nodes = {"feature": np.array([0, 0, 1, 1, 0]), "left": np.array([1, 2, 3, 4, 4]), "threshold": np.array([2.0, 3.5, 9.0, 5.0, 2.0])}
    moved = between(nodes, x_BF)
    assert moved.tolist() == [3.0, 3.5, np.inf, 5.5, 2.0]  # the last is a leaf
    for old, new, feature in list(zip(nodes["threshold"], moved, nodes["feature"], strict=True))[:4]:
        assert ((x_BF[:, feature] <= old) == (x_BF[:, feature] <= new)).all()
    for expert in (Boosted, Forest):
        task, data = table("regress", rows=200)
        found = expert({task.name: task}, INPUTS, {})
        found.fit(data, np.arange(200), None, Budget(epochs=5), 0)
        inner = found.arrays["left"] != np.arange(len(found.arrays["left"]))
        x_BF = found.matrix(data, np.arange(200)).astype(found.arrays["threshold"].dtype)
        assert inner.sum() > 20
        thresholds = zip(found.arrays["threshold"][inner], found.arrays["feature"][inner], strict=True)
        assert not any(t in x_BF[:, feature] for t, feature in thresholds)
