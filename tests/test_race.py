"""The race over experts that only pretend: who saw which rows, what is kept, what is trained again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from tests.doubles import INPUTS, pointed

from xmodal import ConfigError, Learner
from xmodal.answer import Member, titled, to_bits
from xmodal.batch import Examples, View
from xmodal.experts import EXPERTS
from xmodal.experts.base import Data, Expert
from xmodal.experts.data import TableData
from xmodal.features.column import Fitted
from xmodal.job import Budget, Input, Job, Key, Rows, TaskName
from xmodal.pool import LOSSES, absent
from xmodal.race import KEEP, Outcome, Race, candidates
from xmodal.tasks import TASKS, Prediction, Task

COUNT = 240
KEYS = ("main.a", "main.b", "main.c")
ROUNDS = [5, 50, 4, 9, 3]  # of the folds: their median is neither their mean, their last nor their largest


class Said(NamedTuple):
    """One call of an expert."""

    name: str
    what: str  # fit | predict
    rows: Rows
    valid: Rows | None = None
    epochs: int | None = None
    offset: np.ndarray | None = None


LOG: list[Said] = []


class Fake(Expert):
    """Knows by heart the rows it saw. Of others: the truth, but for a share `wrong` of the rows, as sure as `sure`, where
    the set of inputs that it is shown is one of `sets`; else as sure of the opposite."""

    name, family = "fake", "features"
    seen: Rows = np.zeros(0, np.int64)

    def fit(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        name, self.seen = self.settings["name"], rows
        LOG.append(Said(name, "fit", rows, valid, budget.epochs, None if (o := data.examples["y"].offset_R) is None else o.numpy()))
        chosen = sum(s.name == name and s.valid is not None for s in LOG)
        return ROUNDS[(chosen - 1) % len(ROUNDS)] if budget.epochs is None else budget.epochs

    def fitted(self) -> Fitted:
        return Fitted()

    @classmethod
    def restore(cls, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], fitted: Fitted) -> Expert:
        raise AssertionError("nothing is loaded here")

    def predict(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> dict[TaskName, Prediction]:
        LOG.append(Said(self.settings["name"], "predict", rows))
        if self.family == "hybrid":
            return {"y": Prediction(np.zeros((len(rows), 2)), np.zeros((len(rows), 3), np.int8))}
        random = np.random.default_rng(len(self.settings["name"]))
        wrong_B, sure_B = random.random(COUNT) < self.settings["wrong"], np.full(COUNT, self.settings["sure"])
        if self.settings.get("humble"):  # says how sure it may be: never wrong on half the rows, blind on the others
            wrong_B, sure_B = (np.arange(COUNT) % 4 < 2) & (random.random(COUNT) < 0.6), np.where(np.arange(COUNT) % 4 < 2, 0.4, 0.98)
        shown, sets = to_bits(KEYS, self.inputs.keys() - hide), self.settings.get("sets")
        wrong_B = wrong_B if sets is None or shown in sets else ~wrong_B
        wrong_B, sure_B = np.where(np.isin(np.arange(COUNT), self.seen), [[False], [0.999]], [wrong_B, sure_B])
        hit_R = data.examples["y"].y.numpy()[rows] ^ wrong_B[rows].astype(int)
        return {
            "y": Prediction(np.where(np.eye(2)[hit_R] > 0, sure_B[rows, None], 1 - sure_B[rows, None]), np.zeros((len(rows), 3), np.int8))
        }


class Corrects(Fake):
    name, family = "correction", "hybrid"

    def fit(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        self.settings = {**self.settings, "name": "correction"}
        return super().fit(data, rows, valid, budget, seed)


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(EXPERTS, "fake", Fake)
    monkeypatch.setitem(EXPERTS, "correction", Corrects)
    LOG.clear()
    yield
    LOG.clear()


def fake(name: str, reads: str, wrong: float, sure: float = 0.8, **settings: object) -> Member:
    keys = [f"main.{r}" for r in reads]
    inputs = {key: Input(key, "text", (key,)) for key in keys}
    return Member(name, Fake({}, inputs, {"name": name, "wrong": wrong, "sure": sure, **settings}), to_bits(KEYS, keys))


SINGLES = [fake("a.one", "a", 0.3), fake("b.first", "b", 0.2), fake("c.single", "c", 0.35)]
JOINT = fake("joint.good", "abc", 0.25)


def race(
    monkeypatch: pytest.MonkeyPatch, some: list[Member], small: int, train: Rows, valid: Rows | None = None
) -> tuple[Outcome, list[int]]:
    """Run over rows 2 of which are a group. Also how many rows the candidates were asked for."""
    asked: list[int] = []
    monkeypatch.setattr("xmodal.race.candidates", lambda job, task, inputs, n: asked.append(n) or list(some))
    y = np.random.default_rng(0).integers(0, 2, COUNT)
    labels = pa.array([f"c{v}" for v in y])
    task = TASKS["classify"]("y", (View("main", frozenset(KEYS)),)).fit(labels)
    data = TableData(
        {k: pointed({"x": np.zeros((COUNT, 1))}, {}, np.arange(COUNT)) for k in KEYS}, {"y": Examples((None,), *task.encode(labels))}
    )
    inputs = {key: Input(key, "text", (key,)) for key in KEYS}
    job = Job.from_json({"training": {"small": small}})
    return Race(job, task, inputs, data, np.arange(COUNT) // 2, y, Budget(), lambda *_: None).run(train, valid), asked


def names(outcome: Outcome) -> list[str]:
    return [m.name for m in outcome.answer.members]


def fits(name: str, chosen: bool) -> list[Said]:
    """Where rounds were chosen, or given."""
    return [s for s in LOG if (s.name, s.what) == (name, "fit") and (s.valid is not None) == chosen]


def test_the_best_of_each_input_wins_by_loss_not_by_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    right = [fake("a.humble", "a", 0.0, humble=True), fake("a.accurate", "a", 0.25, 0.75)]
    some = [*right, fake("b.weak", "b", 0.4), fake("b.strong", "b", 0.15), *SINGLES[2:]]
    outcome, _ = race(monkeypatch, some, COUNT + 1, np.arange(COUNT))
    assert [next(n for n in names(outcome) if n[0] == key) for key in "abc"] == ["a.humble", "b.strong", "c.single"]
    assert outcome.answer.order == ("main.a", "main.b", "main.c")
    assert {e.member.name for e in outcome.entries} == {c.name for c in some} | {"correction"}, "the losers are reported"


def test_a_second_family_of_an_input_stays_if_both_together_are_better(monkeypatch: pytest.MonkeyPatch) -> None:
    same, useful, coin = fake("a.copy", "a", 0.2), fake("a.errs-elsewhere", "a", 0.22), fake("a.coin-toss", "a", 0.5)
    outcome, _ = race(monkeypatch, [fake("a.best", "a", 0.2), same, useful, coin, *SINGLES[1:]], COUNT + 1, np.arange(COUNT))
    assert len(same.name) == len("a.best"), "so that it errs on the same rows"
    kept = [n for n in names(outcome) if n.startswith("a.")]
    assert kept == ["a.best", "a.errs-elsewhere"]
    pool, rows = outcome.answer.pool, np.arange(COUNT)
    scores, loss = outcome.scores, LOSSES["classify"](np.random.default_rng(0).integers(0, 2, COUNT))
    alone = [loss(pool.prior_C + pool.calibrated(scores, e, 1))[0].mean() for e in range(2)]
    assert loss(pool.add(scores, 1) - absent(scores.present_Q, 3) @ pool.offset_MC)[0][rows].mean() < 0.95 * min(alone)
    assert pool.weights(1)[2:].sum() == 0 and (pool.weights(1)[:2] > 0.1).all()


def test_inputs_are_ordered_by_what_their_families_say_together(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [fake("a.one", "a", 0.16), fake("b.best", "b", 0.2), fake("b.errs-elsewhere", "b", 0.2), *SINGLES[2:]]
    outcome, _ = race(monkeypatch, some, COUNT + 1, np.arange(COUNT))
    loss, pool = LOSSES["classify"](np.random.default_rng(0).integers(0, 2, COUNT)), outcome.answer.pool
    each = [loss(pool.add(outcome.scores, 1 << m))[0].mean() for m in range(3)]
    assert outcome.answer.order == tuple(KEYS[m] for m in np.argsort(each))
    assert outcome.answer.order[0] == "main.b", "of which no family alone is the best"


def test_a_joint_without_weight_in_any_set_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that serves a single set of inputs is kept for it."""
    bad, narrow = fake("joint.wrong", "abc", 0.98, 0.9), fake("joint.narrow", "abc", 0.02, 0.97, sets=[3])
    outcome, _ = race(monkeypatch, [*SINGLES, JOINT, bad, narrow], COUNT + 1, np.arange(COUNT))
    kept, pool = names(outcome), outcome.answer.pool
    assert "joint.wrong" not in kept and {"joint.good", "joint.narrow", *(c.name for c in SINGLES)} <= set(kept)
    assert len(pool.reads) == len(pool.weight_E) == len(kept) == len(outcome.scores.z)
    at = kept.index("joint.narrow")
    assert pool.weights(7)[at] < KEEP < pool.weights(3)[at], "worth something without c alone"
    assert not any(s.name == "joint.wrong" and s.rows.size == COUNT for s in LOG), "what is dropped isn't trained again"


def test_a_single_is_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, _ = race(monkeypatch, [fake("a.wrong", "a", 0.98, 0.9), *SINGLES[1:], JOINT], COUNT + 1, np.arange(COUNT))
    assert names(outcome)[0] == "a.wrong" and outcome.answer.pool.weights(7)[0] < KEEP and outcome.answer.pool.weights(1)[0] == 1
    assert outcome.answer.order[-1] == "main.a"


def test_few_rows_are_refitted_whole_for_the_median_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    train, valid = np.arange(0, COUNT, 2), np.arange(1, COUNT - 40, 2)
    outcome, asked = race(monkeypatch, [*SINGLES, JOINT], len(train) + len(valid) + 1, train, valid)
    rows = np.sort(np.concatenate([train, valid]))
    assert asked == [len(rows)], "n is what is not test, validation too"
    np.testing.assert_array_equal(outcome.rows, rows)
    for name in ("a.one", "b.first", "c.single", "joint.good", "correction"):
        last = fits(name, False)[-1]
        assert last.epochs == 5 and np.array_equal(last.rows, rows), name
        assert [s.epochs for s in fits(name, False)[:-1]] == ROUNDS, "in each fold as many as were chosen there"
    assert all(np.array_equal(m.expert.seen, rows) for m in outcome.answer.members), "the last fit is shipped"


@pytest.mark.parametrize("given", [True, False])
def test_many_rows_are_scored_by_validation_and_not_refitted(monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    train, valid = (np.arange(0, 200), np.arange(200, COUNT)) if given else (np.arange(COUNT), None)
    outcome, asked = race(monkeypatch, [*SINGLES, JOINT], COUNT, train, valid)
    assert asked == [COUNT]
    if given:
        np.testing.assert_array_equal(outcome.rows, valid)
    assert 0.1 * COUNT < len(outcome.rows) < 0.2 * COUNT
    learnt = np.setdiff1d(np.arange(COUNT), outcome.rows)
    for candidate in (*SINGLES, JOINT):
        (only,) = fits(candidate.name, True)
        assert np.array_equal(only.rows, learnt) and np.array_equal(only.valid, outcome.rows) and not fits(candidate.name, False)
    assert all(np.array_equal(m.expert.seen, learnt) for m in outcome.answer.members if not m.residual)
    assert all(np.isin(s.rows, outcome.rows).all() for s in LOG if s.name == "correction"), "it learns where the others did not"


@pytest.mark.parametrize("small", [COUNT, COUNT + 1])
def test_rows_are_scored_by_experts_that_never_saw_them(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    """Neither in the fit, nor in the choice of rounds, nor by a row of the same group."""
    outcome, _ = race(monkeypatch, [*SINGLES, JOINT], small, np.arange(COUNT))
    for name in ("a.one", "b.first", "c.single", "joint.good", "correction"):
        scored: list[Rows] = []
        learnt: list[Rows] = []
        folds_apart = small > COUNT or name == "correction"  # else one validation part chooses rounds and scores
        for before, said in pairwise([Said(name, "fit", outcome.rows[:0]), *(s for s in LOG if s.name == name)]):
            if said.what == "fit":
                learnt = [
                    *(learnt if before.what == "fit" else []),
                    said.rows,
                    *([said.valid] if folds_apart and said.valid is not None else []),
                ]
                continue
            scored += [said.rows] if before.what == "fit" else []
            assert not np.isin(said.rows // 2, np.concatenate(learnt) // 2).any(), name
        np.testing.assert_array_equal(np.sort(np.concatenate(scored)), outcome.rows, "each once")


def test_rounds_are_chosen_by_other_rows_than_they_are_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    race(monkeypatch, [*SINGLES, JOINT], COUNT + 1, np.arange(COUNT))
    for name in ("a.one", "joint.good", "correction"):
        for choice, whole in zip(fits(name, True), fits(name, False), strict=False):
            assert not np.isin(choice.valid // 2, choice.rows // 2).any() and 0 < len(choice.valid) < len(choice.rows)
            np.testing.assert_array_equal(np.sort(np.concatenate([choice.rows, choice.valid])), whole.rows)


@pytest.mark.parametrize("small", [COUNT, COUNT + 1])
def test_the_correction_learns_on_offsets_of_rows_that_the_experts_had_not_seen(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    outcome, _ = race(monkeypatch, [fake("a.sure", "a", 0.3, 0.8), *SINGLES[1:]], small, np.arange(COUNT))
    y = np.random.default_rng(0).integers(0, 2, COUNT)
    taught = fits("correction", True) + fits("correction", False)
    assert len(taught) == 11
    for said in taught:
        hit = (said.offset.argmax(1) == y)[outcome.rows].mean()
        assert 0.6 < hit < 0.97, "they know by heart what they saw"
        assert np.ptp(said.offset[outcome.rows], 0).min() > 0.1
        assert np.isin(said.rows, outcome.rows).all()


@pytest.mark.parametrize(("n", "raw"), [(1999, False), (2000, True)])
def test_raw_encoders_take_part_from_so_many_rows(n: int, raw: bool) -> None:
    task = TASKS["classify"]("y", (View("main", frozenset(INPUTS)),)).fit(pa.array(["x", "y"]))
    found = {c.name for c in candidates(Job(), task, INPUTS, n)}
    assert {"note.linear", "pic.linear", "table.boosted", "joint.forest", "fusion.descriptor"} <= found
    assert all((name in found) == raw for name in ("note.bilstm", "pic.cnn", "fusion.raw"))


@pytest.mark.parametrize(
    ("name", "inputs", "title"),
    [
        ("joint.linear", ["a", "b"], "linear, all inputs"),
        ("joint.linear of all", ["joint", "b"], "linear, all inputs"),
        ("joint.linear", ["joint"], "linear, joint"),
        ("joint.forest", ["a"] * 2 + ["b"], "forest, a + a + b"),
        ("fusion.descriptor", ["a", "b"], "descriptor fusion, all inputs"),
        ("correction", ["a", "b"], "correction, all inputs"),
        ("my.input.cnn", ["my.input"], "cnn, my.input"),
    ],
)
def test_names_in_plain_words(name: str, inputs: list[str], title: str) -> None:
    assert titled(name, inputs, 2) == title


def test_an_input_called_as_the_joints_are_has_experts_of_its_own() -> None:
    inputs = {key: replace(one, key=key) for key, one in zip(("main.joint", "main.fusion", "main.table"), INPUTS.values(), strict=True)}
    task = TASKS["classify"]("y", (View("main", frozenset(inputs)),)).fit(pa.array(["x", "y"]))
    found = candidates(Job(), task, inputs, 2000)
    reads = {c.name: set(c.expert.inputs) for c in found}
    assert len(reads) == len(found) and reads["joint.linear"] == {"main.joint"} and reads["joint.linear of all"] == set(inputs)


@pytest.mark.parametrize(
    ("head", "kind", "says"),
    [
        ("regress", "classify", "a head that is a ClassifyHead"),
        ("clasify", "classify", "did you mean 'classify'"),
        ("classify", "regress", "a head that is a RegressHead"),
    ],
)
def test_a_head_of_another_task_is_refused_before_anything_is_trained(head: str, kind: str, says: str) -> None:
    rows = {"x": list(range(40)), "y": [1.5, 2.5] * 20}
    with pytest.raises(ConfigError, match=says):
        Learner(target="y", kind=kind, head=head).ready(pa.table(rows), lambda *_: None)
    Learner(target="y", kind=kind, head=kind).ready(pa.table(rows), lambda *_: None)
