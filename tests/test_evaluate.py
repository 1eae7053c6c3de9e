"""Whether mixing paid, from scores made up: what is compared, by which direction, drawn how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tests.doubles import pointed

from xmodal import answer as answers
from xmodal.answer import Answer, Member
from xmodal.batch import Examples, View
from xmodal.evaluate import Held, Judge
from xmodal.experts.base import Data, Expert
from xmodal.experts.data import TableData
from xmodal.features.column import Fitted
from xmodal.job import Budget, Input, Key, Rows, TaskName
from xmodal.pool import Pool
from xmodal.race import Entry, Outcome
from xmodal.tasks import TASKS, Prediction, Task

COUNT = 1000
ROWS = np.random.default_rng(1).permutation(COUNT)[:800]  # of the table, in no order
FULL = 3


def asked(kind: str) -> tuple[Task, Examples, np.ndarray]:
    """A fitted task, its examples, and the truth as scores: probabilities or values. The last 100 rows are unlabelled."""
    random = np.random.default_rng(0)
    values = random.choice(["no", "yes"], COUNT) if kind == "classify" else 50 + 20 * random.normal(size=COUNT)
    labels = pa.array([*values[:-100].tolist(), *[None] * 100])
    task = TASKS[kind]("y", (View("main", frozenset()),)).fit(labels)
    return task, Examples((None,), *task.encode(labels)), (values == "yes").astype(int) if kind == "classify" else values


def said(truth_B: np.ndarray, wrong_B: np.ndarray) -> np.ndarray:
    """A score a row of the table: right but where `wrong_B`; nonsense where there is no label."""
    wrong_B = np.where(np.arange(COUNT) < COUNT - 100, wrong_B, 1)
    if truth_B.dtype == float:
        return truth_B + 30.0 * wrong_B
    return np.eye(2)[truth_B ^ wrong_B.astype(int)] * 0.8 + 0.1


def held(full: np.ndarray, best: np.ndarray, rows: Rows = ROWS) -> Held:
    return Held({FULL: full[rows]}, {FULL: best[rows]}, rows)


def wrong(share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(COUNT) < share


METRICS = [
    ("classify", "accuracy"), ("classify", "roc_auc"), ("classify", "log_loss"), ("regress", "r2"),
    ("regress", "mean_absolute_error"), ("regress", "root_mean_squared_error"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "metric"), METRICS)
def test_the_outcome_is_where_the_interval_of_the_gain_lies(kind: str, metric: str) -> None:
    task, examples, truth = asked(kind)
    judge = Judge(task, metric, examples, np.arange(COUNT), ROWS, 0)
    good, poor = said(truth, wrong(0.1, 1)), said(truth, wrong(0.3, 2))
    pays = judge.verdict(held(good, poor), FULL, "a")
    assert pays["outcome"] == "pays" and pays["gain"] > 0 and 0 < pays["ci95"][0] < pays["gain"] < pays["ci95"][1]
    assert pays["metric"] == metric and pays["best_single"] == "a" and pays["rows"] == (ROWS < COUNT - 100).sum()
    loses = judge.verdict(held(poor, good), FULL, "a")
    assert loses["outcome"] == "does_not_pay" and loses["gain"] == -pays["gain"] and loses["ci95"][1] < 0
    same = judge.verdict(held(good, good), FULL, "a")
    assert same["outcome"] == "does_not_pay" and same["gain"] == 0 and same["ci95"] == [0, 0], "paired: no noise in no difference"
    near = judge.verdict(held(said(truth, wrong(0.2, 3)), said(truth, wrong(0.2, 4))), FULL, "a")
    assert near["outcome"] == "undecided" and near["ci95"][0] < 0 and near["ci95"][1] > near["margin"]


def test_a_gain_below_the_margin_does_not_pay_unless_it_is_sure() -> None:
    task, examples, truth = asked("classify")
    judge = Judge(task, "accuracy", examples, np.arange(COUNT), ROWS, 0)
    few = np.zeros(COUNT, bool)
    few[ROWS[ROWS < COUNT - 100][:1]] = True
    tiny = judge.verdict(held(said(truth, np.zeros(COUNT, bool)), said(truth, few)), FULL, "a")
    assert tiny["ci95"][0] == 0 and 0 < tiny["ci95"][1] < tiny["margin"] and tiny["outcome"] == "does_not_pay"
    few[ROWS[ROWS < COUNT - 100][:6]] = True
    small = judge.verdict(held(said(truth, np.zeros(COUNT, bool)), said(truth, few)), FULL, "a")
    assert small["gain"] < small["margin"] and small["ci95"][0] > 0 and small["outcome"] == "pays"


def test_nothing_to_compare() -> None:
    task, examples, truth = asked("classify")
    score = said(truth, wrong(0.1, 1))
    for rows, full, outcome in ((ROWS, 1, "one_input"), (np.arange(COUNT - 100, COUNT), FULL, "no_rows"), (ROWS[:0], FULL, "no_rows")):
        judge = Judge(task, "accuracy", examples, np.arange(COUNT), rows, 0)
        found = judge.verdict(Held({full: score[rows]}, {full: score[rows]}, rows), full, "a")
        assert (found["outcome"], found["gain"], found["ci95"]) == (outcome, None, [None, None])
        assert found["rows"] == (rows < COUNT - 100).sum()


def test_groups_are_drawn_whole() -> None:
    task, examples, truth = asked("classify")
    groups = np.random.default_rng(5).integers(0, 30, COUNT)
    worse = groups % 5 < 2  # the answer is wrong in whole groups, the single in the others
    pair = held(said(truth, worse), said(truth, ~worse))
    alone = Judge(task, "accuracy", examples, np.arange(COUNT), ROWS, 0).verdict(pair, FULL, "a")
    judge = Judge(task, "accuracy", examples, groups, ROWS, 0)
    whole = judge.verdict(pair, FULL, "a")
    assert (alone["outcome"], whole["outcome"]) == ("pays", "undecided"), "rows of a group are no evidence of their own"
    assert alone["gain"] == whole["gain"]
    of_R = groups[ROWS][judge.keep_R]
    assert all((judge.weight_WR[:, of_R == g] == judge.weight_WR[:, of_R == g][:, :1]).all() for g in range(30))
    assert (judge.weight_WR[0] == 1).all() and (judge.weight_WR[1:].std(0) > 0).all()


class Told(Expert):
    """Says what it was told, a row of the table."""

    name, family = "told", "features"

    def __init__(self, key: Key, score: np.ndarray) -> None:
        super().__init__({}, {}, {})
        self.key, self.told = key, score

    def fit(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        raise AssertionError("nothing is learnt here")

    def fitted(self) -> Fitted:
        return Fitted()

    @classmethod
    def restore(cls, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], fitted: Fitted) -> Expert:
        raise AssertionError("nothing is loaded here")

    def predict(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> dict[TaskName, Prediction]:
        return {"y": Prediction(self.told[rows], np.zeros((len(rows), 1), np.int8))}


def answer(task: Task, told: dict[Key, np.ndarray], order: tuple[Key, ...]) -> Answer:
    """A pool of singles that, where there are several, believes the input that `order` ranks last."""
    reads = tuple(1 << m for m in range(len(told)))
    weight_E = np.array([float(key == order[-1]) for key in told])
    pool = Pool(task.prior, reads, np.ones(len(told)), weight_E, {}, np.zeros((len(told), task.width)))
    members = tuple(Member(key, Told(key, score), bits) for (key, score), bits in zip(told.items(), reads, strict=True))
    return Answer(task, {key: Input(key, "text", (key,)) for key in told}, members, pool, order)


@pytest.mark.parametrize("block", [7, 4096])
def test_the_best_single_is_ranked_by_the_fit_and_never_by_the_rows_compared(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(answers, "BLOCK", block)
    task, examples, truth = asked("classify")
    told = {f"main.{n}": said(truth, wrong(share, m)) for m, (n, share) in enumerate({"a": 0.3, "b": 0.02, "c": 0.4}.items())}
    data = TableData({key: pointed({"x": np.zeros((COUNT, 1))}, {}, np.arange(COUNT)) for key in told}, {"y": examples})
    order = ("main.c", "main.a", "main.b")  # on these rows the other way round
    pooled = answer(task, told, order)
    found = Held.of(Outcome(pooled, pooled, [], ROWS, pooled.scores(data, ROWS, [7])), data, ROWS)
    assert set(found.score) == set(range(8)) and set(found.best) == set(range(1, 8))
    first = {1: "a", 2: "b", 3: "a", 4: "c", 5: "c", 6: "c", 7: "c"}
    for view, name in first.items():
        np.testing.assert_allclose(found.best[view], told[f"main.{name}"][ROWS])
    judge = Judge(task, "accuracy", examples, np.arange(COUNT), ROWS, 0)
    said_of_it = judge.comparison(found, [answer(task, told, order)])
    verdict, subsets = said_of_it["verdict"], {tuple(s["inputs"]): s for s in said_of_it["subsets"]}
    assert verdict["best_single"] == "c" and verdict["outcome"] == "pays", "against b, the best in hindsight, nothing is gained"
    assert verdict["gain"] == pytest.approx(subsets["b",]["metrics"]["accuracy"] - subsets["c",]["metrics"]["accuracy"])
    assert subsets["a", "b"]["gain"] == pytest.approx(subsets["b",]["metrics"]["accuracy"] - subsets["a",]["metrics"]["accuracy"])
    assert [subsets[s].get("best_single") for s in (("a",), ("a", "b"), ("a", "b", "c"))] == [None, "a", "c"]
    folds = [answer(task, told, o) for o in (order, ("main.b", "main.a", "main.c"), order)]
    assert judge.comparison(found, folds)["verdict"]["best_single"] == "c", "that of most folds"


def test_a_fusion_that_falls_short_of_the_best_family_of_the_best_input_is_told() -> None:
    task, examples, truth = asked("classify")
    told = {"main.a": said(truth, wrong(0.2, 1)), "main.b": said(truth, wrong(0.02, 2))}
    data = TableData({key: pointed({"x": np.zeros((COUNT, 1))}, {}, np.arange(COUNT)) for key in told}, {"y": examples})
    pooled = answer(task, told, ("main.b", "main.a"))  # says what a says
    poor, good = (
        Entry(Member(name, pooled.members[1].expert, 2), z={2: task.pool(score[ROWS])})
        for name, score in (("poor", said(truth, wrong(0.4, 3))), ("main.b", told["main.b"]))
    )
    judge = Judge(task, "accuracy", examples, np.arange(COUNT), ROWS, 0)
    outcome = Outcome(pooled, pooled, [poor, good], ROWS, pooled.scores(data, ROWS, [FULL]))
    (says,) = judge.below(outcome)
    assert "accuracy below its best single input" in says
    best = answer(task, told, ("main.a", "main.b"))
    assert not judge.below(replace(outcome, answer=best, scores=best.scores(data, ROWS, [FULL])))


def test_stitched_folds_keep_rows_scores_and_each_fold_s_own_best() -> None:
    task, examples, truth = asked("classify")
    right, poor, other = (said(truth, wrong(share, 7)) for share in (0.0, 0.5, 0.2))
    parts = [held(right, best, rows) for best, rows in ((poor, ROWS[:300]), (other, ROWS[300:310]), (poor, ROWS[310:]))]
    whole = Held.stitched(parts)
    np.testing.assert_array_equal(whole.rows, ROWS)
    np.testing.assert_array_equal(whole.score[FULL], right[ROWS])
    np.testing.assert_array_equal(whole.best[FULL], np.concatenate([poor[ROWS[:300]], other[ROWS[300:310]], poor[ROWS[310:]]]))
    judge = Judge(task, "accuracy", examples, np.arange(COUNT), whole.rows, 0)
    assert judge.measured(whole.score[FULL])["metrics"] == {"accuracy": 1.0}, "scores belong to their rows"
    assert judge.verdict(whole, FULL, "a")["outcome"] == "pays"
