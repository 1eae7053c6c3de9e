"""A small residual CNN over log-mel frames, from scratch. U cells · L frames · F bands · C channels · N tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from xmodal.batch import uniform
from xmodal.encoders.base import Encoder, number, present
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import Json
from xmodal.modality.spectrum import RANGE, RATE, hertz, mel
from xmodal.tokens import Tokens

LENGTH = 512  # frames that nearly all sounds of a column have at most: where they are longer, some at a time are averaged
TOKENS = 4
NOISE = 5.0  # added in training, in logarithms of energy over what is taken for noise (22 dB), at most
TRACT, PACE = 0.15, 0.2  # how far the length of the vocal tract and the pace are changed
HIDDEN = 0.2  # of bands and of frames, at most


class CellNorm(nn.Module):
    """By the root mean square (Zhang and Sennrich, 2019) over what is there of a cell, all channels together: quiet places stay quiet, and
    padding has no part in it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x_UCLF: Float[Tensor, "U C L F"], mask_UL: Bool[Tensor, "U L"]) -> Float[Tensor, "U C L F"]:
        x_UCLF = shown(x_UCLF, mask_UL)
        count_U = mask_UL.sum(1).clamp(min=1) * x_UCLF.shape[1] * x_UCLF.shape[3]
        scale_U = (x_UCLF.square().sum((1, 2, 3)) / count_U + 1e-5).rsqrt()
        return x_UCLF * (scale_U[:, None] * self.gain)[..., None, None] + self.bias[:, None, None]


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, normalised by cell: padding has no part in it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm_first, self.norm_second = CellNorm(outputs), CellNorm(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x_UCLF: Float[Tensor, "U c l f"], mask_UL: Bool[Tensor, "U L"]) -> Float[Tensor, "U C L F"]:
        y_UCLF = shown(F.relu(self.norm_first(self.first(x_UCLF), mask_UL)), mask_UL)
        return shown(F.relu(self.norm_second(self.second(y_UCLF), mask_UL) + self.shortcut(x_UCLF)), mask_UL)


def shown(x_UCLF: Float[Tensor, "U C L F"], mask_UL: Bool[Tensor, "U L"]) -> Float[Tensor, "U C L F"]:
    """0 where there is no frame."""
    return x_UCLF * mask_UL[:, None, :, None]


class Acoustic(Encoder):
    """Four tokens along the time. Bands are never pooled: where energy lies is what tells sounds apart (pooled, digits of a voice that was
    not in training are known half as often). What a sound has all the time, its microphone and its room, is taken off."""

    modality = frozenset({"audio"})
    kind = "raw"
    extractor: ClassVar[Mapping[str, Extractor]] = {"audio": EXTRACTORS["logmel"]()}

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """How many frames are averaged, and the deviation of what is left when each sound's means are taken off."""
        values, offsets = train.ragged["logmel"]
        step = int(np.ceil(np.quantile(np.diff(offsets), 0.95) / LENGTH)) if len(offsets) > 1 else 1
        x = [np.asarray(values[low:high], np.float32) for low, high in pairwise(offsets[:501])]
        left = [(y := np.maximum(one, one.max() - RANGE)) - y.mean(0) for one in x]
        deviation = float(np.concatenate(left).std()) if left else 1.0
        return Fitted({"step": max(step, 1), "bands": values.shape[1], "deviation": max(deviation, 0.1)})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        (values, offsets), step = column.ragged["logmel"], int(number(fitted.config["step"]))
        if step > 1 and len(values):
            at = np.concatenate([np.arange(low, high, step) for low, high in pairwise(offsets)])
            sums = np.add.reduceat(np.asarray(values, np.float32), at)
            values = (sums / np.diff(np.append(at, offsets[-1]))[:, None]).astype(np.float16)
            offsets = np.append(0, np.cumsum(-(-np.diff(offsets) // step)))
        return replace(column, dense={}, ragged={"logmel": (values, offsets)})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.bands, self.scale = int(number(fitted.config["bands"])), 1 / number(fitted.config["deviation"])
        self.stem, self.norm_stem = nn.Conv2d(1, 16, 5, 2, 2, bias=False), CellNorm(16)
        self.stages = nn.ModuleList([Residual(16, 24, 2), Residual(24, 48, 2)])
        self.dropout, self.linear = nn.Dropout(0.3), nn.Linear(48 * -(-self.bands // 8), width)
        self.place, self.norm = nn.Parameter(torch.randn(TOKENS, width) * 0.1), nn.LayerNorm(width)

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """A longer or shorter vocal tract (Jaitly and Hinton, 2013), another pace, louder noise, hidden bands and frames (SpecAugment, Park
        et al., 2019)."""
        x_ULF, length_U, seeds = x["logmel"].float(), x["logmel_length"], seed_U.cpu().numpy()
        draw_7U = torch.from_numpy(np.stack([uniform(0, salt, seeds) for salt in range(7)])).to(x_ULF)
        tract_U, pace_U = (1 + strength * size * (2 * draw_U - 1) for size, draw_U in zip((TRACT, PACE), draw_7U[:2], strict=True))
        x_ULF = between(x_ULF, self.warped(tract_U)[:, None].expand_as(x_ULF), 2)
        at_L = torch.arange(int(x_ULF.shape[1] * (1 + PACE)) + 1, device=x_ULF.device)
        place_UL = (at_L / pace_U[:, None]).minimum((length_U - 1).clamp(min=0)[:, None])
        x_ULF = between(x_ULF, place_UL[..., None].expand(-1, -1, self.bands), 1)
        length_U = (length_U * pace_U).round().long().clamp(min=1) * (length_U > 0)
        mask_UL = at_L < length_U[:, None]
        if strength:
            x_ULF = torch.logaddexp(x_ULF, softest(x_ULF, mask_UL) + (strength * NOISE * draw_7U[2] ** 2)[:, None, None])
        off_UF = stretch(torch.arange(self.bands).to(at_L), strength * draw_7U[3] * HIDDEN * self.bands, draw_7U[4] * self.bands)
        off_UL = stretch(at_L, strength * draw_7U[5] * HIDDEN * length_U, draw_7U[6] * length_U)
        x_ULF = torch.where(off_UF[:, None] | off_UL[..., None], means(x_ULF, mask_UL)[:, None], x_ULF) * mask_UL[..., None]
        return {"logmel": x_ULF, "logmel_length": length_U}

    def warped(self, factor_U: Float[Tensor, "U"]) -> Float[Tensor, "U F"]:
        """Which place among the bands each band is taken from, when frequencies are stretched."""
        width = mel(np.array(RATE / 2)) / (self.bands + 1)
        centre_F = torch.from_numpy(hertz(width * np.arange(1, self.bands + 1))).to(factor_U)
        return (torch.from_numpy(mel((centre_F * factor_U[:, None]).cpu().numpy())).to(factor_U) / float(width) - 1).clamp(
            0, self.bands - 1
        )

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        x_ULF, length_U = x["logmel"].float(), x["logmel_length"]
        mask_UL = torch.arange(x_ULF.shape[1], device=x_ULF.device) < length_U[:, None]
        x_ULF = x_ULF.maximum(softest(x_ULF, mask_UL))
        y_UCLF = ((x_ULF - means(x_ULF, mask_UL)[:, None]) * self.scale * mask_UL[..., None])[:, None]
        mask_UL = mask_UL[:, ::2]
        y_UCLF = shown(F.relu(self.norm_stem(self.stem(y_UCLF.to(memory_format=torch.channels_last)), mask_UL)), mask_UL)
        for stage in self.stages:
            mask_UL = mask_UL[:, ::2]
            y_UCLF = stage(y_UCLF, mask_UL)
        y_ULD = self.linear(self.dropout(y_UCLF.permute(0, 2, 1, 3).flatten(2)))
        y_UND = parts(mask_UL.sum(1), y_ULD.shape[1]) @ y_ULD
        tokens = present(self.norm(y_UND + self.place))
        time_N = (torch.arange(TOKENS, device=y_UND.device) + 0.5) / TOKENS
        position_N3 = torch.stack([time_N, 0 * time_N, 0 * time_N], -1)
        return replace(tokens, position_BN3=position_N3.expand(len(y_UND), -1, -1))


def between(x: Tensor, place: Tensor, dim: int) -> Tensor:
    """Values at places between the entries of one dimension, on straight lines."""
    low = place.long()
    share = place - low
    return torch.lerp(x.gather(dim, low), x.gather(dim, (low + 1).clamp(max=x.shape[dim] - 1)), share)


def softest(x_ULF: Float[Tensor, "U L F"], mask_UL: Bool[Tensor, "U L"]) -> Float[Tensor, "U 1 1"]:
    """The level below which a sound is taken for noise."""
    return x_ULF.masked_fill(~mask_UL[..., None], -torch.inf).amax((1, 2), keepdim=True).nan_to_num(0, 0, 0) - RANGE


def means(x_ULF: Float[Tensor, "U L F"], mask_UL: Bool[Tensor, "U L"]) -> Float[Tensor, "U F"]:
    """Over the frames that are there."""
    return (x_ULF * mask_UL[..., None]).sum(1) / mask_UL.sum(1, keepdim=True).clamp(min=1)


def stretch(at_L: Int[Tensor, "L"], length_U: Float[Tensor, "U"], middle_U: Float[Tensor, "U"]) -> Bool[Tensor, "U L"]:
    """Which places lie in a stretch of this length about this middle."""
    return (at_L + 0.5 - middle_U[:, None]).abs() < length_U[:, None] / 2


def parts(length_U: Int[Tensor, "U"], longest: int) -> Float[Tensor, "U N L"]:
    """Weights of the means of equal parts of the time; of few places, parts share some."""
    part_N, at_L = torch.arange(TOKENS, device=length_U.device), torch.arange(longest, device=length_U.device)
    low_UN, high_UN = length_U[:, None] * part_N // TOKENS, -(-length_U[:, None] * (part_N + 1) // TOKENS)
    inside_UNL = ((at_L >= low_UN[..., None]) & (at_L < high_UN[..., None])).float()
    return inside_UNL / inside_UNL.sum(2, keepdim=True).clamp(min=1)
