from __future__ import annotations

import numpy as np
import torch
from tests.clips import moving
from tests.doubles import pointed
from torch import nn

from xmodal.encoders.image import SHIFT
from xmodal.encoders.video import Clip

WAYS = ("left", "right")
FRAMES = np.stack([moving(way, seed, 6, 64) for seed in range(8) for way in WAYS])
TIMES = np.tile(np.linspace(0, 3, 6, dtype=np.float32), (len(FRAMES), 1))
COLUMN = pointed({"frames": FRAMES, "times": TIMES}, {}, np.arange(len(FRAMES)))


def encoder() -> Clip:
    torch.manual_seed(0)
    return Clip(Clip.fit(COLUMN, {}, 0), 16)


def test_a_token_a_frame_at_its_time() -> None:
    tokens = encoder().eval()({"frames": torch.from_numpy(FRAMES[:3]), "times": torch.from_numpy(TIMES[:3])})
    assert tokens.x_BND.shape == (3, 6, 16)
    np.testing.assert_allclose(tokens.position_BN3[0, :, 0], np.linspace(0, 1, 6), atol=1e-6)
    assert not tokens.position_BN3[..., 1:].any()
    still = encoder().eval()({"frames": torch.from_numpy(FRAMES[:1, :1]), "times": torch.zeros(1, 1)})
    assert torch.isfinite(still.x_BND).all()


def test_it_sees_which_way_things_move() -> None:
    """Frames in another order hold the same pictures: only their order tells left from right."""
    model, x, y = encoder(), {"frames": torch.from_numpy(FRAMES), "times": torch.from_numpy(TIMES)}, torch.arange(len(FRAMES)) % 2
    head = nn.Linear(16, 2)
    rates = torch.optim.AdamW([*model.parameters(), *head.parameters()], 5e-3)
    for _ in range(40):
        loss = nn.functional.cross_entropy(head(model(x).x_BND.mean(1)), y)
        rates.zero_grad()
        loss.backward()
        rates.step()
    with torch.no_grad():
        said, back = (head(model({**x, "frames": frames}).x_BND.mean(1)).argmax(1) for frames in (x["frames"], x["frames"].flip(1)))
    assert (said == y).float().mean() > 0.9
    assert (back == 1 - y).float().mean() > 0.7, "backwards, it moves the other way"


def test_all_frames_of_a_view_are_shifted_alike() -> None:
    spot = np.zeros((3, 4, 64, 64, 3), np.uint8)
    for t in range(4):
        spot[:, t, 30, 20 + t] = 100
    view = encoder().augment({"frames": torch.from_numpy(spot), "times": torch.zeros(3, 4)}, 1.0, torch.arange(3))["frames"].numpy()
    assert view.shape == spot.shape
    for cell in view:
        (y, x), *others = [np.argwhere(frame[..., 0])[0] for frame in cell]
        assert max(abs(y - 30), abs(x - 20)) <= SHIFT
        assert [other.tolist() for other in others] == [[y, x + t] for t in (1, 2, 3)]
        assert len(np.unique(cell[cell > 0])) == 1
    assert not np.array_equal(view[0], view[1])
    same = encoder().augment({"frames": torch.from_numpy(spot), "times": torch.zeros(3, 4)}, 0.0, torch.arange(3))
    assert torch.equal(same["frames"], torch.from_numpy(spot).float())


def test_an_empty_column() -> None:
    assert Clip.fit(COLUMN.hidden().compact(), {}, 0).config["mean"] == 0.5
