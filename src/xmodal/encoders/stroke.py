"""A convolutional and recurrent network over the points of a pen drawing, from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xmodal.batch import uniform
from xmodal.encoders.base import Encoder, present
from xmodal.encoders.sequence import reorder
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import Json
from xmodal.tokens import Tokens

TURN, STRETCH, SHEAR, WARP = 0.3, 0.3, 0.3, 0.15  # radians; logarithms; of the drawing's side of 2
WAVES = 3
INNER = 96  # width of what is inside
STRIDE = 2  # of each of two pools


class Block(nn.Module):
    """A convolution, each point normalised by itself (padding may not count), beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(inputs, outputs, 5, padding=2), nn.LayerNorm(outputs)
        self.shortcut = nn.Linear(inputs, outputs, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x_ULC: Float[Tensor, "U L c"], mask_UL: Bool[Tensor, "U L"]) -> Float[Tensor, "U L C"]:
        y_ULC = self.norm(self.conv(x_ULC.transpose(1, 2)).transpose(1, 2))
        z_ULC: Tensor = (F.relu(y_ULC) + self.shortcut(x_ULC)) * mask_UL[..., None]
        return z_ULC


class Stroke(Encoder):
    """A token for every four points, its position their place along the drawing."""

    modality = frozenset({"strokes"})
    kind = "raw"
    extractor: ClassVar[Mapping[str, Extractor]] = {"strokes": EXTRACTORS["pen"]()}

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """Nothing: drawings come normalised."""
        return Fitted()

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        return replace(column, dense={}, ragged={"pen": column.ragged["pen"]})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.blocks = nn.ModuleList([Block(10, 48), Block(48, INNER), Block(INNER, INNER)])
        self.there, self.back = (nn.GRU(INNER, INNER, batch_first=True) for _ in range(2))
        self.dropout = nn.Dropout(0.4)
        self.linear, self.norm = nn.Linear(3 * INNER, width), nn.LayerNorm(width)

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """Turned by up to 17°, stretched along each axis, sheared, and bent by smooth waves."""
        place_UL2, seeds = x["pen"][..., :2], seed_U.cpu().numpy()
        draws = [uniform(0, salt, seeds) for salt in range(4 + 5 * WAVES)]
        draw_UD = torch.from_numpy(strength * (2 * np.stack(draws, 1) - 1)).to(place_UL2)
        turn, shear = draw_UD[:, 0] * TURN, draw_UD[:, 1] * SHEAR
        wide, high = (draw_UD[:, 2:4] * STRETCH).exp().unbind(1)
        cos, sin = turn.cos(), turn.sin()
        # the turn, times [[wide, shear], [0, high]]
        affine_U22 = torch.stack([cos * wide, sin * wide, cos * shear - sin * high, sin * shear + cos * high], 1).view(-1, 2, 2)
        moved_UL2 = place_UL2 @ affine_U22
        wave_UW5 = draw_UD[:, 4:].view(-1, WAVES, 5)
        phase_ULW = 1.5 * torch.pi * (place_UL2 @ wave_UW5[..., :2].transpose(1, 2) + wave_UW5[:, None, :, 2])
        moved_UL2 = moved_UL2 + WARP * phase_ULW.sin() @ wave_UW5[..., 3:]
        return {**x, "pen": torch.cat([moved_UL2, x["pen"][..., 2:]], -1)}

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        mask_UL = torch.arange(x["pen"].shape[1], device=x["pen"].device) < x["pen_length"][:, None]
        y_ULD = described(x["pen"]) * mask_UL[..., None]
        for i, block in enumerate(self.blocks):
            y_ULD = block(y_ULD, mask_UL)
            if i < 2:
                y_ULD, mask_UL = pooled(y_ULD, mask_UL)
        y_ULD, place_L = self.dropout(y_ULD), torch.arange(y_ULD.shape[1], device=y_ULD.device)
        reverse_UL = (mask_UL.sum(1, keepdim=True) - 1 - place_L).clamp(min=0)
        both = self.there(y_ULD)[0], reorder(self.back(reorder(y_ULD, reverse_UL))[0], reverse_UL)
        tokens = present(self.norm(self.linear(self.dropout(torch.cat([y_ULD, *both], -1)))), mask_UL)
        position_UL3 = torch.stack([place_L, 0 * place_L, 0 * place_L], -1).expand(len(y_ULD), -1, -1)
        return replace(tokens, position_BN3=position_UL3.float())


def described(pen_UL5: Float[Tensor, "U L 5"]) -> Float[Tensor, "U L 10"]:
    """x, y, cosine and sine of the direction since the point before and of twice it (the same there and back), whether the pen
    came down here and lifts here, speed, pressure."""
    way_UL2 = torch.diff(pen_UL5[..., :2], dim=1, prepend=pen_UL5[:, :1, :2])
    direction_UL2 = way_UL2 / way_UL2.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    down_UL1 = F.pad(pen_UL5[:, :-1, 2:3], (0, 0, 1, 0), value=1.0)
    cos_UL, sin_UL = direction_UL2.unbind(-1)
    twice_UL2 = torch.stack([cos_UL**2 - sin_UL**2, 2 * cos_UL * sin_UL], -1)
    return torch.cat([pen_UL5[..., :2], direction_UL2, twice_UL2, down_UL1, pen_UL5[..., 2:]], -1)


def pooled(x_ULD: Float[Tensor, "U L D"], mask_UL: Bool[Tensor, "U L"]) -> tuple[Float[Tensor, "U l D"], Bool[Tensor, "U l"]]:
    """Means of each two points that there are."""
    short = x_ULD.shape[1] % STRIDE
    x_ULD, mask_UL = F.pad(x_ULD, (0, 0, 0, short)), F.pad(mask_UL, (0, short))
    count_UL = mask_UL.view(len(mask_UL), -1, STRIDE).sum(2)
    sum_ULD = x_ULD.reshape(len(x_ULD), -1, STRIDE, x_ULD.shape[2]).sum(2)
    return sum_ULD / count_UL.clamp(min=1)[..., None], count_UL > 0
