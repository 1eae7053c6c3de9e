"""A small residual CNN over pixels, from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xmodal.batch import uniform
from xmodal.encoders.base import Encoder, number, present
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import Json
from xmodal.tokens import Tokens

SHIFT = 6  # pixels of 64


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016), normalised by groups (Wu and He 2018), which needs no
    second cell in the batch."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm_first, self.norm_second = nn.GroupNorm(4, outputs), nn.GroupNorm(4, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else nn.Identity()

    def forward(self, x_UCHW: Float[Tensor, "U c h w"]) -> Float[Tensor, "U C H W"]:
        y_UCHW = self.norm_second(self.second(F.relu(self.norm_first(self.first(x_UCHW)))))
        return F.relu(y_UCHW + self.shortcut(x_UCHW))


class Cnn(Encoder):
    """64 x 64 pixels -> a 2 x 2 grid of tokens, with their positions. Of 4 x 4 a fusion costs twice, and gains nothing."""

    modality = frozenset({"image"})
    kind = "raw"
    extractor: ClassVar[Mapping[str, Extractor]] = {"image": EXTRACTORS["pixels"]()}
    stride: ClassVar[int] = 4
    layers: ClassVar[Sequence[tuple[int, int, int]]] = ((16, 16, 1), (16, 32, 2), (32, 64, 2))  # channels in and out, stride
    grid: Tensor

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """Mean and deviation of all pixels."""
        pixels = np.asarray(train.dense["pixels"][:2000], np.float32) / 255
        mean, deviation = (float(pixels.mean()), float(pixels.std())) if len(pixels) else (0.5, 0.25)
        return Fitted({"mean": mean, "deviation": max(deviation, 0.05)})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        return replace(column, dense={"pixels": column.dense["pixels"]}, ragged={})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.mean, self.scale = 255 * number(fitted.config["mean"]), 1 / (255 * number(fitted.config["deviation"]))
        self.stem, self.norm_stem = nn.Conv2d(3, 16, 5, self.stride, 2, bias=False), nn.GroupNorm(4, 16)
        self.stages = nn.Sequential(*(Residual(*layer) for layer in self.layers))
        self.linear, self.norm = nn.Linear(64, width), nn.LayerNorm(width)
        y, x = torch.meshgrid(torch.linspace(0, 1, 2), torch.linspace(0, 1, 2), indexing="ij")
        grid = torch.stack([torch.zeros_like(x), y, x], -1).view(1, 4, 3)
        self.register_buffer("grid", grid, persistent=False)

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """Shifts by up to 6 pixels and 20 % of brightness: mirrors and turns are not safe (digits, X-rays)."""
        return {"pixels": jittered(x["pixels"], strength, seed_U, SHIFT)}

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        pixels = (x["pixels"] - self.mean).mul_(self.scale).permute(0, 3, 1, 2)
        y_UCHW = self.stages(F.relu(self.norm_stem(self.stem(pixels))))
        tokens = present(self.norm(self.linear(F.avg_pool2d(y_UCHW, 2).flatten(2).transpose(1, 2))))
        return replace(tokens, position_BN3=self.grid.expand(len(pixels), -1, -1))


class FineCnn(Cnn):
    """The same for drawings and other thin lines, to which a stride of 4 is blind: at two to three times the cost. Its training
    pictures are turned, stretched and sheared a little too."""

    stride = 2
    layers = ((16, 32, 2), (32, 64, 2), (64, 64, 2))

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """Turned by up to 12°, 15 % larger or smaller along each axis, sheared by up to .15, shifted by up to 6 pixels, 20 % of brightness:
        mirrors and larger turns are not safe (digits, X-rays). What comes in at an edge repeats it."""
        pixels, seeds = x["pixels"], seed_U.cpu().numpy()
        draw_U7 = (
            torch.from_numpy(strength * (2 * np.stack([uniform(0, salt, seeds) for salt in range(7)], 1) - 1)).float().to(pixels.device)
        )
        turn, shear, shift_U2 = 0.2 * draw_U7[:, 0], 0.15 * draw_U7[:, 1], 2 * SHIFT / pixels.shape[1] * draw_U7[:, 4:6]
        wide, high = (0.15 * draw_U7[:, 2:4]).exp().unbind(1)
        cos, sin = turn.cos(), turn.sin()
        affine_U6 = torch.stack(
            [cos * wide, cos * shear - sin * high, shift_U2[:, 0], sin * wide, sin * shear + cos * high, shift_U2[:, 1]], 1
        )
        planes = pixels.permute(0, 3, 1, 2).float()
        grid = F.affine_grid(affine_U6.view(-1, 2, 3), list(planes.shape), align_corners=False)
        moved = F.grid_sample(planes, grid, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
        return {"pixels": (moved * (1 + 0.2 * draw_U7[:, 6])[:, None, None, None]).clamp_(max=255)}


def jittered(pixels: Tensor, strength: float, seed_U: Tensor, shift: int) -> Float[Tensor, "U H W C"]:
    """Pictures [U, H, W, C] of 0 to 255, moved by up to `shift` pixels, and 20 % lighter or darker."""
    (height, width), seeds = pixels.shape[1:3], seed_U.cpu().numpy()
    draw_3U = 2 * np.stack([uniform(0, salt, seeds) for salt in range(3)]) - 1
    moves = np.rint(shift * (1 + strength * draw_3U[:2])).astype(int).T.tolist()
    padded = F.pad(pixels, (0, 0, shift, shift, shift, shift))
    moved = torch.stack([cell[y : y + height, x : x + width] for cell, (y, x) in zip(padded, moves, strict=True)])
    gain_U = torch.from_numpy(1 + 0.2 * strength * draw_3U[2]).float().to(pixels.device)
    return (moved * gain_U[:, None, None, None]).clamp_(max=255)
