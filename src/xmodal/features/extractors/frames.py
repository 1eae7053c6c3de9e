"""Small frames of a clip, for networks that learn from pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from xmodal.features.extractors.base import Extractor
from xmodal.media import Raw


@dataclass(frozen=True)
class Frames(Extractor):
    """`frames`: uint8 [frames, size, size, 3], what is on the screen at evenly spread moments, stretched; `times`: float32 [frames],
    when each is first shown, in seconds after the first."""

    name: ClassVar[str] = "frames"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = "av 1"
    size: int = 64
    frames: int = 16

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {
            "frames": np.zeros((0, self.frames, self.size, self.size, 3), np.uint8), "times": np.zeros((0, self.frames), np.float32)
        }  # fmt: skip

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        return {"frames": raw.load(size=self.size, frames=self.frames), "times": cast(Any, raw).times(self.frames)}
