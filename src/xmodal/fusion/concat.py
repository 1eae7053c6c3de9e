"""One slot an input, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from xmodal.fusion.base import Fusion
from xmodal.fusion.mean import pool
from xmodal.job import Json, Key
from xmodal.tokens import Joint, Tokens


class Concat(Fusion):
    """Each slot holds the mean of the input's tokens and whether it has one: an empty slot is 0, and says so."""

    def __init__(self, inputs: Sequence[Key], width: int, settings: Mapping[str, Json]) -> None:
        super().__init__(inputs, width, settings)
        slots = len(self.inputs) * (width + 1)
        self.mlp = nn.Sequential(nn.Linear(slots, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Mapping[Key, Tokens]) -> Joint:
        tokens = {key: tokens[key] for key in self.inputs}
        slots = [torch.cat([x_BD, there_B[:, None].to(x_BD.dtype)], 1) for x_BD, there_B in map(pool, tokens.values())]
        summary_BD = self.norm(self.mlp(torch.cat(slots, 1)))
        return Joint.of(summary_BD, tokens, [t.x_BND for t in tokens.values()])
