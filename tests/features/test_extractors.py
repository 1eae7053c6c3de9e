from __future__ import annotations

import math

import numpy as np
import pytest

from xmodal.features.extractors import EXTRACTORS
from xmodal.features.extractors.descriptor import Descriptor, colour, hog
from xmodal.features.extractors.pixels import Pixels


class Loaded:
    """A Raw of ready pixels."""

    digest = ""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def load(self, size: int | None = None) -> np.ndarray:
        assert size in (None, len(self.pixels))
        return self.pixels


def plain_hog(grey: np.ndarray, cell: int, bins: int) -> list[float]:
    """Dalal & Triggs, a pixel at a time."""
    side = len(grey) // cell
    votes = [[[0.0] * bins for _ in range(side)] for _ in range(side)]
    for y in range(side * cell):
        for x in range(side * cell):
            dx = grey[y][x + 1] - grey[y][x - 1] if 0 < x < len(grey) - 1 else 0.0
            dy = grey[y + 1][x] - grey[y - 1][x] if 0 < y < len(grey) - 1 else 0.0
            degrees = math.degrees(math.atan2(dy, dx)) % 180
            place = degrees / (180 / bins) - 0.5  # bin centres stand at 10, 30, … degrees for 9 bins
            low = math.floor(place)
            strength = math.hypot(dx, dy)
            votes[y // cell][x // cell][low % bins] += strength * (1 - (place - low))
            votes[y // cell][x // cell][(low + 1) % bins] += strength * (place - low)
    out: list[float] = []
    for y in range(side - 1):
        for x in range(side - 1):
            block = [v for dy in (0, 1) for dx in (0, 1) for v in votes[y + dy][x + dx]]
            for clip in (0.2, math.inf):
                norm = math.sqrt(sum(v * v for v in block) + 1e-6)
                block = [min(v / norm, clip) for v in block]
            out += block
    return out


@pytest.mark.parametrize(("size", "cell", "bins"), [(32, 8, 9), (24, 6, 4)])
def test_hog_is_the_formula(size: int, cell: int, bins: int) -> None:
    grey = np.random.default_rng(0).random((size, size)).astype(np.float32) * 255
    np.testing.assert_allclose(hog(grey, cell, bins), plain_hog(grey.astype(float), cell, bins), atol=1e-4)


def test_hog_sees_edges_and_not_brightness() -> None:
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))
    upright = hog(ramp, 8, 9).reshape(49, 4, 9)
    assert np.allclose(upright.sum((0, 1)).argsort()[-2:], [0, 8]) or set(upright.sum((0, 1)).argsort()[-2:]) == {0, 8}
    assert hog(ramp.T, 8, 9).reshape(-1, 9).sum(0).argmax() == 4
    np.testing.assert_allclose(hog(ramp + 100, 8, 9), hog(ramp, 8, 9), atol=1e-5)
    np.testing.assert_allclose(hog(-3 * ramp, 8, 9), hog(ramp, 8, 9), atol=1e-4)
    assert not hog(np.full((64, 64), 7, np.float32), 8, 9).any()


def test_colour_is_the_formula() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    got = colour(rgb)
    shares = np.zeros((4, 4, 4))
    for r, g, b in rgb.reshape(-1, 3):
        shares[r // 64, g // 64, b // 64] += 1 / 1024
    np.testing.assert_allclose(got[:64], shares.ravel(), atol=1e-6)
    tiles = [rgb[y : y + 4, x : x + 4, c].mean() / 255 for y in range(0, 32, 4) for x in range(0, 32, 4) for c in range(3)]
    np.testing.assert_allclose(got[64:], tiles, atol=1e-6)


@pytest.mark.parametrize("extractor", [Descriptor(), Descriptor(size=32, bins=6), Pixels(), Pixels(size=16)])
def test_outputs_are_as_announced(extractor: Descriptor | Pixels) -> None:
    assert EXTRACTORS[extractor.name] is type(extractor)
    pixels = np.random.default_rng(1).integers(0, 256, (extractor.size, extractor.size, 3)).astype(np.uint8)
    made = extractor.one(Loaded(pixels))
    assert {n: (a.shape[1:], a.dtype, len(a)) for n, a in extractor.empty.items()} == {n: (a.shape, a.dtype, 0) for n, a in made.items()}


def test_specs_differ_by_settings_and_are_stable() -> None:
    digests = {e.spec.digest for e in (Descriptor(), Descriptor(size=32), Descriptor(bins=8), Pixels(), Pixels(size=32))}
    assert len(digests) == 5
    assert Descriptor().spec == Descriptor(64, 8, 9).spec
    assert Pixels().spec.settings == '{"size": 64}'
