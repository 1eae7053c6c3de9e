"""What is heard of a sound: log-mel frames for networks, statistics of cepstral coefficients for classic experts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar, cast

import numpy as np

from xmodal.features.extractors.base import Extractor
from xmodal.media import Raw
from xmodal.modality.audio import Sound
from xmodal.modality.spectrum import RANGE, log_mel


@dataclass(frozen=True)
class LogMel(Extractor):
    """`logmel`: float16 [L, bands], a frame each 10 ms."""

    name: ClassVar[str] = "logmel"
    version: ClassVar[int] = 2
    decoder: ClassVar[str] = "sound 1"
    ragged: ClassVar[frozenset[str]] = frozenset({"logmel"})
    bands: int = 64

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {"logmel": np.zeros((0, self.bands), np.float16)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        return {"logmel": log_mel(raw.load(), self.bands).astype(np.float16)}


@dataclass(frozen=True)
class Mfcc(Extractor):
    """Mel-frequency cepstral coefficients (Davis and Mermelstein, 1980), without the room's noise. `mfcc`: float32 [4 · count + 1],
    mean and deviation, those of their slopes, log of the number of frames. `mfcc_course`: float32 [segments · count], means of equal parts
    of the time, less the whole's. `unread`: float32 [2], seconds, and those of them that are left out."""

    name: ClassVar[str] = "mfcc"
    version: ClassVar[int] = 2
    decoder: ClassVar[str] = "sound 1"
    bands: int = 40
    count: int = 13
    segments: int = 10

    @property
    def empty(self) -> dict[str, np.ndarray]:
        shapes = {"mfcc": 4 * self.count + 1, "mfcc_course": self.segments * self.count, "unread": 2}
        return {name: np.zeros((0, size), np.float32) for name, size in shapes.items()}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        x_LF = log_mel(raw.load(), self.bands)
        x_LK = np.maximum(x_LF, x_LF.max() - RANGE) @ cosines(self.bands, self.count)
        slope_LK = slopes(x_LK)
        parts = [x_LK.mean(0), x_LK.std(0), slope_LK.mean(0), slope_LK.std(0), np.log([len(x_LK)])]
        ends = np.linspace(0, len(x_LK), self.segments + 1)
        course = [x_LK[int(low) : int(np.ceil(high))].mean(0) - parts[0] for low, high in pairwise(ends)]
        found = {"mfcc": np.concatenate(parts), "mfcc_course": np.concatenate(course), "unread": np.array(cast(Sound, raw).unread)}
        return {name: array.astype(np.float32) for name, array in found.items()}


@lru_cache(maxsize=4)
def cosines(bands: int, count: int) -> np.ndarray:
    """The first columns of the orthonormal discrete cosine transform (type 2), float32 [bands, count]."""
    waves = np.cos(np.pi / bands * (np.arange(bands)[:, None] + 0.5) * np.arange(count)) * np.sqrt(2 / bands)
    waves[:, 0] *= np.sqrt(0.5)
    return np.asarray(waves, np.float32)


def slopes(x_LK: np.ndarray) -> np.ndarray:
    """Of the line of least squares through five frames around each (Furui, 1986), the first and last repeated."""
    padded = np.pad(x_LK, ((2, 2), (0, 0)), mode="edge")
    return np.asarray((2 * (padded[4:] - padded[:-4]) + padded[3:-1] - padded[1:-3]) / 10)
