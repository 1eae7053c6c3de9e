"""The demo table: each input alone says exactly nothing about the label, both together all but the noise."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xmodal.demo import SIDE, WORDS, draw


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    table = pd.read_csv(draw(folder, 400, 0), dtype=str)
    pixels = np.stack([np.asarray(Image.open(folder / p), float) for p in table["picture"]])
    table["warm"] = (pixels[..., 0] - pixels[..., 2]).mean((1, 2)) > 0
    table["hot"] = [any(re.search(rf"\b{w}\b", s) for w in WORDS[0]) for s in table["sentence"]]
    return table, pixels


def test_shares_are_exact_in_each_part(drawn):
    table, _ = drawn
    assert list(table.columns[:8]) == ["id", "split", "picture", "sentence", "price", "shop", "label", "mood"]
    assert table["id"].is_unique and table["picture"].is_unique and (table["split"].value_counts() == 400).all()
    fits = table["label"] == "fits"
    for _, part in table.assign(fits=fits).groupby("split"):
        assert (part.groupby("hot")["fits"].mean() == 0.5).all(), "the sentence alone says nothing"
        assert (part["fits"] == (part["warm"] == part["hot"])).mean() == pytest.approx(0.9, abs=0.02)
        assert ((part["mood"] == "hot") == part["hot"]).mean() == 0.9, "mood is told by the sentence"


def test_the_picture_alone_says_nothing_and_shows_its_hue(drawn):
    table, pixels = drawn
    grey = pixels.mean(-1, keepdims=True)
    vivid = np.abs(pixels - grey).mean(-1) > 25
    assert pixels.shape == (800, SIDE, SIDE, 3) and (vivid.mean((1, 2)) > 0.01).mean() > 0.97
    for warm, part in table.groupby("warm"):
        assert (part["label"] == "fits").mean() == pytest.approx(0.5, abs=0.03), warm


def test_pictures_and_sentences_vary(drawn):
    table, pixels = drawn
    assert table["sentence"].nunique() > 700 and len(np.unique(pixels.reshape(800, -1), axis=0)) == 800


def test_the_seed_decides_all(tmp_path):
    one, two, other = (draw(tmp_path / name, 40, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    picture = "pictures/train-00007.png"
    assert (one.parent / picture).read_bytes() == (two.parent / picture).read_bytes() != (other.parent / picture).read_bytes()
