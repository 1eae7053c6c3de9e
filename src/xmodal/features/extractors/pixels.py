"""Small pictures, for networks that learn from pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xmodal.features.extractors.base import Extractor
from xmodal.media import Raw


@dataclass(frozen=True)
class Pixels(Extractor):
    """`pixels`: uint8 [size, size, 3], stretched."""

    name: ClassVar[str] = "pixels"
    version: ClassVar[int] = 1
    size: int = 64

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {"pixels": np.zeros((0, self.size, self.size, 3), np.uint8)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        return {"pixels": raw.load(size=self.size)}
