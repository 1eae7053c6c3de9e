"""Whether what two inputs hold is of one kind: the same word, object or person. Learnt from 'same' and 'other' alone.

B rows · P pairs of feature blocks, each of two inputs · F components · H partitions · K hidden classes of each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from scipy.special import expit, softmax
from torch import Tensor, nn

from xmodal.encoders.descriptor import blocks, fit_pca
from xmodal.experts.base import Data, Settings
from xmodal.experts.classic import Classic
from xmodal.experts.descriptors import Descriptor
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import CLASSIC
from xmodal.job import Budget, Key, Rows
from xmodal.training import seeded

COMPONENTS, PARTITIONS, HIDDEN = 40, 8, 16
STEPS, RATE, DECAY, DROPOUT = 150, 0.02, 0.1, 0.3
HELD, LEAST = 0.25, 0.05  # of the rows, to weigh pairs on; the weight below which a pair goes


Pair = tuple[tuple[Key, str], tuple[Key, str]]  # two blocks, each of an input


class Blocks(Descriptor):
    """Dense features of the same names as the classic extractor's: PCA of each by itself, mean variance 1."""

    extractor = CLASSIC

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Settings, seed: int) -> Fitted:
        """Of each block one affine map."""
        arrays = dict[str, np.ndarray]()
        for name in blocks(train):
            mean, components_FC, variance = fit_pca(replace(train, dense={name: train.dense[name]}, ragged={}), COMPONENTS, seed)
            scale = max(float(np.sqrt(variance.mean())), 1e-6)
            arrays |= {f"{name}.mean": mean.astype(np.float32), f"{name}.components": (components_FC / scale).astype(np.float32)}
        return Fitted({}, arrays)

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        a = fitted.arrays
        dense = {n: (np.asarray(column.dense[n], np.float32) - a[f"{n}.mean"]) @ a[f"{n}.components"] for n in blocks(column)}
        return replace(column, dense=dense, ragged={})


class Agreement(Classic):
    """For each pair of blocks of two inputs, hidden classes that both are sorted into, softly: p and q. The logit of a row is linear in
    p · q, the chance that the two fall into one class. (A bilinear form of the same size learns far less of it: rows that differ say
    little of how.) Several partitions of each pair are averaged; pairs are trained apart, then added with weights of at least 0 that are
    fitted on a quarter of the rows, and those that count are trained again on all. For two classes."""

    name: ClassVar[str] = "agreement"

    def reader(self, key: Key) -> type[Descriptor]:
        return Blocks

    def learn(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """Always `budget.epochs` steps, or STEPS."""
        steps = budget.epochs or STEPS
        y_B, weight_B = self.target(data, rows), self.weights(data, rows)
        self.arrays = {"classes": np.unique(y_B)}
        if len(self.arrays["classes"]) < 2:
            return steps
        held = [[(k, name) for name in blocks(self.described(data, k, rows))] for k in self.inputs]
        pairs: list[Pair] = [pair for one, other in combinations(held, 2) for pair in product(one, other)]
        x_PB, there_PB = self.pairs(data, rows, pairs)
        weight_PB = there_PB * (np.ones(len(rows)) if weight_B is None else weight_B)
        random = np.random.default_rng(seed)
        place_B = random.permutation(len(rows))
        place_B = place_B[np.argsort(y_B[place_B], kind="stable")]  # every fourth: of each class a quarter
        test = np.isin(np.arange(len(rows)), place_B[:: round(1 / HELD)])
        with seeded(seed, budget.threads):
            tried = train(x_PB, y_B, weight_PB * ~test, steps)
            use, self.arrays["bias"] = stack(np.where(there_PB, logits(tried, x_PB), 0)[:, test], y_B[test])
            kept = np.flatnonzero(use > LEAST)
            self.arrays["weight"] = use[kept]
            self.config = {"pairs": [" ".join(f"{list(self.inputs).index(k)} {name}" for k, name in pairs[p]) for p in kept]}
            if len(kept):
                again = (x_PB[0][kept], x_PB[1][kept])
                self.arrays |= train(again, y_B, weight_PB[kept], steps)
        return steps

    def pairs(
        self, data: Data, rows: Rows, pairs: Sequence[Pair], hide: frozenset[Key] = frozenset()
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Both sides, [P, B, F] each, 0 where one is missing; and where none is [P, B]."""
        found: Mapping[Key, FeatureColumn] = {k: self.described(data, k, rows, hide) for k in self.inputs}
        sides = tuple(np.stack([padded(found[k].pooled(name)) for k, name in side]) for side in zip(*pairs, strict=True))
        there_PB = np.logical_and(*(np.isfinite(x_PBF).all(2) for x_PBF in sides))
        return tuple(np.where(there_PB[..., None], x_PBF, 0) for x_PBF in sides), there_PB

    def score(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> np.ndarray:
        if len(self.arrays["classes"]) < 2:
            return self.spread(np.ones((len(rows), 1)))
        keys, said = list(self.inputs), [pair.split(" ") for pair in cast(list[str], self.config["pairs"])]
        pairs = [((keys[int(i)], one), (keys[int(j)], other)) for i, one, j, other in said]
        z_B = np.full(len(rows), float(self.arrays["bias"][0]))
        if pairs:
            x_PB, there_PB = self.pairs(data, rows, pairs, hide)
            z_B = z_B + self.arrays["weight"] @ np.where(there_PB, logits(self.arrays, x_PB), 0)
        return np.stack([expit(-z_B), expit(z_B)], 1)


def padded(x_BF: np.ndarray) -> np.ndarray:
    """All blocks have as many components."""
    return np.pad(x_BF, ((0, 0), (0, COMPONENTS - x_BF.shape[1])))


def train(x_PB: tuple[np.ndarray, ...], y_B: np.ndarray, weight_PB: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """The parameters of all pairs, each of which has its own loss."""
    count, size = len(weight_PB), PARTITIONS * HIDDEN
    sides = [torch.from_numpy(x_PBF).float() for x_PBF in x_PB]
    maps = [nn.Parameter((2 * torch.rand(count, COMPONENTS, size) - 1) * COMPONENTS**-0.5) for _ in sides]
    shifts = [nn.Parameter(torch.zeros(count, 1, size)) for _ in sides]
    line = nn.Parameter(torch.tensor([[4.0], [-2.0]]).repeat(1, count))
    y_PBH = torch.from_numpy(y_B).float()[None, :, None].expand(count, -1, PARTITIONS)
    weight_PB1 = torch.from_numpy(weight_PB / np.maximum(weight_PB.sum(1, keepdims=True), 1)).float()[..., None]
    optimiser = torch.optim.AdamW([*maps, *shifts, line], RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        z_PBS = [F.dropout(x, DROPOUT) @ m + s for x, m, s in zip(sides, maps, shifts, strict=True)]
        p, q = (z.view(*z.shape[:2], PARTITIONS, HIDDEN).softmax(3) for z in z_PBS)
        same_PBH: Tensor = (p * q).sum(3)
        z_PBH = line[0][:, None, None] * same_PBH + line[1][:, None, None]
        loss = (F.binary_cross_entropy_with_logits(z_PBH, y_PBH, reduction="none") * weight_PB1).sum() / PARTITIONS
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    names = {"map0": maps[0], "map1": maps[1], "shift0": shifts[0], "shift1": shifts[1], "line": line}
    return {name: value.detach().numpy() for name, value in names.items()}


def logits(arrays: Mapping[str, np.ndarray], x_PB: tuple[np.ndarray, ...]) -> np.ndarray:
    """Of each pair the logit of the mean chance over its partitions, [P, B]."""
    parts = []
    for side, x_PBF in enumerate(x_PB):
        z = x_PBF @ arrays[f"map{side}"].astype(np.float64) + arrays[f"shift{side}"]
        parts.append(softmax(z.reshape(*z.shape[:2], PARTITIONS, HIDDEN), 3))
    slope_P, shift_P = arrays["line"].astype(np.float64)
    chance_PB = expit(slope_P[:, None, None] * (parts[0] * parts[1]).sum(3) + shift_P[:, None, None]).mean(2).clip(1e-3, 1 - 1e-3)
    return np.asarray(np.log(chance_PB / (1 - chance_PB)))


def stack(z_PB: np.ndarray, y_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of at least 0 [P] and a bias, by penalised log-loss."""
    sign_B, count = 2 * y_B - 1, len(z_PB)

    def loss(w: np.ndarray) -> float:
        return float(np.logaddexp(0, -sign_B * (w[:-1] @ z_PB + w[-1])).mean() + (w[:-1] ** 2).sum() / len(y_B))

    found = minimize(loss, np.append(np.full(count, 0.1), 0.0), bounds=[(0, None)] * count + [(None, None)]).x
    return found[:-1], found[-1:]
