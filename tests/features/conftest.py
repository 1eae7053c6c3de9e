from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Draw = Callable[[int], list[str]]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Draws so many distinct small pictures into tmp_path/pics; their names."""

    def make(count: int) -> list[str]:
        (tmp_path / "pics").mkdir(exist_ok=True)
        names = [f"{i:04}.png" for i in range(count)]
        for i, name in enumerate(names):
            pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pics" / name)
        return names

    return make
