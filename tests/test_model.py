from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.contracts.strain import WIDTH, classes, encoder, vectors

from xmodal.batch import Batch, Cells, Examples, Fetch, Plan
from xmodal.context import Identity
from xmodal.fusion.mean import Mean
from xmodal.heads.classify import ClassifyHead
from xmodal.job import State
from xmodal.model import Model, spread

RANDOM = np.random.default_rng(0)
COLUMNS = {key: vectors(RANDOM.normal(size=(6, 1, 2)), np.array(row)) for key, row in {"t.a": [0, 1, -1, 3, 3, 5], "t.b": range(6)}.items()}


def build(**views: set[str]) -> Model:
    torch.manual_seed(0)
    heads = {name: ClassifyHead(classes(name, 2, ("t", keys)), WIDTH) for name, keys in views.items()}
    encoders = [encoder(c) for c in COLUMNS.values()]
    return Model(encoders, {"t.a": 0, "t.b": 1}, {"t": Mean(tuple(COLUMNS), WIDTH, {})}, Identity(), heads).eval()


def batch(**examples: Examples) -> Batch:
    return Fetch(COLUMNS)(Plan(examples, {"t": torch.arange(6)}, 0))


def ask(rows: torch.Tensor | None = None) -> Examples:
    return Examples((rows,), None, torch.ones(6 if rows is None else len(rows)))


def test_a_view_reads_its_inputs_alone() -> None:
    model = build(a={"t.a"}, both={"t.a", "t.b"})
    output = model(batch(a=ask(), both=ask()))
    tokens = model.encode(batch())
    alone = model.fuse(tokens, frozenset({"t.a"}))["t"]
    assert torch.equal(output["a"]["score"], model.heads[0].last(alone.rep_BD))  # type: ignore[operator,union-attr]
    hidden = model.answer(tokens, {}, {"both": ask()}, frozenset({"t.b"}))["both"]
    assert torch.equal(hidden["state"], torch.tensor([[0, 1], [0, 1], [1, 1], [0, 1], [0, 1], [0, 1]]))
    assert set(model(batch(both=ask()))) == {"both"}, "only what is asked"


def test_examples_point_at_rows() -> None:
    model, rows = build(y={"t.a", "t.b"}), torch.tensor([5, 0, 0])
    every = model(batch(y=ask()))["y"]["score"]
    assert torch.allclose(model(batch(y=ask(rows)))["y"]["score"], every[rows], atol=1e-6)


def test_views_that_read_the_same_are_fused_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = build(one={"t.a"}, two={"t.a"}, three={"t.b"}), []
    fuse = model.fuse
    monkeypatch.setattr(model, "fuse", lambda tokens, inputs: calls.append(inputs) or fuse(tokens, inputs))
    model(batch(one=ask(), two=ask(), three=ask()))
    assert calls == [frozenset({"t.a"}), frozenset({"t.b"})]


def test_several_files_of_a_cell_stand_side_by_side() -> None:
    x = {"x": torch.randn(3, 2, 2)}
    cells = Cells(x, torch.tensor([[2, 0], [1, -1], [-1, -1]]), torch.tensor([0, 0, int(State.BROKEN)]))
    of_cell = encoder(COLUMNS["t.a"])(x)
    tokens = spread(of_cell, cells)
    assert tokens.mask_BN.int().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert torch.equal(tokens.x_BND[0], torch.cat([of_cell.x_BND[2], of_cell.x_BND[0]]))
    assert tokens.state_B.tolist() == [State.PRESENT, State.PRESENT, State.BROKEN]
