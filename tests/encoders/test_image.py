from __future__ import annotations

import numpy as np
import torch
from tests.doubles import pointed

from xmodal.encoders.image import SHIFT, Cnn

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
COLUMN = pointed({"pixels": PIXELS, "hog": np.zeros((5, 2), np.float32)}, {}, np.arange(5))


def encoder() -> Cnn:
    torch.manual_seed(0)
    return Cnn(Cnn.fit(COLUMN, {}, 0), 16).eval()


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


def test_an_empty_column() -> None:
    assert Cnn.fit(COLUMN.hidden().compact(), {}, 0).config["mean"] == 0.5
