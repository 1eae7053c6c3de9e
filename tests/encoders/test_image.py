from __future__ import annotations

import numpy as np
import torch
from tests.doubles import pointed

from xmodal.encoders.image import SHIFT, Cnn, FineCnn

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
COLUMN = pointed({"pixels": PIXELS, "hog": np.zeros((5, 2), np.float32)}, {}, np.arange(5))


def encoder(kind: type[Cnn] = Cnn) -> Cnn:
    torch.manual_seed(0)
    return kind(kind.fit(COLUMN, {}, 0), 16).eval()


def test_a_grid_of_tokens() -> None:
    assert set(Cnn.transform(Cnn.fit(COLUMN, {}, 0), COLUMN).dense) == {"pixels"}
    black = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    lit = black.clone()
    lit[1, 50:, :10] = 255  # bottom left
    tokens = encoder()({"pixels": lit})
    assert tokens.x_BND.shape == (2, 4, 16)
    change_N = (tokens.x_BND[0] - tokens.x_BND[1]).norm(dim=1)
    assert change_N[2] > 1.5 * change_N[1], "what is lit at the bottom left changes most there"
    assert tokens.position_BN3[0, 2].tolist() == [0, 1, 0]


def test_a_view_is_shifted_and_lit() -> None:
    pixels = torch.from_numpy(PIXELS)
    view = encoder().augment({"pixels": pixels}, 1.0, torch.arange(5))["pixels"]
    padded = np.pad(PIXELS.astype(float), ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    for cell in range(5):
        fits = []
        for y in range(2 * SHIFT + 1):
            for x in range(2 * SHIFT + 1):
                moved = padded[cell, y : y + 64, x : x + 64]
                inner = view[cell].numpy()[moved < 200], moved[moved < 200]
                gain = (inner[0] @ inner[1]) / (inner[1] @ inner[1])
                fits.append((np.abs(inner[0] - gain * inner[1]).max(), gain))
        error, gain = min(fits)
        assert error < 0.01
        assert 0.8 <= gain <= 1.2
    assert view.min() >= 0
    assert view.max() <= 255
    still = encoder().augment({"pixels": pixels}, 0.0, torch.arange(5))["pixels"]
    assert torch.equal(still, pixels.float())


def test_a_view_is_a_mild_affine_map_and_lit() -> None:
    side = torch.arange(64.0)
    ramps = torch.stack([side.expand(64, 64), side[:, None].expand(64, 64), torch.full((64, 64), 100.0)], -1)[None].repeat(5, 1, 1, 1)
    view = encoder(FineCnn).augment({"pixels": ramps + 50}, 1.0, torch.arange(5))["pixels"].numpy()
    y, x = np.mgrid[:64, :64].reshape(2, -1)
    for cell in view.reshape(5, -1, 3):
        gain = cell[0, 2] / 150
        assert 0.8 <= gain <= 1.2
        np.testing.assert_allclose(cell[:, 2], gain * 150, rtol=1e-5)  # no edge comes in
        places = cell[:, :2] / gain - 50
        inner = ((places > 1) & (places < 62)).all(1) & (cell < 254).all(1)  # neither repeated nor clipped
        design = np.stack([x - 31.5, y - 31.5, np.ones(64 * 64)], 1)[inner]
        found, *_ = np.linalg.lstsq(design, places[inner])
        np.testing.assert_allclose(design @ found, places[inner], atol=1e-2)
        assert np.abs(found[2] - 31.5).max() <= SHIFT + 0.01
        assert (np.abs(np.linalg.svd(found[:2])[1] - 1) < 0.35).all()
        assert (np.diag(found[:2]) > 0.75).all(), "neither mirrored nor turned far"
        assert np.abs(found[:2] - np.eye(2)).max() > 0.01
    pixels = torch.from_numpy(PIXELS)
    still = encoder(FineCnn).augment({"pixels": pixels}, 0.0, torch.arange(5))["pixels"]
    torch.testing.assert_close(still, pixels.float(), atol=0.01, rtol=0)


def test_an_empty_column() -> None:
    assert Cnn.fit(COLUMN.hidden().compact(), {}, 0).config["mean"] == 0.5
