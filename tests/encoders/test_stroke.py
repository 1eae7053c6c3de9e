from __future__ import annotations

import math

import numpy as np
import torch

from xmodal.encoders.stroke import SHEAR, STRETCH, TURN, WARP, WAVES, Stroke, described, pooled
from xmodal.features.column import Fitted

RANDOM = np.random.default_rng(0)
PEN = torch.from_numpy(RANDOM.uniform(-1, 1, (6, 20, 5)).astype(np.float32))
X = {"pen": PEN, "pen_length": torch.tensor([20, 1, 2, 5, 17, 20])}


def encoder() -> Stroke:
    torch.manual_seed(0)
    return Stroke(Fitted(), 16).eval()


def test_a_token_for_every_four_points() -> None:
    tokens = encoder()(X)
    assert tokens.mask_BN.sum(1).tolist() == [5, 1, 1, 2, 5, 5]
    assert tokens.position_BN3[0, :, 0].tolist() == [0, 1, 2, 3, 4]
    turned = encoder()({**X, "pen": X["pen"].flip(1)})
    assert not torch.allclose(turned.x_BND[0].mean(0), tokens.x_BND[0].mean(0), atol=1e-3), "the way along the drawing counts"


def test_what_a_point_tells() -> None:
    pen = torch.tensor([[[0.0, 0, 0, 0.5, 0], [0, 1, 1, 0, 0], [3, 5, 1, 0, 2]]])
    want = [[0, 0, 0, 0, 0, 0, 1, 0, 0.5, 0], [0, 1, 0, 1, -1, 0, 0, 1, 0, 0], [3, 5, 0.6, 0.8, 0.36 - 0.64, 0.96, 1, 1, 0, 2]]
    torch.testing.assert_close(described(pen)[0], torch.tensor(want))


def test_pools_are_means_of_those_that_are_there() -> None:
    x = torch.tensor([[[1.0], [3], [5]], [[7], [0], [0]]])
    mean, mask = pooled(x, torch.tensor([[True, True, True], [True, False, False]]))
    assert mean[..., 0].tolist() == [[2, 5], [7, 0]]
    assert mask.tolist() == [[True, True], [True, False]]


def test_a_view_is_a_bounded_smooth_bend_and_nothing_else() -> None:
    seeds = torch.arange(6)
    view = encoder().augment(X, 1.0, seeds)
    assert torch.equal(view["pen"][..., 2:], PEN[..., 2:])
    moved = (view["pen"][..., :2] - PEN[..., :2]).norm(dim=-1)
    assert moved.mean() > 0.05
    most = math.sqrt(2) * (math.exp(STRETCH) * (1 + TURN) + SHEAR * math.exp(STRETCH) - 1 + 0.1) + math.sqrt(2) * WAVES * WARP
    assert moved.max() < most
    assert torch.equal(encoder().augment(X, 0.0, seeds)["pen"], PEN)
    middle = torch.zeros(6, 2, 5)
    middle[:, 1, 0] = 0.01  # near points stay near
    near = encoder().augment({"pen": middle}, 1.0, seeds)["pen"][..., :2].diff(dim=1).norm(dim=-1)
    assert (near < 0.05).all()
    assert (near > 0.001).all()
