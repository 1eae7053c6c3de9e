"""What reads vectors in order: a BiLSTM and a Transformer over [U, L, D], and encoders of sequences that are built of them.

U cells · L places · T steps · P steps a place · D width
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xmodal.attention import Block
from xmodal.batch import uniform
from xmodal.encoders.base import Encoder, number, present
from xmodal.encoders.descriptor import MOST
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import Json
from xmodal.tokens import Tokens

PLACES = 64  # tokens of the longest training sequence: more cost a fusion time


class BiLstm(nn.Module):
    """Two LSTMs (Hochreiter & Schmidhuber 1997), one of them over each cell turned around within its own length: that needs no packing,
    at half its cost."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.there, self.back = (nn.LSTM(width, (width + i) // 2, batch_first=True) for i in (0, 1))

    def forward(self, x_ULD: Float[Tensor, "U L D"], length_U: Int[Tensor, "U"]) -> Float[Tensor, "U L D"]:
        """What comes out behind a cell's length means nothing."""
        reverse_UL = (length_U[:, None] - 1 - places(x_ULD)).clamp(min=0)
        return torch.cat([self.there(x_ULD)[0], reorder(self.back(reorder(x_ULD, reverse_UL))[0], reverse_UL)], -1)


class Attentive(nn.Module):
    """Two Transformer blocks over places with sines of their number (Vaswani et al. 2017), those behind a cell's length masked."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(width), Block(width)])

    def forward(self, x_ULD: Float[Tensor, "U L D"], length_U: Int[Tensor, "U"]) -> Float[Tensor, "U L D"]:
        """What comes out behind a cell's length means nothing."""
        width, mask_UL = x_ULD.shape[2], places(x_ULD) < length_U[:, None]
        rate = 1e4 ** -(torch.arange(0, width, 2, device=x_ULD.device) / width)
        angle_LH = places(x_ULD)[:, None] * rate
        x_ULD = (x_ULD + torch.cat([angle_LH.sin(), angle_LH.cos()], 1)[:, :width]) * mask_UL[..., None]
        for block in self.blocks:
            x_ULD = block(x_ULD, mask_UL)
        return x_ULD


def places(x_ULD: Float[Tensor, "U L D"]) -> Int[Tensor, "L"]:
    """0, 1, … L - 1."""
    return torch.arange(x_ULD.shape[1], device=x_ULD.device)


def reorder(x_ULD: Float[Tensor, "U L D"], place_UL: Int[Tensor, "U L"]) -> Float[Tensor, "U L D"]:
    """Each cell's vectors in another order."""
    return x_ULD.gather(1, place_UL[..., None].expand_as(x_ULD))


def in_order(x_ULD: Float[Tensor, "U L D"], length_U: Int[Tensor, "U"], step: int = 1) -> Tokens:
    """Tokens at places that are so many steps apart."""
    place_L = places(x_ULD)
    position_UL3 = torch.stack([step * place_L, 0 * place_L, 0 * place_L], -1).expand(len(length_U), -1, -1)
    return replace(present(x_ULD, place_L < length_U[:, None]), position_BN3=position_UL3.float())


class Recurrent(Encoder):
    """A BiLSTM over sequences: a token some steps, so that the longest training sequence has 64 (patches as in Nie et al. 2023), with its
    place in time."""

    modality = frozenset({"sequence"})
    kind = "raw"
    extractor: ClassVar[Mapping[str, Extractor]] = {"sequence": EXTRACTORS["steps"]()}
    reader: ClassVar[type[nn.Module]] = BiLstm

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """Mean and deviation of each value over all steps, gaps left out; steps a token."""
        steps, ends = train.ragged["steps"]
        x_TD = np.asarray(steps, np.float64)
        count_D, none_TD = (~np.isnan(x_TD)).sum(0).clip(1), np.isnan(x_TD)
        mean_D = np.where(none_TD, 0, x_TD).sum(0) / count_D
        deviation_D = np.sqrt((np.where(none_TD, 0, x_TD - mean_D) ** 2).sum(0) / count_D)
        patch = int(-(-np.diff(ends).max(initial=1) // PLACES))
        scale_D = np.where(deviation_D > 1e-6 * np.abs(mean_D), 1 / np.maximum(deviation_D, 1e-30), 0.0)
        return Fitted({"patch": patch}, {"mean": np.where(scale_D > 0, mean_D, 0), "scale": scale_D})  # a value told once is none to keep

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        """Standardised `steps`; a gap is the mean."""
        (steps, ends), length_U = column.ragged["steps"], np.asarray(column.dense["length"])
        x_TD = np.nan_to_num((np.asarray(steps, np.float64) - fitted.arrays["mean"]) * fitted.arrays["scale"])
        x_TD = x_TD.clip(-MOST, MOST).astype(np.float32)
        unread_U2 = np.stack([length_U, length_U - np.diff(ends)], 1)
        return replace(column, dense={"unread": unread_U2}, ragged={"steps": (x_TD, ends)})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.patch = int(number(fitted.config["patch"]))
        self.linear, self.dropout = nn.Linear(self.patch * len(fitted.arrays["mean"]), width), nn.Dropout(0.1)
        self.read, self.norm = self.reader(width), nn.LayerNorm(width)

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """Up to 10 % larger or smaller."""
        gain_U = torch.from_numpy(1 + 0.1 * strength * (2 * uniform(0, 0, seed_U.cpu().numpy()) - 1)).float().to(x["steps"].device)
        return {**x, "steps": x["steps"] * gain_U[:, None, None]}

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        steps_UTD = nn.functional.pad(x["steps"], (0, 0, 0, -x["steps"].shape[1] % self.patch))
        length_U = (x["steps_length"] + self.patch - 1) // self.patch
        x_ULD = self.linear(steps_UTD.reshape(len(steps_UTD), steps_UTD.shape[1] // self.patch, -1))
        return in_order(self.norm(self.read(self.dropout(x_ULD), length_U)), length_U, self.patch)


class Transformer(Recurrent):
    """A Transformer over sequences: a token some steps, so that the longest training sequence has 64, with its place in time."""

    reader = Attentive
