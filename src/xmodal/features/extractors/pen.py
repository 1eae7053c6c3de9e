"""Pen drawings at an even pace, for networks that learn from points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xmodal.features.column import within
from xmodal.features.extractors.base import Extractor
from xmodal.media import Raw
from xmodal.modality.strokes import normalised


@dataclass(frozen=True)
class Pen(Extractor):
    """`pen`: ragged float32 [L, 5]: x, y of the drawing within -1 to 1, whether the pen is lifted there, speed (log, from the
    drawing's median) and pressure (standardised), both 0 where unknown; a point every `step` along the ink, `most` points at most
    of a drawing (further apart, or of thousands of strokes some). Directions follow from the points."""

    name: ClassVar[str] = "pen"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = "strokes 1"
    ragged: ClassVar[frozenset[str]] = frozenset({"pen"})
    step: float = 0.12
    most: int = 512

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {"pen": np.zeros((0, 5), np.float32)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        points_L5 = resampled(normalised(raw.load()), self.step, self.most)
        up_L = np.append(np.diff(points_L5[:, 4]) != 0, True)
        return {"pen": np.column_stack([points_L5[:, :2], up_L, speed(points_L5), pressure(points_L5[:, 3])]).astype(np.float32)}


def resampled(points_P5: np.ndarray, step: float, most: int) -> np.ndarray:
    """Points every `step` (or less) along each stroke, with its first and its last, [L, 5]."""
    same = np.diff(points_P5[:, 4]) == 0
    # Strokes stand 1 apart on one axis, and no sample falls into the gaps.
    at_P = np.append(0, np.cumsum(np.where(same, np.hypot(*np.diff(points_P5[:, :2], axis=0).T), 1.0)))
    first_S = np.flatnonzero(np.append(True, ~same))
    last_S = np.append(first_S[1:], len(at_P)) - 1
    length_S = at_P[last_S] - at_P[first_S]
    count_S = np.ceil(length_S / max(step, 2 * length_S.sum() / most)).astype(np.int64) + 1
    share_L = within(np.zeros_like(count_S), count_S) / np.repeat(np.maximum(count_S - 1, 1), count_S)
    place_L = np.repeat(at_P[first_S], count_S) + share_L * np.repeat(length_S, count_S)
    columns = [np.interp(place_L, at_P, points_P5[:, c]) for c in range(4)]
    found = np.column_stack([*columns, np.repeat(points_P5[first_S, 4], count_S)])
    return found if len(found) <= most else found[np.linspace(0, len(found) - 1, most).round().astype(int)]


def speed(points_L5: np.ndarray) -> np.ndarray:
    """Logarithm of length over time since the point before, from its median, within -2 to 2; 0 where time is unknown or stands."""
    gone_L = np.append(0.0, np.hypot(*np.diff(points_L5[:, :2], axis=0).T))
    took_L = np.append(0.0, np.diff(points_L5[:, 2]))
    there_L = (took_L > 0) & (gone_L > 0) & np.append(False, np.diff(points_L5[:, 4]) == 0)
    found_L = np.zeros(len(gone_L))
    found_L[there_L] = np.log(gone_L[there_L]) - np.log(took_L[there_L])
    found_L[there_L] -= np.median(found_L[there_L]) if there_L.any() else 0
    return np.asarray(found_L.clip(-2, 2))


def pressure(pressure_L: np.ndarray) -> np.ndarray:
    """Standardised within the drawing; 0 where unknown or always the same."""
    known_L = np.isfinite(pressure_L) & (np.abs(pressure_L) < 1e100)
    if not known_L.any() or np.ptp(pressure_L[known_L]) == 0:
        return np.zeros(len(pressure_L))
    found_L = np.where(known_L, pressure_L, pressure_L[known_L].mean())
    return np.asarray((found_L - found_L.mean()) / max(found_L.std(), 1e-12))
