from __future__ import annotations

import pytest
import torch

from xmodal.attention import Block
from xmodal.fusion import FUSIONS
from xmodal.fusion.concat import Concat
from xmodal.fusion.mean import Mean, pool
from xmodal.fusion.transformer import Transformer
from xmodal.testing.network import some_tokens
from xmodal.tokens import Tokens

KEYS = ("t.b", "t.a", "t.c")
TOKENS = {key: some_tokens(6, n, n) for key, n in zip(KEYS, (3, 1, 4), strict=True)}


def means(b: int) -> list[torch.Tensor | None]:
    """Of each input's tokens, in sorted order, one at a time."""
    found: list[torch.Tensor | None] = []
    for key in sorted(KEYS):
        mine = [TOKENS[key].x_BND[b, n] for n in range(TOKENS[key].x_BND.shape[1]) if TOKENS[key].mask_BN[b, n]]
        found.append(torch.stack(mine).mean(0) if mine else None)
    return found


def test_mean_pools_inside_an_input_first() -> None:
    torch.manual_seed(0)
    fusion = Mean(KEYS, 16, {}).eval()
    rep_BD = fusion(TOKENS).rep_BD
    for b in range(6):
        there = [x + fusion.embedding[m] for m, x in enumerate(means(b)) if x is not None]
        x_D = torch.stack(there).mean(0) if there else torch.zeros(16)
        assert torch.allclose(rep_BD[b], fusion.norm(x_D + fusion.mlp(x_D)), atol=1e-5)


def test_concat_has_a_slot_and_a_flag_an_input() -> None:
    torch.manual_seed(0)
    fusion = Concat(KEYS, 16, {}).eval()
    rep_BD = fusion(TOKENS).rep_BD
    for b in range(6):
        slots = [torch.zeros(17) if x is None else torch.cat([x, torch.ones(1)]) for x in means(b)]
        assert torch.allclose(rep_BD[b], fusion.norm(fusion.mlp(torch.cat(slots))), atol=1e-5)


def test_transformer_is_its_blocks_over_the_tokens_that_are_there() -> None:
    torch.manual_seed(0)
    fusion = Transformer(KEYS, 16, {}).eval()
    fusion.blocks.append(Block(16).eval())
    rep_BD = fusion(TOKENS).rep_BD
    for b in range(6):
        there = [TOKENS[k].x_BND[b][TOKENS[k].mask_BN[b]] + fusion.embedding[m] for m, k in enumerate(sorted(KEYS))]
        x_1ND = torch.cat([fusion.summary[None], *there])[None]
        for block in fusion.blocks:
            x_1ND = block(x_1ND, torch.ones(x_1ND.shape[:2], dtype=torch.bool))
        assert torch.allclose(rep_BD[b], fusion.norm(x_1ND[0, 0]), atol=1e-5)


@pytest.mark.parametrize("name", FUSIONS)
def test_keeps_the_tokens_of_each_input(name: str) -> None:
    joint = FUSIONS[name](KEYS, 16, {}).eval()(TOKENS)
    assert joint.inputs == tuple(sorted(KEYS))
    assert joint.input_N.tolist() == [-1, 0, 1, 1, 1, 2, 2, 2, 2]
    for m, key in enumerate(joint.inputs):
        assert torch.equal(joint.mask_BN[:, joint.input_N == m], TOKENS[key].mask_BN)


def test_pool_of_none() -> None:
    x_BD, there_B = pool(Tokens(torch.ones(2, 3, 4), torch.tensor([[True, True, False], [False] * 3]), torch.zeros(2, dtype=torch.int64)))
    assert x_BD.tolist() == [[1.0] * 4, [0.0] * 4]
    assert there_B.tolist() == [True, False]
