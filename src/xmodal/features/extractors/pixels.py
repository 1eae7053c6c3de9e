"""Small pictures, for networks that learn from pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xmodal.features.extractors.base import FromCell
from xmodal.media import Raw


@dataclass(frozen=True)
class Pixels(FromCell):
    """`pixels`: uint8 [size, size, 3], stretched."""

    name: ClassVar[str] = "pixels"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = "pillow 1"
    size: int = 64

    @property
    def empty(self) -> dict[str, np.ndarray]:
        """No cell."""
        return {"pixels": np.zeros((0, self.size, self.size, 3), np.uint8)}

    def one(self, raw: Raw) -> dict[str, np.ndarray]:
        """One cell."""
        return {"pixels": raw.load(size=self.size)}
