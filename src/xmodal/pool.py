"""How experts are added: temperatures, weights by set of present inputs, offsets of missing ones.

    z(S) = prior + sum over experts e usable in S of w_e(S) t_e (z_e - prior) + sum over missing inputs m of o_m

Q scored rows · E experts · C classes · M inputs. A set of inputs is an integer, bit m for input m.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize, minimize_scalar

PENALTIES, FOLDS = (np.inf, 10.0, 1.0), 5  # of the offsets, in order of trust; what chooses among them
SETS = 6  # weights for every set of inputs up to so many of them
Loss = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # z [Q, C] -> loss [Q], its gradient [Q, C]


def softmax_loss(y_Q: np.ndarray) -> Loss:
    """Log-loss of the softmax of z."""
    at = np.arange(len(y_Q))

    def loss(z_QC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shifted = z_QC - z_QC.max(1, keepdims=True)
        p_QC = np.exp(shifted)
        total = p_QC.sum(1, keepdims=True)
        p_QC /= total
        loss_Q = np.log(total[:, 0]) - shifted[at, y_Q]
        p_QC[at, y_Q] -= 1
        return loss_Q, p_QC

    return loss


def square_loss(y_Q: np.ndarray) -> Loss:
    """Squared error of z against the standardised target."""
    return lambda z_QC: ((z_QC[:, 0] - y_Q) ** 2, 2 * (z_QC - y_Q[:, None]))


def label_loss(y_QL: np.ndarray) -> Loss:
    """Mean binary log-loss of the logits z over a row's labelled labels (-1: not)."""
    known_QL = (y_QL >= 0) / np.maximum((y_QL >= 0).sum(1, keepdims=True), 1)

    def loss(z_QL: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loss_QL = np.logaddexp(0, z_QL) - np.maximum(y_QL, 0) * z_QL
        return (known_QL * loss_QL).sum(1), known_QL * (1 / (1 + np.exp(-np.clip(z_QL, -500, 500))) - y_QL)

    return loss


def weighted(loss: Loss, weight_Q: np.ndarray) -> Loss:
    """Rows that count differently: their mean weight is 1."""
    share_Q = weight_Q / max(float(weight_Q.mean()), 1e-12) if len(weight_Q) else weight_Q

    def scaled(z_QC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loss_Q, slope_QC = loss(z_QC)
        return loss_Q * share_Q, slope_QC * share_Q[:, None]

    return scaled


LOSSES: dict[str, Callable[[np.ndarray], Loss]] = {"classify": softmax_loss, "regress": square_loss, "multilabel": label_loss}


@dataclass(frozen=True)
class Scores:
    """What the experts said of Q rows. `z[e][view]`: [Q, C], as if only the inputs in `view` were there; a single's only
    view is its own input. `reads` [E]: which inputs each expert reads; one bit: a single. A residual one says the prior
    plus what it adds to the others."""

    z: list[dict[int, np.ndarray]]
    reads: tuple[int, ...]
    residual: tuple[bool, ...]
    present_Q: np.ndarray  # the set each row has

    def at(self, e: int, view: int) -> np.ndarray:
        """Expert e's z under a view."""
        return self.z[e][self.reads[e] if self.reads[e].bit_count() == 1 else view]


@dataclass(frozen=True)
class Pool:
    """The numbers of the sum."""

    prior_C: np.ndarray
    reads: tuple[int, ...]
    temperature_E: np.ndarray
    weight_E: np.ndarray
    by_set: Mapping[int, np.ndarray]
    offset_MC: np.ndarray

    @property
    def least(self) -> int:
        """How many inputs must be there for a joint."""
        return 2 if any(bits.bit_count() == 1 for bits in self.reads) else 1

    def weights(self, present: int) -> np.ndarray:
        """w(S), [E]: one input present, its singles alone count; none, nothing does. A joint is usable where two of its inputs
        are there, and without any single everywhere."""
        reads_E = np.array(self.reads, np.int64)
        single_E = np.bitwise_count(reads_E) == 1
        if present.bit_count() <= 1 and single_E.any():
            mine_E = single_E & (reads_E == present)
            return np.asarray(self.by_set.get(present, 1 / max(mine_E.sum(), 1)) * mine_E)
        usable_E = np.bitwise_count(reads_E & present) >= np.where(single_E, 1, self.least)
        return np.asarray(self.by_set.get(present, self.weight_E) * usable_E)

    def calibrated(self, scores: Scores, e: int, view: int) -> np.ndarray:
        """z'_e = t_e (z_e - prior), [Q, C]."""
        return np.asarray(self.temperature_E[e] * (scores.at(e, view) - self.prior_C))

    def add(self, scores: Scores, view: int) -> np.ndarray:
        """z(S), [Q, C], as if only the inputs in `view` were there. A hidden cell is not a missing one."""
        present_Q, inputs = scores.present_Q & view, len(self.offset_MC)
        missing_QM = absent(scores.present_Q, inputs) & ~absent(np.array([view]), inputs)
        z_QC = self.prior_C + missing_QM @ self.offset_MC
        for present in np.unique(present_Q):
            rows = np.flatnonzero(present_Q == present)
            for e, weight in enumerate(self.weights(int(present))):
                if weight:
                    z_QC[rows] += weight * self.calibrated(scores, e, view)[rows]
        return np.asarray(z_QC)


def absent(present_Q: np.ndarray, inputs: int) -> np.ndarray:
    """[Q, M] which inputs a row's set lacks."""
    return np.asarray((present_Q[:, None] >> np.arange(inputs)) & 1 == 0)


def fit_temperature(z_QC: np.ndarray, prior_C: np.ndarray, loss: Loss) -> float:
    """The t > 0 that minimises the mean loss of prior + t (z - prior)."""
    if not len(z_QC):
        return 1.0
    found = minimize_scalar(lambda t: loss(prior_C + np.exp(t) * (z_QC - prior_C))[0].mean(), bounds=(-3.0, 1.5), method="bounded")
    return float(np.exp(found.x))


def fit_weights(a_EQC: np.ndarray, base_C: np.ndarray, loss: Loss, centre_E: np.ndarray, strength: float) -> np.ndarray:
    """w >= 0 minimising mean loss(base + sum of w_e a_e) + strength |w - centre|²; convex, by L-BFGS-B."""

    def objective(w_E: np.ndarray) -> tuple[float, np.ndarray]:
        loss_Q, slope_QC = loss(base_C + np.tensordot(w_E, a_EQC, 1))
        slope_E = np.tensordot(a_EQC, slope_QC, ([1, 2], [0, 1])) / len(loss_Q)
        return loss_Q.mean() + strength * ((w_E - centre_E) ** 2).sum(), slope_E + 2 * strength * (w_E - centre_E)

    found = minimize(objective, centre_E, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(centre_E))
    return np.asarray(found.x)


def choose_offsets(z_QC: np.ndarray, missing_QM: np.ndarray, loss_of: Callable[[np.ndarray], Loss], seed: int) -> np.ndarray:
    """The offsets of the penalty that serves held-out rows best, or none: of many classes and few rows they learn noise."""
    every, fold_Q = np.arange(len(z_QC)), np.random.default_rng(seed).permutation(len(z_QC)) % FOLDS
    if not missing_QM.any() or len(z_QC) < 2 * FOLDS:
        return fit_offsets(z_QC, missing_QM, loss_of(every), PENALTIES[0])
    found = []
    for penalty in PENALTIES:
        z_after_QC = z_QC.copy()
        for fold in range(FOLDS):
            rows = np.flatnonzero(fold_Q != fold)
            offset_MC = fit_offsets(z_QC[rows], missing_QM[rows], loss_of(rows), penalty)
            z_after_QC[fold_Q == fold] += missing_QM[fold_Q == fold] @ offset_MC
        found.append(loss_of(every)(z_after_QC)[0].mean())
    return fit_offsets(z_QC, missing_QM, loss_of(every), PENALTIES[int(np.argmin(found))])


def fit_offsets(z_QC: np.ndarray, missing_QM: np.ndarray, loss: Loss, penalty: float) -> np.ndarray:
    """o [M, C] minimising mean loss(z + missing @ o) + penalty |o|² / Q, for inputs with missing cells; others stay 0."""
    at = np.flatnonzero(missing_QM.any(0))
    shape = (len(at), z_QC.shape[1])
    offset_MC, x_Qm = np.zeros((missing_QM.shape[1], z_QC.shape[1])), missing_QM[:, at].astype(float)
    if not len(at) or penalty == np.inf:
        return offset_MC

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss_Q, slope_QC = loss(z_QC + x_Qm @ flat.reshape(shape))
        slope = (x_Qm.T @ slope_QC).ravel() / len(z_QC)
        return loss_Q.mean() + penalty * (flat**2).sum() / len(z_QC), slope + 2 * penalty * flat / len(z_QC)

    offset_MC[at] = minimize(objective, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B").x.reshape(shape)
    return offset_MC


def fit_pool(scores: Scores, prior_C: np.ndarray, loss_of: Callable[[np.ndarray], Loss], inputs: int, seed: int) -> Pool:
    """Temperatures, then weights over each row's own set and 3 random ones, then weights a set, then offsets.

    `loss_of(rows)` gives the loss of z at those scored rows."""
    full, count = 2**inputs - 1, len(scores.z)
    temperature_E = np.ones(count)
    for e in range(count):
        rows = np.flatnonzero(np.bitwise_count(scores.present_Q & scores.reads[e]) >= min(scores.reads[e].bit_count(), 2))
        if not scores.residual[e]:
            temperature_E[e] = fit_temperature(scores.at(e, full)[rows], prior_C, loss_of(rows))
    pool = Pool(prior_C, scores.reads, temperature_E, np.ones(count), {}, np.zeros((inputs, len(prior_C))))
    pool = replace(pool, by_set=weigh_singles(pool, scores, loss_of))
    row_P, view_P = pairs(scores.present_Q, sorted({v for z in scores.z for v in z if v.bit_count() > 1}), full, seed)
    if len(row_P):
        weight_E, by_set = weigh(pool, scores, row_P, view_P, loss_of, inputs <= SETS)
        pool = replace(pool, weight_E=weight_E, by_set={**pool.by_set, **by_set})
    missing_QM = absent(scores.present_Q, inputs)
    return replace(pool, offset_MC=choose_offsets(pool.add(scores, full), missing_QM, loss_of, seed))


def pairs(present_Q: np.ndarray, views: list[int], full: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, view): each row under all it has and under 3 random views that leave it two inputs or more."""
    random = np.random.default_rng(seed)
    view_V = np.array([v for v in views if v != full], np.int64)
    whole = np.flatnonzero(np.bitwise_count(present_Q) >= 2)
    left_QV = present_Q[:, None] & view_V
    fit_QV = (np.bitwise_count(left_QV) >= 2) & (left_QV != present_Q[:, None])
    draw_QV = np.where(fit_QV, random.random(fit_QV.shape), -1.0)
    best_Q3 = np.argsort(-draw_QV, 1)[:, :3]
    ok_Q3 = np.take_along_axis(draw_QV, best_Q3, 1) >= 0
    return np.append(whole, np.nonzero(ok_Q3)[0]), np.append(np.full(len(whole), full), view_V[best_Q3[ok_Q3]])


def weigh_singles(pool: Pool, scores: Scores, loss_of: Callable[[np.ndarray], Loss]) -> dict[int, np.ndarray]:
    """w(S) of each single input that several experts read."""
    by_set = {}
    for bits in {b for b in scores.reads if b.bit_count() == 1 and scores.reads.count(b) > 1}:
        mine, rows = np.flatnonzero(np.array(scores.reads) == bits), np.flatnonzero(scores.present_Q & bits)
        if len(rows):
            a_EQC = np.stack([pool.calibrated(scores, e, bits)[rows] for e in mine.tolist()])
            by_set[bits] = np.zeros(len(scores.z))
            by_set[bits][mine] = fit_weights(a_EQC, pool.prior_C, loss_of(rows), np.full(len(mine), 1 / len(mine)), 3 / len(rows))
    return by_set


def weigh(
    pool: Pool, scores: Scores, row_P: np.ndarray, view_P: np.ndarray, loss_of: Callable[[np.ndarray], Loss], by_sets: bool
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """w [E] and, where asked for, w(S). `pool` weighs every usable expert 1."""
    count, set_P = len(scores.z), scores.present_Q[row_P] & view_P
    a_EPC = np.zeros((count, len(row_P), len(pool.prior_C)))
    sets, which_P = np.unique(set_P, return_inverse=True)
    use_PE = np.stack([pool.weights(int(s)) for s in sets])[which_P]
    for view in np.unique(view_P):
        at = np.flatnonzero(view_P == view)
        for e in range(count):
            a_EPC[e, at] = pool.calibrated(scores, e, int(view))[row_P[at]] * use_PE[at, e, None]
    weight_E = fit_weights(a_EPC, pool.prior_C, loss_of(row_P), np.full(count, 0.5), 3 / len(row_P))
    by_set = {}
    for s, present in enumerate(sets if by_sets else ()):
        at = np.flatnonzero(which_P == s)
        by_set[int(present)] = fit_weights(a_EPC[:, at], pool.prior_C, loss_of(row_P[at]), weight_E, 30 / len(at))
    return weight_E, by_set
