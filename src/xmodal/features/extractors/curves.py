"""Classic descriptors of pen drawings: where the ink goes in which direction, where it turns, and the path itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xmodal.features.extractors.base import Extractor
from xmodal.features.extractors.pen import resampled
from xmodal.media import Raw
from xmodal.modality.strokes import normalised

STEP, MOST = 0.05, 2048
TURNS = 6  # bins of the angle between two steps


@dataclass(frozen=True)
class Curves(Extractor):
    """`direction`: float32 [grid² · bins], roots of the lengths of ink in each cell of a grid and each direction, both shared by the
    nearest (Bai and Huo 2005). `turn`: [4 · 6], shares of turns in each quarter. `path`: [3 · places], x, y and pen-up along the drawing.
    `measure`: [10], of the whole."""

    name: ClassVar[str] = "curves"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = "strokes 1"
    grid: int = 8
    bins: int = 8
    places: int = 24

    @property
    def empty(self) -> dict[str, np.ndarray]:
        lengths = {"direction": self.grid**2 * self.bins, "turn": 4 * TURNS, "path": 3 * self.places, "measure": 10}
        return {name: np.zeros((0, length), np.float32) for name, length in lengths.items()}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        points_L5 = resampled(normalised(raw.load()), STEP, MOST)
        found = {
            "direction": directions(points_L5, self.grid, self.bins),
            "turn": turns(points_L5).ravel(),
            "path": path(points_L5, self.places).ravel(),
            "measure": measures(points_L5),
        }
        return {name: array.astype(np.float32) for name, array in found.items()}


def steps(points_L5: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What lies between two points of a stroke, as complex numbers: its middle, and the way."""
    z_L = points_L5[:, 0] + 1j * points_L5[:, 1]
    same = np.diff(points_L5[:, 4]) == 0
    return ((z_L[1:] + z_L[:-1]) / 2)[same], np.diff(z_L)[same]


def directions(points_L5: np.ndarray, grid: int, bins: int) -> np.ndarray:
    """Roots of lengths, [grid · grid · bins] by y, x and direction."""
    middle_T, way_T = steps(points_L5)
    places = [((axis + 1) / 2 * grid - 0.5).clip(0, grid - 1) for axis in (middle_T.imag, middle_T.real)]
    places.append(np.angle(way_T) / (2 * np.pi) * bins % bins)
    votes = np.zeros(grid * grid * bins)
    for corner in np.ndindex(2, 2, 2):
        index, weight = np.zeros(len(way_T), np.int64), np.abs(way_T)
        for place, side, size, end in zip(places, corner, (grid, grid, bins), (grid - 1, grid - 1, bins), strict=True):
            low = np.floor(place).astype(np.int64)
            weight = weight * (place - low if side else 1 - (place - low))
            index = index * size + np.minimum(low + side, end) % size
        votes += np.bincount(index, weight, len(votes))
    return np.sqrt(votes)


def turns(points_L5: np.ndarray) -> np.ndarray:
    """Shares of the angles between following steps of a stroke, [4, TURNS], by quarter of the drawing."""
    z_L, stroke_L = points_L5[:, 0] + 1j * points_L5[:, 1], points_L5[:, 4]
    way_T = np.diff(z_L)
    inner_T = (stroke_L[2:] == stroke_L[:-2]) & (way_T[1:] != 0) & (way_T[:-1] != 0)
    angle_T = np.angle(way_T[1:][inner_T] * way_T[:-1][inner_T].conj())
    at_T = z_L[1:-1][inner_T]
    quarter_T = 2 * (at_T.imag > 0) + (at_T.real > 0)
    bin_T = np.digitize(angle_T, [-0.8, -0.2, 0, 0.2, 0.8])
    return (np.bincount(quarter_T * TURNS + bin_T, minlength=4 * TURNS) / max(len(at_T), 1)).reshape(4, TURNS)


def path(points_L5: np.ndarray, places: int) -> np.ndarray:
    """x, y and whether the pen is lifted before the next place, [places, 3], evenly along the ink."""
    at = np.linspace(0, len(points_L5) - 1, places).round().astype(int)
    lifts_L = np.cumsum(np.diff(points_L5[:, 4], prepend=points_L5[0, 4]) != 0)
    return np.column_stack([points_L5[at, :2], np.diff(lifts_L[at], append=lifts_L[-1]) > 0])


def measures(points_L5: np.ndarray) -> np.ndarray:
    """Strokes and length (logarithms), width, height, the way from the first to the last point and its direction, how much it turns, how
    far the pen moves above the paper, centre of the ink; [10]."""
    z_L = points_L5[:, 0] + 1j * points_L5[:, 1]
    middle_T, way_T = steps(points_L5)
    same_T = np.diff(points_L5[:, 4]) == 0
    length = np.abs(way_T).sum()
    end = z_L[-1] - z_L[0]
    turn = np.angle(way_T[1:] * way_T[:-1].conj()).sum() if len(way_T) > 1 else 0.0
    centre = (middle_T * np.abs(way_T)).sum() / length if length else 0j
    air = np.abs(np.diff(z_L)[~same_T]).sum()
    return np.array([np.log1p((~same_T).sum()), np.log1p(length), np.ptp(z_L.real), np.ptp(z_L.imag), end.real, end.imag, turn, air, centre.real, centre.imag])  # fmt: skip # noqa: E501
