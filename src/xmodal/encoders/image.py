"""A small residual CNN over pixels, from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xmodal.batch import uniform
from xmodal.encoders.base import Encoder, present
from xmodal.features.column import FeatureColumn, Fitted
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
    """64 x 64 pixels -> a 4 x 4 grid of tokens, with their positions."""

    modality: ClassVar[frozenset[str]] = frozenset({"image"})
    kind: ClassVar[Literal["descriptor", "raw"]] = "raw"

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """Mean and deviation of each channel. `settings`: channels of the first stage."""
        pixels = np.asarray(train.dense["pixels"][:2000], np.float32).reshape(-1, 3) / 255
        mean, deviation = (pixels.mean(0), pixels.std(0)) if len(pixels) else (np.zeros(3), np.ones(3))
        arrays = {"mean": mean.astype(np.float32), "deviation": np.maximum(deviation, 0.05).astype(np.float32)}
        return Fitted({"channels": settings.get("channels", 16)}, arrays)

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        return replace(column, dense={"pixels": column.dense["pixels"]}, ragged={})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        channels = int(fitted.config["channels"])  # type: ignore[arg-type]
        scale = torch.from_numpy(1 / (255 * fitted.arrays["deviation"])).view(3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", torch.from_numpy(fitted.arrays["mean"]).view(3, 1, 1) * 255 * scale, persistent=False)
        self.stem = nn.Conv2d(3, channels, 5, 4, 2, bias=False)
        self.norm_stem = nn.GroupNorm(4, channels)
        self.stages = nn.Sequential(
            Residual(channels, channels, 1), Residual(channels, 2 * channels, 2), Residual(2 * channels, 4 * channels, 2)
        )
        self.linear, self.norm = nn.Linear(4 * channels, width), nn.LayerNorm(width)
        y, x = torch.meshgrid(torch.linspace(0, 1, 4), torch.linspace(0, 1, 4), indexing="ij")
        grid = torch.stack([torch.zeros_like(x), y, x], -1).view(1, 16, 3)
        self.register_buffer("grid", grid, persistent=False)

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """Shifts by up to 6 pixels and 20 % of brightness: mirrors and turns are not safe (digits, X-rays)."""
        pixels = x["pixels"]
        seeds = seed_U.cpu().numpy()
        draw = torch.from_numpy(np.stack([uniform(0, salt, seeds) for salt in range(3)])).to(pixels.device)
        dy, dx = ((draw[:2] * 2 - 1) * SHIFT * strength).round().long()
        side = torch.arange(pixels.shape[1], device=pixels.device)
        row_UH, column_UW = ((side + d[:, None]).clamp(0, len(side) - 1) for d in (dy, dx))
        cell_U = torch.arange(len(pixels), device=pixels.device)
        moved = pixels[cell_U[:, None, None], row_UH[:, :, None], column_UW[:, None, :]]
        gain_U = (1 + 0.2 * strength * (2 * draw[2] - 1)).float()
        return {"pixels": (moved * gain_U[:, None, None, None]).clamp(0, 255)}

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        pixels = x["pixels"].permute(0, 3, 1, 2).float() * self.scale - self.shift
        y_UCHW = self.stages(F.relu(self.norm_stem(self.stem(pixels))))
        tokens = present(self.norm(self.linear(y_UCHW.flatten(2).transpose(1, 2))))
        return replace(tokens, position_BN3=self.grid.expand(len(pixels), -1, -1))
