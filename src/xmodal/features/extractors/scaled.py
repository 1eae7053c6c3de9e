"""Pictures, frames of clips and sounds as a pretrained network was trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image as Pillow

from xmodal.features.extractors.base import Extractor
from xmodal.media import Raw


@dataclass(frozen=True)
class Scaled(Extractor):
    """`scaled`: uint8 [height, width, 3]: resized to `before`, [the shorter edge] or [height, width], then the middle of it, with
    black around where it is too small. `resample` is Pillow's number."""

    name: ClassVar[str] = "scaled"
    version: ClassVar[int] = 1
    before: Sequence[int] = (256,)
    height: int = 224
    width: int = 224
    resample: int = 2

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {"scaled": np.zeros((0, self.height, self.width, 3), np.uint8)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        return {"scaled": self.resized(raw.load())}

    def resized(self, rgb_HW3: np.ndarray) -> np.ndarray:
        """Of one picture of any size."""
        height, width = rgb_HW3.shape[:2]
        if len(self.before) == 1:
            short, (edge,) = min(height, width), self.before
            height, width = (edge if side == short else int(edge * side / short) for side in (height, width))
        else:
            height, width = self.before
        picture = Pillow.fromarray(rgb_HW3)
        if picture.size != (width, height):
            picture = picture.resize((width, height), Pillow.Resampling(self.resample))
        top, left = (height - self.height) // 2, (width - self.width) // 2
        if (height, width) != (self.height, self.width):
            picture = picture.crop((left, top, left + self.width, top + self.height))
        return np.asarray(picture)


@dataclass(frozen=True)
class ScaledFrames(Scaled):
    """`scaled`: uint8 [frames, height, width, 3], of a clip."""

    name: ClassVar[str] = "scaled-frames"
    decoder: ClassVar[str] = "av 1"
    frames: int = 16

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {"scaled": np.zeros((0, self.frames, self.height, self.width, 3), np.uint8)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        return {"scaled": np.stack([self.resized(frame) for frame in raw.load(frames=self.frames)])}


@dataclass(frozen=True)
class Waveform(Extractor):
    """`wave`: int16 [T], of a sound at this rate, 32,767 for 1."""

    name: ClassVar[str] = "waveform"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = "sound 1"
    ragged: ClassVar[frozenset[str]] = frozenset({"wave"})
    rate: int = 16_000

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {"wave": np.zeros(0, np.int16)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        return {"wave": np.rint(raw.load(rate=self.rate).clip(-1, 1) * 32_767).astype(np.int16)}
