"""A small residual CNN over log-mel frames, from scratch. U cells · L frames · F bands · C channels · N tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from xmodal.modality.spectrum import RATE, hertz, mel
from xmodal.tokens import Tokens

LENGTH = 512  # frames that nearly all sounds of a column have at most: where they are longer, some at a time are averaged
TOKENS = 4
RANGE = 11.5  # below a sound's loudest, in logarithms of energy (50 dB): what is softer is noise
TRACT, PACE = 0.15, 0.2  # how far the length of the vocal tract and the pace are changed
HIDDEN = 0.2  # of bands and of frames, at most


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, normalised at each place over the channels: padding has no part in it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm_first, self.norm_second = nn.LayerNorm(outputs), nn.LayerNorm(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x_UCLF: Float[Tensor, "U c l f"], mask_UL: Bool[Tensor, "U L"]) -> Float[Tensor, "U C L F"]:
        y_UCLF = shown(F.relu(normal(self.norm_first, self.first(x_UCLF))), mask_UL)
        return shown(F.relu(normal(self.norm_second, self.second(y_UCLF)) + self.shortcut(x_UCLF)), mask_UL)


def normal(norm: nn.Module, x_UCLF: Float[Tensor, "U C L F"]) -> Float[Tensor, "U C L F"]:
    """Over the channels."""
    y: Tensor = norm(x_UCLF.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return y


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
        length_U = np.diff(offsets)
        step = int(np.ceil(np.quantile(length_U, 0.95) / LENGTH)) if len(length_U) else 1
        x = [np.asarray(values[low:high], np.float32) for low, high in zip(offsets[:-1][:500], offsets[1:][:500], strict=True)]
        left = np.concatenate([(y := np.maximum(one, one.max() - RANGE)) - y.mean(0) for one in x]) if x else np.ones((1, 1))
        return Fitted({"step": max(step, 1), "bands": values.shape[1], "deviation": max(float(left.std()), 0.1)})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        (values, offsets), step = column.ragged["logmel"], int(number(fitted.config["step"]))
        if step > 1:
            start, length_U = [], -(-np.diff(offsets) // step)
            start = [np.arange(low, high, step) for low, high in zip(offsets[:-1], offsets[1:], strict=True)]
            at = np.concatenate([np.zeros(0, np.int64), *start])
            count = np.diff(np.append(at, offsets[-1]))
            sums = np.add.reduceat(np.asarray(values, np.float32), at) if len(at) else np.zeros((0, values.shape[1]), np.float32)
            values, offsets = (sums / count[:, None]).astype(np.float16), np.append(0, np.cumsum(length_U))
        return replace(column, dense={}, ragged={"logmel": (values, offsets)})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.bands, self.scale = int(number(fitted.config["bands"])), 1 / number(fitted.config["deviation"])
        self.stem, self.norm_stem = nn.Conv2d(1, 16, 5, 2, 2, bias=False), nn.LayerNorm(16)
        self.stages = nn.ModuleList([Residual(16, 24, 2), Residual(24, 48, 2)])
        self.dropout, self.linear = nn.Dropout(0.3), nn.Linear(48 * -(-self.bands // 8), width)
        self.place, self.norm = nn.Parameter(torch.randn(TOKENS, width) * 0.1), nn.LayerNorm(width)

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """A longer or shorter vocal tract (Jaitly and Hinton, 2013), another pace, louder noise, hidden bands and frames (SpecAugment, Park
        et al., 2019)."""
        x_ULF, length_U = x["logmel"].float(), x["logmel_length"]
        seeds = seed_U.cpu().numpy()
        draw_8U = torch.from_numpy(np.stack([uniform(0, salt, seeds) for salt in range(8)])).float().to(x_ULF.device)
        tract_U, pace_U = 1 + strength * TRACT * (2 * draw_8U[0] - 1), 1 + strength * PACE * (2 * draw_8U[1] - 1)
        band = torch.from_numpy(self.warped(tract_U.double().cpu().numpy())).float().to(x_ULF.device)
        x_ULF = between(x_ULF, band[:, None].expand(-1, x_ULF.shape[1], -1), 2)
        longest = int(x_ULF.shape[1] * (1 + PACE)) + 1
        new_U = (length_U * pace_U).round().long().clamp(min=1) * (length_U > 0)
        place_UL = (torch.arange(longest, device=x_ULF.device) / pace_U[:, None]).minimum((length_U - 1).clamp(min=0)[:, None])
        x_ULF = between(x_ULF, place_UL[..., None].expand(-1, -1, x_ULF.shape[2]), 1)
        mask_UL = torch.arange(longest, device=x_ULF.device) < new_U[:, None]
        peak_U = x_ULF.masked_fill(~mask_UL[..., None], -torch.inf).amax((1, 2)).nan_to_num(0, 0, 0)
        loud_U = peak_U - RANGE + strength * draw_8U[2] ** 2 * 0.6 * RANGE
        if strength:
            x_ULF = torch.logaddexp(x_ULF, loud_U[:, None, None])
        usual_UF = means(x_ULF, mask_UL)
        band_F, frame_L = torch.arange(x_ULF.shape[2]) + 0.5, torch.arange(longest) + 0.5
        off_UF = stretch(band_F.to(x_ULF), draw_8U[3] * strength * HIDDEN * len(band_F), draw_8U[4] * len(band_F))
        off_UL = stretch(frame_L.to(x_ULF), draw_8U[5] * strength * HIDDEN * new_U, draw_8U[6] * new_U)
        x_ULF = torch.where(off_UF[:, None] | off_UL[..., None], usual_UF[:, None], x_ULF) * mask_UL[..., None]
        return {"logmel": x_ULF, "logmel_length": new_U}

    def warped(self, factor_U: np.ndarray) -> np.ndarray:
        """Which place among the bands each band is taken from, when frequencies are stretched: [U, F]."""
        top = mel(np.array(RATE / 2))
        centre_F = top * np.arange(1, self.bands + 1) / (self.bands + 1)
        place_UF = mel(hertz(centre_F) * factor_U[:, None]) / top * (self.bands + 1) - 1
        return np.asarray(place_UF.clip(0, self.bands - 1))

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        x_ULF, length_U = x["logmel"].float(), x["logmel_length"]
        mask_UL = torch.arange(x_ULF.shape[1], device=x_ULF.device) < length_U[:, None]
        peak_U = x_ULF.masked_fill(~mask_UL[..., None], -torch.inf).amax((1, 2)).nan_to_num(0, 0, 0)
        x_ULF = x_ULF.maximum((peak_U - RANGE)[:, None, None])
        y_UCLF = ((x_ULF - means(x_ULF, mask_UL)[:, None]) * self.scale * mask_UL[..., None])[:, None]
        mask_UL = mask_UL[:, ::2]
        y_UCLF = shown(F.relu(normal(self.norm_stem, self.stem(y_UCLF.to(memory_format=torch.channels_last)))), mask_UL)
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


def means(x_ULF: Float[Tensor, "U L F"], mask_UL: Bool[Tensor, "U L"]) -> Float[Tensor, "U F"]:
    """Over the frames that are there."""
    return (x_ULF * mask_UL[..., None]).sum(1) / mask_UL.sum(1, keepdim=True).clamp(min=1)


def stretch(at_L: Float[Tensor, "L"], length_U: Float[Tensor, "U"], middle_U: Float[Tensor, "U"]) -> Bool[Tensor, "U L"]:
    """Which places lie in a stretch of this length about this middle."""
    return (at_L - middle_U[:, None]).abs() < length_U[:, None] / 2


def parts(length_U: Int[Tensor, "U"], longest: int) -> Float[Tensor, "U N L"]:
    """Weights of the means of equal parts of the time; of few places, parts share some."""
    part_N, at_L = torch.arange(TOKENS, device=length_U.device), torch.arange(longest, device=length_U.device)
    low_UN, high_UN = length_U[:, None] * part_N // TOKENS, -(-length_U[:, None] * (part_N + 1) // TOKENS)
    inside_UNL = ((at_L >= low_UN[..., None]) & (at_L < high_UN[..., None])).float()
    return inside_UNL / inside_UNL.sum(2, keepdim=True).clamp(min=1)
