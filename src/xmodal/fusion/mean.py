"""Mean pooling inside each input first, then over the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xmodal.fusion.base import Fusion
from xmodal.job import Json, Key
from xmodal.tokens import Joint, Tokens


def pool(tokens: Tokens) -> tuple[Float[Tensor, "B D"], Bool[Tensor, "B"]]:
    """The mean of one input's tokens (0 where it has none), and which rows have one."""
    count_B = tokens.mask_BN.sum(1)
    return tokens.x_BND.sum(1) / count_B.clamp(min=1)[:, None], count_B > 0


class Mean(Fusion):
    """An input with many tokens weighs no more than one with a single token. A learnt vector an input tells them apart."""

    def __init__(self, inputs: Sequence[Key], width: int, settings: Mapping[str, Json]) -> None:
        super().__init__(inputs, width, settings)
        self.embedding = nn.Parameter(torch.randn(len(self.inputs), width) * 0.02)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Mapping[Key, Tokens]) -> Joint:
        tokens = {key: tokens[key] for key in self.inputs}
        pooled, there = zip(*(pool(t) for t in tokens.values()), strict=True)
        there_BM1 = torch.stack(there, 1)[..., None]
        x_BMD = (torch.stack(pooled, 1) + self.embedding) * there_BM1
        x_BD = x_BMD.sum(1) / there_BM1.sum(1).clamp(min=1)
        return Joint.of(self.norm(x_BD + self.mlp(x_BD)), tokens, [t.x_BND for t in tokens.values()])
