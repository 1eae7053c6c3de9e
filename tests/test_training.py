from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.contracts.strain import WIDTH, Vectors, classes, encoder, vectors
from torch import Tensor

from xmodal.batch import Batch, Examples, Fetch, Plan
from xmodal.context import Identity
from xmodal.fusion.mean import Mean
from xmodal.heads.classify import ClassifyHead
from xmodal.job import Budget, Training
from xmodal.journal import Journal
from xmodal.model import Model
from xmodal.training import RowSampler, Step, Supervised, augmented, fit, schedule, seeded, validate

ROWS = 90
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, 1, 3))
COLUMN = vectors(X)
Y = torch.from_numpy((X[:, 0, 0] + 0.5 * RANDOM.normal(size=ROWS) > 0).astype(np.int64))
EXAMPLES = {"y": Examples((None,), Y, (torch.arange(ROWS) % 4 > 0).float())}
FETCH = Fetch({"main.x": COLUMN})
TRAIN = RowSampler(np.arange(60), EXAMPLES, 16)
VALID = RowSampler(np.arange(60, 90), EXAMPLES, 7, shuffle=False)


def step(seed: int = 0, weight: float = 1.0) -> Step:
    with seeded(seed, 1):
        head = ClassifyHead(classes("y", 2, ("main", {"main.x"}), weight=weight), WIDTH)
        model = Model([encoder(COLUMN)], {"main.x": 0}, {"main": Mean(("main.x",), WIDTH, {})}, Identity(), {"y": head})
    return Step(model, [Supervised()])


def batches(sampler: RowSampler) -> Iterator[Batch]:
    return (FETCH(sampler.plan(0, 0, i)) for i in range(sampler.steps(0)))


def trained(training: Training, valid: RowSampler | None, budget: Budget, seed: int = 0) -> tuple[int, dict[str, Tensor]]:
    made = step(seed)
    with seeded(seed, 1):
        used = fit(made, TRAIN, FETCH, valid, training, budget, seed)
    return used, made.model.state_dict()


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(v, two[k]) for k, v in one.items())


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 3))
def test_every_row_once_an_epoch_in_any_access(rows: int, batch: int, epoch: int) -> None:
    table = np.arange(5, 5 + rows)
    examples = {"y": Examples((None,), torch.arange(60), torch.ones(60))}
    sampler = RowSampler(table, examples, batch)
    plans = [sampler.plan(1, epoch, i) for i in reversed(range(sampler.steps(epoch)))]
    seen = torch.cat([p.rows["main"] for p in reversed(plans)])
    assert sorted(seen.tolist()) == table.tolist()
    assert all(torch.equal(p.examples["y"].y, p.rows["main"]) for p in plans)
    assert all((p.rows["main"].diff() > 0).all() for p in plans), "in table order: cold reads"
    assert len({p.seed for p in plans}) == len(plans)
    if rows > 20 and batch < 10:
        assert not torch.equal(torch.cat([sampler.plan(1, epoch + 1, i).rows["main"] for i in range(sampler.steps(0))]), seen)


def test_the_step_is_the_weighted_mean() -> None:
    made = step(weight=3.0).eval()
    batch = FETCH(TRAIN.plan(0, 0, 0))
    loss_R, weight_R = dict(made.losses(batch))["y"]
    expected = 3 * sum(w * v for w, v in zip(weight_R.tolist(), loss_R.tolist(), strict=True)) / sum(weight_R.tolist())
    assert math.isclose(made(batch).item(), expected, rel_tol=1e-5)
    nothing = FETCH(Plan({"y": EXAMPLES["y"]._replace(y=Y[:4], weight_R=torch.zeros(4))}, {"main": torch.arange(4)}, 0))
    assert made(nothing).item() == 0


def test_validation_is_one_batch() -> None:
    made = step()
    whole = RowSampler(VALID.rows, EXAMPLES, 1000, shuffle=False)
    assert math.isclose(validate(made, batches(VALID)), validate(made, batches(whole)), rel_tol=1e-5)
    assert not made.training


def test_the_best_epoch_is_kept() -> None:
    training = Training(epochs=40, rate=0.05, patience=3, minimum=2)
    used, kept = trained(training, VALID, Budget())
    assert 1 <= used < 40
    made = step()
    made.model.load_state_dict(kept)
    best = validate(made, batches(VALID))
    losses = []
    for epochs in range(1, used + 4):
        made.model.load_state_dict(trained(training, None, Budget(epochs=epochs))[1])
        losses.append(validate(made, batches(VALID)))
    assert math.isclose(best, min(losses), rel_tol=1e-6)
    assert losses.index(min(losses)) == used - 1, "a refit of as many epochs walks the same path"


def test_a_minimum_of_epochs_and_exact_ones() -> None:
    flat = Training(epochs=9, rate=1e-12, patience=1, minimum=6)
    counted: list[int] = []

    def fetch(plan: Plan) -> Batch:
        counted.append(len(plan.rows["main"]))
        return FETCH(plan)

    with seeded(0, 1):
        fit(step(), TRAIN, fetch, VALID, flat, Budget(), 0)
        assert sum(counted) >= 6 * ROWS
        counted.clear()
        assert fit(step(), TRAIN, fetch, None, flat, Budget(epochs=3), 0) == 3
        assert sum(counted) == 3 * 60
        assert fit(step(), TRAIN, fetch, VALID, Training(epochs=9), Budget(seconds=0.0), 0) == 1


def test_deterministic_and_leaves_no_trace() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    training = Training(epochs=3)
    one, two, other = (trained(training, VALID, Budget(), seed)[1] for seed in (1, 1, 2))
    assert same(one, two)
    assert not same(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_interrupted() -> None:
    state = torch.get_rng_state()

    def fetch(plan: Plan) -> Batch:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), seeded(0, 2):
        fit(step(), TRAIN, fetch, VALID, Training(), Budget(), 0)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 1


def test_schedule() -> None:
    rates = list(schedule(100, Training(rate=2.0, warmup=0.1)))
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10 * 2)
    np.testing.assert_allclose(rates[10:], [1 + math.cos(math.pi * i / 90) for i in range(90)], atol=1e-12)


def test_a_view_of_a_cell_depends_on_the_step_and_its_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[int, int]] = []

    def spy(self: Vectors, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        seen.append(dict(zip(x["x"][:, 0, 0].tolist(), seed_U.tolist(), strict=True)))
        return x

    monkeypatch.setattr(Vectors, "augment", spy)
    columns = {"main.x": vectors(np.arange(4.0)[:, None, None], np.array([0, 1, 1, -1, 3, 2]))}
    made = step().model
    for rows, seed in (([0, 1, 2, 3, 4], 5), ([2, 4, 5], 5), ([0, 4, 5], 5), ([0, 1, 2, 3, 4], 6)):
        augmented(made, Fetch(columns)(Plan({}, {"main": torch.tensor(rows)}, seed)), 1.0)
    first, part, fast, later = seen
    assert first[1.0] == part[1.0]
    assert first[3.0] == part[3.0] == fast[3.0]
    assert first[0.0] == fast[0.0]
    assert len(set(first.values())) == 3
    assert first[0.0] != later[0.0]


@pytest.mark.parametrize("at", [1, 2, 17, 23])
@pytest.mark.parametrize("valid", [VALID, None])
def test_what_was_interrupted_goes_on_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valid: RowSampler | None, at: int
) -> None:
    monkeypatch.setattr("xmodal.training.EVERY", 0.0)
    training, budget = Training(epochs=9, patience=2, minimum=3), Budget(epochs=6, folder=tmp_path)
    whole = trained(training, valid, Budget(epochs=6))
    calls = 0

    def killed(plan: Plan) -> Batch:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        return FETCH(plan)

    made = step()
    with pytest.raises(KeyboardInterrupt), seeded(0, 1):
        fit(made, TRAIN, killed, valid, training, budget, 0)
    assert (Journal(tmp_path).get("epoch") is not None) == (at > 10), "the first epoch's end is kept when the second has begun"
    again = trained(training, valid, budget)
    assert again[0] == whole[0] and same(again[1], whole[1])
