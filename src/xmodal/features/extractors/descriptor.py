"""Classic picture descriptors: histograms of oriented gradients, of colours, and a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xmodal.features.extractors.base import Extractor
from xmodal.media import Raw

THUMBNAIL = 8
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class Descriptor(Extractor):
    """`hog`: float32 [blocks · 4 · bins]. `colour`: float32 [64 + 192], shares of 4³ RGB bins, then an 8 × 8 thumbnail."""

    name: ClassVar[str] = "descriptor"
    version: ClassVar[int] = 1
    size: int = 64
    cell: int = 8
    bins: int = 9

    @property
    def empty(self) -> dict[str, np.ndarray]:
        length = (self.size // self.cell - 1) ** 2 * 4 * self.bins
        return {"hog": np.zeros((0, length), np.float32), "colour": np.zeros((0, 64 + 3 * THUMBNAIL**2), np.float32)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        rgb_HW3 = raw.load(size=self.size)
        return {"hog": hog(rgb_HW3.astype(np.float32) @ LUMA, self.cell, self.bins), "colour": colour(rgb_HW3)}


def hog(grey_HW: np.ndarray, cell: int, bins: int) -> np.ndarray:
    """Histograms of oriented gradients (Dalal & Triggs, 2005): unsigned orientation, each vote shared by the two nearest
    bins, square cells, overlapping blocks of 2 × 2 cells, L2-Hys (clipped at .2)."""
    side = len(grey_HW) // cell
    dx, dy = np.zeros_like(grey_HW), np.zeros_like(grey_HW)
    dx[:, 1:-1] = grey_HW[:, 2:] - grey_HW[:, :-2]
    dy[1:-1] = grey_HW[2:] - grey_HW[:-2]
    strength = np.hypot(dx, dy).ravel()
    place = np.arctan2(dy, dx).ravel() * np.float32(bins / np.pi) + np.float32(2 * bins - 0.5)  # in bins, from a bin's centre; > 0
    low = place.astype(np.int64)
    share = place - low
    line = np.arange(side * cell) // cell
    first = ((line[:, None] * side + line) * bins).ravel()  # where the histogram of each pixel's cell begins
    votes = np.bincount(first + low % bins, strength * (1 - share), side * side * bins)
    votes += np.bincount(first + (low + 1) % bins, strength * share, side * side * bins)
    grid = votes.reshape(side, side, bins)
    blocks = np.concatenate([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]], 2).reshape(-1, 4 * bins)
    for clip in (0.2, np.inf):
        blocks = np.minimum(blocks / np.sqrt((blocks**2).sum(1, keepdims=True) + 1e-6), clip)
    return blocks.astype(np.float32).ravel()


def colour(rgb_HW3: np.ndarray) -> np.ndarray:
    """Shares of 4 × 4 × 4 RGB bins, then the means of 8 × 8 tiles in 0..1."""
    r, g, b = np.moveaxis(rgb_HW3 >> 6, 2, 0).astype(np.int64)
    shares = np.bincount((r * 16 + g * 4 + b).ravel(), minlength=64) / r.size
    tile = len(rgb_HW3) // THUMBNAIL
    small = rgb_HW3.reshape(THUMBNAIL, tile, THUMBNAIL, tile, 3).mean((1, 3), dtype=np.float32) / 255
    return np.concatenate([shares, small.ravel()]).astype(np.float32)
