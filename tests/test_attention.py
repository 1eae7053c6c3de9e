from __future__ import annotations

import torch

from xmodal.attention import Block


def plain(block: Block, x_BND: torch.Tensor, mask_BN: torch.Tensor) -> torch.Tensor:
    """The formula, one row, head and token at a time."""
    out = torch.zeros_like(x_BND)
    width = x_BND.shape[2] // block.heads
    for b in range(len(x_BND)):
        q, k, v = (t.view(-1, block.heads, width) for t in block.qkv(block.norm(x_BND[b])).chunk(3, -1))
        for n in range(x_BND.shape[1]):
            heads = []
            for h in range(block.heads):
                score_N = (k[:, h] @ q[n, h]) / width**0.5
                share_N = torch.softmax(score_N.masked_fill(~mask_BN[b], -torch.inf), 0)
                heads.append(share_N @ v[:, h])
            y_D = x_BND[b, n] + block.out(torch.cat(heads))
            gate, value = block.mlp.inner(block.norm_mlp(y_D)).chunk(2)
            out[b, n] = y_D + block.mlp.outer(gate * torch.sigmoid(gate) * value)
    return out


def test_block_is_the_formula() -> None:
    torch.manual_seed(0)
    block, x_BND = Block(8).eval(), torch.randn(3, 5, 8)
    mask_BN = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1]], dtype=torch.bool)
    assert torch.allclose(block(x_BND, mask_BN), plain(block, x_BND, mask_BN), atol=1e-5)


def test_a_row_without_tokens_is_finite_with_a_gradient() -> None:
    torch.manual_seed(0)
    block, x_BND = Block(8), torch.zeros(2, 3, 8, requires_grad=True)
    out_BND = block(x_BND, torch.tensor([[False] * 3, [True] * 3]))
    out_BND[0].square().sum().backward()
    assert torch.isfinite(out_BND).all()
    assert x_BND.grad is not None
    assert torch.isfinite(x_BND.grad).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in block.parameters())
    assert block.qkv.bias.grad is not None
    assert block.qkv.bias.grad.any()
