"""Attention over masked tokens.

B rows · N tokens · D width · H heads
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class GatedMlp(nn.Module):
    """SwiGLU (Shazeer 2020): products of two linear maps, so that what two inputs mean only together has a gradient from the
    first step. A plain MLP waits on a plateau there, and memorises meanwhile."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer, self.dropout = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width), nn.Dropout(0.1)

    def forward(self, x_BND: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        gate, value = self.inner(x_BND).chunk(2, -1)
        y_BND: Tensor = self.outer(self.dropout(F.silu(gate) * value))
        return y_BND


class Block(nn.Module):
    """Pre-norm Transformer block (Vaswani et al. 2017; Xiong et al. 2020). Masked tokens are attended by none; a row
    with no token at all attends to its zeros, so that it stays finite and has a gradient."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = 4 if width % 4 == 0 else 1
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp, self.dropout = GatedMlp(width, 2 * width), nn.Dropout(0.1)

    def forward(self, x_BND: Float[Tensor, "B N D"], mask_BN: Bool[Tensor, "B N"]) -> Float[Tensor, "B N D"]:
        """What stands behind the mask must be finite (Tokens writes 0 there); what comes out there means nothing."""
        B, N, D = x_BND.shape
        seen_BN = mask_BN | ~mask_BN.any(1, keepdim=True)
        q, k, v = self.qkv(self.norm(x_BND)).view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen_BN[:, None, None, :])
        x_BND = x_BND + self.dropout(self.out(mixed.transpose(1, 2).reshape(B, N, D)))
        y_BND: Tensor = x_BND + self.dropout(self.mlp(self.norm_mlp(x_BND)))
        return y_BND
