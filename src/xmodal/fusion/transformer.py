"""Attention over all tokens of all inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from xmodal.attention import Block
from xmodal.fusion.base import Fusion
from xmodal.job import Json, Key
from xmodal.tokens import Joint, Tokens


class Transformer(Fusion):
    """A summary token (Devlin et al. 2019) and the tokens of every input, each with its input's learnt vector. Order
    inside an input is the encoder's business."""

    def __init__(self, inputs: Sequence[Key], width: int, settings: Mapping[str, Json]) -> None:
        super().__init__(inputs, width, settings)
        self.summary = nn.Parameter(torch.randn(width) * 0.02)
        self.embedding = nn.Parameter(torch.randn(len(self.inputs), width) * 0.02)
        self.blocks = nn.ModuleList([Block(width)])
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Mapping[Key, Tokens]) -> Joint:
        tokens = {key: tokens[key] for key in self.inputs}
        summary_B1D = self.summary.expand(len(next(iter(tokens.values())).x_BND), 1, -1)
        marked = [t.x_BND + self.embedding[m] * t.mask_BN[..., None] for m, t in enumerate(tokens.values())]
        x_BND = torch.cat([summary_B1D, *marked], 1)
        mask_BN = torch.cat([torch.ones_like(x_BND[:, :1, 0], dtype=torch.bool), *(t.mask_BN for t in tokens.values())], 1)
        for block in self.blocks:
            x_BND = block(x_BND, mask_BN)
        x_BND = self.norm(x_BND).masked_fill(~mask_BN[..., None], 0.0)
        return Joint.of(x_BND[:, 0], tokens, x_BND[:, 1:].split([t.x_BND.shape[1] for t in tokens.values()], 1))
