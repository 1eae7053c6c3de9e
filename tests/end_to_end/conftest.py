"""A small table of pictures, sentences and plain columns, drawn on the spot."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

SENTENCES = (("a quiet morning by the lake", "rain fell over the old town"), ("bright lights in the city", "the market opens at noon"))


def draw(folder: Path, rows: int, seed: int = 0) -> pd.DataFrame:
    """`label` is told by the picture's colour in half the rows and by the sentence in the others."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    label = random.integers(0, 2, rows)
    found = []
    for row in range(rows):
        red = label[row] if row % 2 else random.integers(2)
        words = random.integers(2) if row % 2 else label[row]
        pixels = random.integers(0, 60, (24, 24, 3)).astype(np.uint8)
        pixels[4:20, 4:20, 0 if red else 2] += 180
        Image.fromarray(pixels).save(folder / f"{row}.png")
        text = f"{SENTENCES[words][random.integers(2)]}, number {row} of the album"
        size = random.normal() + label[row]
        found.append({"key": f"{row:03d}", "picture": f"{row}.png", "story": text, "size": size, "shop": "xyz"[row % 3]})
    table = pd.DataFrame(found)
    table["label"] = np.where(label, "yes", "no")
    table["value"] = label * 2.0 + table["size"] + 100
    return table


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("table")
    rows = draw(folder, 90)
    rows.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv", rows


@pytest.fixture(scope="session")
def learner(table):
    from xmodal import Learner

    return Learner(target="label", id="key", ignore="value", training={"epochs": 4, "minimum": 1, "folds": 3}).fit(table[0])
