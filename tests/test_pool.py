"""The pool against its formula written plainly, and its fits against a general optimiser."""

import numpy as np
import pytest
from scipy.optimize import minimize

from xmodal.pool import (
    LOSSES,
    Pool,
    Scores,
    choose_offsets,
    fit_offsets,
    fit_pool,
    fit_temperature,
    fit_weights,
    pairs,
    softmax_loss,
    square_loss,
    weighted,
)


def log_softmax(z):
    return z - np.log(np.exp(z).sum(1, keepdims=True))


@pytest.fixture
def made():
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 80)
    z = [log_softmax(random.normal(size=(80, 3)) + k * np.eye(3)[y]) for k in (0.5, 1.0, 2.0)]
    return y, z, np.log(np.bincount(y) / 80)


def test_sum_is_the_formula(made):
    _, z, prior = made
    reads = (0b01, 0b10, 0b11)
    pool = Pool(prior, reads, np.array([0.5, 1.0, 2.0]), np.array([0.3, 0.4, 0.6]), {}, np.array([[0.1, 0, 0], [0, 0.2, 0]]))
    present = np.array([0b11, 0b01, 0b10, 0b00] * 20)
    missing = np.stack([present & 1 == 0, present & 2 == 0], 1)
    scores = Scores([{1: z[0]}, {2: z[1]}, {1: z[2], 3: z[2]}], reads, (False,) * 3, present)
    got = pool.add(scores, 3)
    calibrated = [t * (z[e] - prior) for e, t in enumerate((0.5, 1.0, 2.0))]
    for row, s in enumerate(present):
        expected = prior.copy()
        if s == 3:
            expected += 0.3 * calibrated[0][row] + 0.4 * calibrated[1][row] + 0.6 * calibrated[2][row]
        elif s:
            expected += calibrated[0 if s == 1 else 1][row]  # one input: its single alone, w = 1
        expected += missing[row] @ pool.offset_MC
        assert got[row] == pytest.approx(expected)
    hidden = pool.add(scores, 1)[0]  # row 0 has both; the second is hidden, not missing: its offset doesn't count
    assert hidden == pytest.approx(prior + calibrated[0][0])


def test_joint_needs_two_inputs():
    pool = Pool(np.zeros(2), (1, 2, 4, 7), np.ones(4), np.full(4, 0.5), {}, np.zeros((3, 2)))
    assert pool.weights(0b000).tolist() == [0, 0, 0, 0]
    assert pool.weights(0b100).tolist() == [0, 0, 1, 0]
    assert pool.weights(0b101).tolist() == [0.5, 0, 0.5, 0.5]


@pytest.mark.parametrize("kind", ["softmax", "square"])
def test_weights_equal_a_general_optimiser(made, kind):
    y, z, prior = made
    if kind == "softmax":
        a, base, loss = np.stack(z) - prior, prior, softmax_loss(y)
    else:
        target = np.random.default_rng(1).normal(size=80)
        a, base, loss = (
            np.stack([target[:, None] * k + np.sin(np.arange(80))[:, None] for k in (0.2, 0.5, 0.9)]),
            np.zeros(1),
            square_loss(target),
        )
    found = fit_weights(a, base, loss, np.full(3, 0.5), 0.05)

    def objective(w):
        return loss(base + np.tensordot(np.abs(w), a, 1))[0].mean() + 0.05 * ((np.abs(w) - 0.5) ** 2).sum()

    best = minimize(objective, np.full(3, 0.5), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 5000})
    assert objective(found) <= best.fun + 1e-6 and (found >= 0).all()


def test_temperature_undoes_a_scale(made):
    y, z, prior = made
    t = fit_temperature(prior + 3 * (z[2] - prior), prior, softmax_loss(y))
    assert t * 3 == pytest.approx(fit_temperature(z[2], prior, softmax_loss(y)), rel=0.01)


def test_offsets_only_for_what_is_missing(made):
    y, z, _ = made
    missing = np.zeros((80, 3), bool)
    missing[:, 1] = y == 2  # missingness that tells the class
    offset = fit_offsets(z[0], missing, softmax_loss(y), 1.0)
    assert (offset[[0, 2]] == 0).all() and offset[1].argmax() == 2
    assert softmax_loss(y)(z[0] + missing @ offset)[0].mean() < softmax_loss(y)(z[0])[0].mean()


def test_offsets_stay_only_where_they_serve_rows_that_did_not_fit_them():
    random = np.random.default_rng(0)
    y, z, chance = random.integers(0, 10, 300), np.zeros((300, 10)), random.random((300, 4)) < 0.6
    z[np.arange(300), y] = 2.0
    told = np.where(np.arange(4) == 0, (y == 3)[:, None], chance)
    of = lambda rows: softmax_loss(y[rows])  # noqa: E731
    assert (choose_offsets(z, chance, of, 0) == 0).all()
    assert (fit_offsets(z, chance, softmax_loss(y), 1.0) != 0).any()
    assert choose_offsets(z, told, of, 0)[0, 3] > 1
    assert (choose_offsets(z[:5], told[:5], of, 0) == 0).all()  # too few rows to choose by


def test_pairs_have_two_inputs_or_more():
    present = np.random.default_rng(0).integers(0, 16, 300)
    views = [v for v in range(16) if v.bit_count() >= 2]
    row, view = pairs(present, views, 15, 0)
    left = present[row] & view
    assert (np.bitwise_count(left) >= 2).all()
    assert set(np.flatnonzero(np.bitwise_count(present) >= 2)) == set(row)
    assert np.bincount(row).max() <= 4


def test_a_useless_joint_gets_little_weight(made):
    y, z, prior = made
    noise = log_softmax(np.random.default_rng(5).normal(size=(80, 3)) * 3)
    scores = Scores([{1: z[2]}, {2: z[1]}, {3: noise}], (1, 2, 3), (False, False, False), np.full(80, 3))
    pool = fit_pool(scores, prior, lambda rows: softmax_loss(y[rows]), 2, 0)
    w = pool.weights(3)
    assert w[2] * pool.temperature_E[2] < 0.15
    assert softmax_loss(y)(pool.add(scores, 3))[0].mean() <= min(softmax_loss(y)(z[k])[0].mean() for k in (1, 2))


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_has_its_own_slope_and_weights_count_rows(kind):
    random = np.random.default_rng(3)
    y = {"classify": random.integers(0, 3, 6), "regress": random.normal(size=6), "multilabel": random.integers(-1, 2, (6, 3))}[kind]
    z = random.normal(size=(6, 1 if kind == "regress" else 3))
    weight = np.array([1.0, 0.0, 2.0, 1.0, 1.0, 1.0])
    loss = weighted(LOSSES[kind](y), weight)
    for at in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[at] = 1e-6
        assert (loss(z + step)[0] - loss(z - step)[0]).sum() / 2e-6 == pytest.approx(loss(z)[1][at], abs=1e-6)
    twice = np.repeat(np.arange(6), weight.astype(int))
    assert loss(z)[0].mean() == pytest.approx(LOSSES[kind](y[twice])(z[twice])[0].mean())
