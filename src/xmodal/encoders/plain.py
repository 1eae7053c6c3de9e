"""Numbers, categories and dates of one group, a token and a mask a column: one vectorised encoder, not one a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xmodal.encoders.base import Encoder, present
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.job import Json
from xmodal.tokens import Tokens

BINS = 16
PERIODS = np.array([86_400.0, 7 * 86_400.0, 365.2425 * 86_400.0])  # day, week, year in seconds


class Plain(Encoder):
    """Prepared `number` [U, Pn]: the place among the training quantiles, NaN where missing; `category` [U, Pc]: a row of
    one table, 0 where missing; `date` [U, Pd, 7]: place in the training span, sine and cosine of day, week and year."""

    modality = frozenset({"table"})
    kind = "descriptor"  # and of raw networks: nothing here memorises
    bin: Tensor

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """Quantiles, categories seen at least twice (rarer ones teach the row of unknown ones), the span of dates. `settings`: private."""
        private = bool(settings.get("private"))
        number, date = ([quantiles(x_U, private) for x_U in np.asarray(train.dense[n], float).T] for n in ("number", "date"))
        known = [np.sort(frequent(x_U)) for x_U in np.asarray(train.dense["category"]).T]
        arrays = {
            "edges": np.array(number, np.float64).reshape(-1, BINS + 1),
            "known": np.concatenate([np.zeros(0, np.uint64), *known]),
            "known_count": np.array([len(k) for k in known], np.int64),
            "span": np.array(date, np.float64).reshape(-1, BINS + 1)[:, [0, -1]],
        }
        return Fitted({}, arrays)

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        number, category, date = (np.asarray(column.dense[name]) for name in ("number", "category", "date"))
        dense = {
            "number": place(number.astype(float), fitted.arrays["edges"]).astype(np.float32),
            "category": lookup(category, fitted.arrays["known"], fitted.arrays["known_count"]),
            "date": cycles(date.astype(float), fitted.arrays["span"]).astype(np.float32),
        }
        return replace(column, dense=dense, ragged={})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        numbers, dates = len(fitted.arrays["edges"]), len(fitted.arrays["span"])
        categories = len(fitted.arrays["known_count"])
        values = numbers + dates
        self.weight = nn.Parameter(torch.randn(values, BINS, width) * BINS**-0.5) if values else None
        rows = 1 + categories + len(fitted.arrays["known"])
        self.table = nn.Embedding(rows, width, padding_idx=0) if categories else None
        self.bias = nn.Parameter(torch.randn(values + categories, width) * 0.1)
        self.dropout, self.norm = nn.Dropout(0.1), nn.LayerNorm(width)
        self.register_buffer("bin", torch.arange(BINS, dtype=torch.float32), persistent=False)

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        parts, masks = [], []
        if self.weight is not None:
            ramp_UPT = (x["number"][..., None] - self.bin).clamp(0, 1)
            value_UPT = torch.cat([ramp_UPT, F.pad(x["date"], (0, BINS - x["date"].shape[-1]))], 1)
            masks.append(~value_UPT[..., 0].isnan())
            parts.append(torch.einsum("upt,ptd->upd", value_UPT.nan_to_num(), self.weight))
        if self.table is not None:
            masks.append(x["category"] > 0)
            parts.append(self.table(x["category"]))
        y_UPD = self.norm(self.dropout(torch.cat(parts, 1) + self.bias))
        return present(y_UPD, torch.cat(masks, 1))


def quantiles(x_U: np.ndarray, private: bool = False) -> np.ndarray:
    """The distinct quantiles of the finite values, BINS + 1 edges, filled up with the last (0 where there is no value). Values
    that differ by rounding alone are one: its noise must not fill the bins. `private`: of the means of each three neighbours, as
    many quantiles are cells, the least and the greatest always."""
    x_U = x_U[np.isfinite(x_U)]
    if private:
        low_U, *others = (np.sort(x_U)[i : max(len(x_U) - 2 + i, 0)] for i in range(3))
        x_U = low_U + sum(x - low_U for x in others) / 3  # of equal values exactly that value
    x_U = x_U[:1] if len(x_U) and np.ptp(x_U) <= 1e-12 * np.abs(x_U).max() else x_U
    edges = np.unique(np.quantile(x_U, np.linspace(0, 1, BINS + 1))) if len(x_U) else np.zeros(1)
    return np.pad(edges, (0, BINS + 1 - len(edges)), mode="edge")


def place(x_UP: np.ndarray, edges_PE: np.ndarray) -> np.ndarray:
    """Piecewise-linear encoding (Gorishniy et al. 2022, eq. 1) as one number: t + (x - b_t) / (b_t+1 - b_t) between edges
    t and t + 1, from which clamp(place - t, 0, 1) is bin t. Unlike there, the outer bins end at the training range."""
    x_UP = np.clip(x_UP, edges_PE[:, 0], edges_PE[:, -1])
    inner_PE = np.where(edges_PE < edges_PE[:, -1:], edges_PE, np.inf)[:, 1:-1]  # what fills up is no edge
    bin_UP = (x_UP[..., None] >= inner_PE).sum(-1)
    low_UP, high_UP = (edges_PE[np.arange(len(edges_PE)), bin_UP + i] for i in (0, 1))
    return np.asarray(bin_UP + (x_UP - low_UP) / np.where(high_UP > low_UP, high_UP - low_UP, 1.0))


def frequent(x_U: np.ndarray) -> np.ndarray:
    """The categories that occur at least twice, the most frequent first."""
    value, count = np.unique(x_U[x_U != 0], return_counts=True)
    first = np.argsort(-count, kind="stable")
    return np.asarray(value[first][count[first] > 1])


def lookup(x_UP: np.ndarray, known: np.ndarray, count_P: np.ndarray) -> np.ndarray:
    """Rows of the table: 0 missing; then of each column one for the unknown and one a known category."""
    out_UP = np.zeros(x_UP.shape, np.int64)
    ends = np.cumsum(count_P)
    for p, (end, count) in enumerate(zip(ends, count_P, strict=True)):
        mine, x_U = known[end - count : end], x_UP[:, p]
        at_U = np.searchsorted(mine, x_U)
        hit_U = np.isin(x_U, mine)
        out_UP[:, p] = np.where(x_U == 0, 0, 1 + end - count + p + np.where(hit_U, 1 + at_U, 0))
    return out_UP


def cycles(x_UP: np.ndarray, span_P2: np.ndarray) -> np.ndarray:
    """Seconds -> place in the training span (within 0..1), sine and cosine of each period."""
    low_P, high_P = span_P2.T
    trend_UP = np.clip((x_UP - low_P) / np.maximum(high_P - low_P, 1.0), 0, 1)
    angle_UP3 = 2 * np.pi * x_UP[..., None] / PERIODS
    return np.concatenate([trend_UP[..., None], np.sin(angle_UP3), np.cos(angle_UP3)], -1)
