"""Classic clip descriptors: the middle frame's picture descriptors, the shape of what moves wherever it is, and how it moves. T frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xmodal.features.extractors.base import Extractor
from xmodal.features.extractors.descriptor import LUMA, Descriptor, colour, hog
from xmodal.media import Raw

GRID, TILE = 4, 4  # squares a side that motion is summed in; pixels a side of what flow is computed from
FINE = 4  # pixels a side of a cell, for the shape of what moves


@dataclass(frozen=True)
class Motion(Extractor):
    """`hog` and `colour` of the frame in the middle, as of a picture (`Descriptor`). `mover`: float32 [blocks · 4 · 9], finer `hog` of half
    its width and height, around the centre of what moves: that of a digit is the same wherever it is. `motion`: float32 [2 · frames +
    3 · 32], see `path` and `flow`."""

    name: ClassVar[str] = "motion"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = "av 1"
    size: int = 64
    frames: int = 16

    @property
    def empty(self) -> dict[str, np.ndarray]:
        mover = (self.size // 2 // FINE - 1) ** 2 * 4 * Descriptor().bins
        shapes = {"mover": mover, "motion": 2 * self.frames + 6 * GRID**2}
        return {**Descriptor(self.size).empty, **{name: np.zeros((0, length), np.float32) for name, length in shapes.items()}}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        frames_THW3 = raw.load(size=self.size, frames=self.frames)
        middle, still = frames_THW3[len(frames_THW3) // 2], Descriptor(self.size)
        grey_THW = frames_THW3.astype(np.float32) @ LUMA / 255
        return {
            "hog": hog(255 * grey_THW[len(grey_THW) // 2], still.cell, still.bins), "colour": colour(middle),
            "mover": hog(255 * around(grey_THW), FINE, still.bins),
            "motion": np.concatenate([path(grey_THW), *(part for half in halves(grey_THW) for part in flow(half))]).astype(np.float32),
        }  # fmt: skip


def around(grey_THW: np.ndarray) -> np.ndarray:
    """Half the width and height of the frame in the middle, around the centre of what differs from the median of all, [H / 2, W / 2]."""
    middle_HW, half = grey_THW[len(grey_THW) // 2], grey_THW.shape[1] // 4
    away_HW = np.abs(middle_HW - np.median(grey_THW, 0)) + 1e-6
    place = np.arange(len(middle_HW))
    y, x = (round(float(away_HW.sum(axis) @ place / away_HW.sum())) for axis in (1, 0))
    return np.pad(middle_HW, half, mode="edge")[y : y + 2 * half, x : x + 2 * half]


def halves(grey_THW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The clip's first and second half; they share the frame between."""
    middle = len(grey_THW) // 2
    return grey_THW[: middle + 1], grey_THW[middle:]


def path(grey_THW: np.ndarray) -> np.ndarray:
    """Where the centre of what differs from the mean frame is, y and x in -1…1, at each time, [2 · T]; 0 where nothing does."""
    away_THW = np.abs(grey_THW - grey_THW.mean(0))
    place = np.linspace(-1, 1, grey_THW.shape[1], dtype=np.float32)
    total_T = np.maximum(away_THW.sum((1, 2)), 1e-6)
    return np.concatenate([away_THW.sum(2) @ place / total_T, away_THW.sum(1) @ place / total_T])


def flow(grey_THW: np.ndarray) -> list[np.ndarray]:
    """In each of 4 × 4 squares: how far what is there moves between two frames, y and x in tiles (Lucas and Kanade 1981, one least-squares
    fit for all times), and how much it changes; each [16]."""
    count, side = len(grey_THW), grey_THW.shape[1] // TILE
    small = grey_THW.reshape(count, side, TILE, side, TILE).mean((2, 4))
    dt, mean = small[1:] - small[:-1], (small[1:] + small[:-1]) / 2
    dy, dx = np.gradient(mean, axis=(1, 2))

    def total(x: np.ndarray) -> np.ndarray:
        return np.asarray(x.reshape(count - 1, GRID, side // GRID, GRID, side // GRID).sum((0, 2, 4)).ravel())

    yy, xx, xy, yt, xt = total(dy * dy) + 0.01, total(dx * dx) + 0.01, total(dx * dy), total(dy * dt), total(dx * dt)
    area = yy * xx - xy * xy
    return [(xy * xt - xx * yt) / area, (xy * yt - yy * xt) / area, total(np.abs(dt)) / (count - 1)]
