from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from xmodal.job import State
from xmodal.testing.network import some_tokens
from xmodal.tokens import Joint, Tokens

SEEDS = st.integers(0, 1000)


@given(st.sampled_from(list(State)), st.sampled_from([np.nan, np.inf, 1e30]))
def test_absence_is_an_exact_zero(state: State, value: float) -> None:
    x_BND = torch.full((2, 3, 4), value, requires_grad=True)
    mask_BN = torch.tensor([[True, False, True], [False, False, False]])
    tokens = Tokens(x_BND, mask_BN, torch.full((2,), int(state)))
    assert torch.equal(tokens.mask_BN, mask_BN if state == State.PRESENT else torch.zeros(2, 3, dtype=torch.bool))
    assert (tokens.x_BND[~tokens.mask_BN] == 0).all()
    tokens.x_BND.sum().backward()
    assert torch.equal(x_BND.grad, tokens.mask_BN[..., None].expand(2, 3, 4).float())


@given(SEEDS)
def test_hide_is_take_none(seed: int) -> None:
    tokens = some_tokens(6, 3, seed)
    off_B = torch.arange(6) % 2 == 0
    hidden = tokens.hide(off_B)
    taken = tokens.take(torch.where(off_B, -1, torch.arange(6)), hidden.state_B)
    assert torch.equal(hidden.x_BND, taken.x_BND)
    assert torch.equal(hidden.mask_BN, taken.mask_BN)
    assert hidden.state_B[1] == State.BROKEN, "why a cell was lost already stays"


@given(SEEDS)
def test_files_stand_beside(seed: int) -> None:
    one, two = some_tokens(5, 2, seed), some_tokens(5, 3, seed + 1).hide(torch.arange(5) > 2)
    both = Tokens.beside([one, two])
    assert torch.equal(both.x_BND, torch.cat([one.x_BND, two.x_BND], 1))
    assert torch.equal(both.state_B, torch.minimum(one.state_B, two.state_B))


@given(SEEDS)
def test_units_are_means_of_their_tokens(seed: int) -> None:
    random = np.random.default_rng(seed)
    unit_BN = torch.from_numpy(random.integers(-1, 3, (4, 5)))
    tokens = Tokens(torch.randn(4, 5, 2), torch.from_numpy(random.random((4, 5)) < 0.7), torch.tensor([0, 0, 0, 1]), unit_BN=unit_BN)
    other = some_tokens(4, 2, seed)
    joint = Joint.of(torch.zeros(4, 2), {"t.a": tokens, "t.b": tokens}, [tokens.x_BND, tokens.x_BND + 1])
    x_BLD, there_BL = joint.take(torch.tensor([3, 1, 0])).units("t.b", 3)
    for r, b in enumerate([3, 1, 0]):
        for unit in range(3):
            mine = [tokens.x_BND[b, n] + 1 for n in range(5) if tokens.mask_BN[b, n] and unit_BN[b, n] == unit]
            assert there_BL[r, unit] == bool(mine)
            assert torch.allclose(x_BLD[r, unit], torch.stack(mine).mean(0) if mine else torch.zeros(2), atol=1e-6)
    assert Joint.of(torch.zeros(4, 16), {"t.c": other}).x_BND.shape == (4, 1, 16)
