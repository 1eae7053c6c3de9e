from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles import pointed, ragged

from xmodal.batch import Batch, Cells, Examples, Fetch, Plan, blank, gather, uniform
from xmodal.features.column import FeatureColumn
from xmodal.job import State

TEXTS = ["one", "", "three", "四", "five five"]


def column(row_BK: np.ndarray) -> FeatureColumn:
    dense = {"x": np.arange(10.0, dtype=np.float32).reshape(5, 2) + 1}
    state_B = np.where((row_BK >= 0).any(1), State.PRESENT, State.BROKEN).astype(np.int8)
    return FeatureColumn(dense, {"text": ragged(TEXTS)}, row_BK, state_B)


@given(st.lists(st.lists(st.integers(-1, 4), min_size=2, max_size=2), min_size=1, max_size=9))
def test_gather_is_the_distinct_present_cells(pointers: list[list[int]]) -> None:
    source = column(np.array(pointers))
    cells = gather(source, np.arange(len(pointers)), source.state_B)
    used = sorted({c for row in pointers for c in row if c >= 0})
    assert len(cells.x["x"]) == max(1, len(used)), "each once; a blank one where there is none"
    row_BK = cells.row_BK if cells.row_BK is not None else torch.arange(len(pointers))[:, None]
    for b, row in enumerate(pointers):
        for k, cell in enumerate(row):
            at = int(row_BK[b, k])
            assert (at < 0) == (cell < 0)
            if cell >= 0:
                assert cells.x["x"][at].tolist() == source.dense["x"][cell].tolist()
                content = TEXTS[cell].encode()
                assert cells.x["text_length"][at] == len(content)
                assert bytes(cells.x["text"][at][: len(content)].tolist()) == content
                assert not cells.x["text"][at][len(content) :].any()


def test_every_row_its_own_cell_is_the_fast_path() -> None:
    source = column(np.array([[3], [0], [2]]))
    cells = gather(source, np.array([0, 2]), source.state_B[[0, 2]])
    assert cells.row_BK is None
    assert cells.x["x"][:, 0].tolist() == [7, 5]
    assert gather(source, np.array([0, 0]), source.state_B[[0, 0]]).row_BK is not None, "a shared cell is there once"
    assert blank(source)["text"].shape == (1, 1)


@pytest.mark.parametrize("drop", [0.3, 0.9, 1.0])
def test_column_dropout(drop: float) -> None:
    random = np.random.default_rng(0)
    columns = {
        f"main.{m}": pointed({"x": np.zeros((400, 1))}, {}, np.where(random.random(400) < 0.4, -1, np.arange(400))) for m in range(3)
    }
    rows = torch.arange(400)
    batch = Fetch(columns, drop)(Plan({}, {"main": rows}, 7))
    there = np.stack([c.state_B == State.PRESENT for c in columns.values()], 1)
    left = torch.stack([batch.cells[k].state_B == State.PRESENT for k in columns], 1).numpy()
    assert not (left & ~there).any()
    assert (left.any(1) == there.any(1)).all(), "never all of a row's inputs"
    many = there.sum(1) == 3
    # of three draws the highest stays: the others go when below drop
    expected = 3 * drop - drop**3
    assert abs((3 - left[many].sum(1)).mean() - expected) < 0.25
    part = Fetch(columns, drop)(Plan({}, {"main": rows[100:200]}, 7))
    assert all(torch.equal(part.cells[k].state_B, batch.cells[k].state_B[100:200]) for k in columns), "a draw is its row's"
    other = Fetch(columns, drop)(Plan({}, {"main": rows}, 8))
    assert any(not torch.equal(other.cells[k].state_B, batch.cells[k].state_B) for k in columns)


def test_uniform() -> None:
    draws = np.stack([uniform(seed, salt, np.arange(4000)) for seed in range(3) for salt in range(3)])
    assert (draws >= 0).all()
    assert (draws < 1).all()
    assert np.abs(np.histogram(draws, 10)[0] / draws.size - 0.1).max() < 0.01
    assert np.abs(np.corrcoef(draws) - np.eye(9)).max() < 0.06


def test_to_another_device() -> None:
    cells = Cells({"x": torch.ones(1, 2)}, torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    batch = Batch({"t": torch.arange(1)}, {"t.a": cells}, {}, {"y": Examples((None,), None, torch.ones(1))}, 0)
    moved = batch.to("meta")
    assert moved.cells["t.a"].x["x"].is_meta
    assert moved.examples["y"].weight_R.is_meta
    assert moved.examples["y"].y is None
    assert batch.to("cpu") is batch
