"""Classic picture descriptors: histograms of oriented gradients, of colours, and a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from xmodal.features.extractors.base import FromCell
from xmodal.media import Raw

THUMBNAIL = 8
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class Descriptor(FromCell):
    """`hog`: float32 [blocks² · 4 · bins]. `colour`: float32, 4³ RGB bins (sum 1), then an 8 x 8 thumbnail in 0..1."""

    name: ClassVar[str] = "descriptor"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = "pillow 1"
    size: int = 64
    cell: int = 8
    bins: int = 9

    @property
    def empty(self) -> dict[str, np.ndarray]:
        """No cell."""
        length = (self.size // self.cell - 1) ** 2 * 4 * self.bins
        return {"hog": np.zeros((0, length), np.float32), "colour": np.zeros((0, 64 + 3 * THUMBNAIL**2), np.float32)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        """One cell."""
        rgb_HW3 = raw.load(size=self.size)
        return {"hog": hog(rgb_HW3.astype(np.float32) @ LUMA, self.cell, self.bins), "colour": colour(rgb_HW3)}


def hog(grey_HW: np.ndarray, cell: int = 8, bins: int = 9) -> np.ndarray:
    """Histograms of oriented gradients (Dalal & Triggs, 2005): unsigned orientations, votes shared between the two
    nearest bins, square cells, overlapping blocks of 2 x 2 cells, L2-Hys (clipped at .2)."""
    side = len(grey_HW) // cell
    dx, dy = np.zeros_like(grey_HW), np.zeros_like(grey_HW)
    dx[:, 1:-1] = grey_HW[:, 2:] - grey_HW[:, :-2]
    dy[1:-1] = grey_HW[2:] - grey_HW[:-2]
    size = np.sqrt(dx * dx + dy * dy).ravel()
    place = np.arctan2(dy, dx).ravel() * np.float32(bins / np.pi) + np.float32(bins - 0.5)  # in bins, from a bin's centre
    low = place.astype(np.int32)
    share = place - low
    base = cells_of(side, cell) * bins
    votes = np.bincount(base + low % bins, size * (1 - share), side * side * bins)
    votes += np.bincount(base + (low + 1) % bins, size * share, side * side * bins)
    grid = votes.reshape(side, side, bins)
    blocks = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]], 2).reshape((side - 1) ** 2, -1)
    for clip in (0.2, np.inf):
        blocks = np.minimum(blocks / np.sqrt((blocks**2).sum(1, keepdims=True) + 1e-6), clip)
    return blocks.astype(np.float32).ravel()


@lru_cache(maxsize=8)
def cells_of(side: int, cell: int) -> np.ndarray:
    """Which cell each pixel lies in, [H · W]."""
    line = np.arange(side * cell) // cell
    return (line[:, None] * side + line).ravel()


def colour(rgb_HW3: np.ndarray) -> np.ndarray:
    """Shares of 4 x 4 x 4 RGB bins, then the means of 8 x 8 tiles."""
    r, g, b = np.moveaxis(rgb_HW3 >> 6, 2, 0).astype(np.int32)
    histogram = np.bincount((r * 16 + g * 4 + b).ravel(), minlength=64) / (rgb_HW3.shape[0] * rgb_HW3.shape[1])
    tile = rgb_HW3.shape[0] // THUMBNAIL
    small = rgb_HW3.reshape(THUMBNAIL, tile, THUMBNAIL, tile, 3).mean((1, 3), dtype=np.float32) / 255
    return np.concatenate([histogram, small.ravel()]).astype(np.float32)
