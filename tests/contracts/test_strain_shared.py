"""One encoder under two inputs, saved and loaded; encode once, fuse 2^M times."""

from __future__ import annotations

from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.contracts.strain import WIDTH, Vectors, classes, encoder, vectors

from xmodal.batch import Examples, Fetch, Plan
from xmodal.context import Identity
from xmodal.fusion import FUSIONS
from xmodal.heads.classify import ClassifyHead
from xmodal.model import Model

KEYS = ("main.title", "main.query", "main.type", "main.")  # names that would break a ModuleDict
RANDOM = np.random.default_rng(0)
ROW = np.where(RANDOM.random((4, 20)) < 0.3, -1, np.arange(20))
COLUMNS = {key: vectors(RANDOM.normal(size=(20, 2, 3)), ROW[m]) for m, key in enumerate(KEYS)}
ASKED = {"y": Examples((None,), None, torch.ones(20))}


def build(fusion: str) -> Model:
    torch.manual_seed(0)
    head = ClassifyHead(classes("y", 3, ("main", set(KEYS))), WIDTH)
    uses = {"main.title": 0, "main.query": 0, "main.type": 1, "main.": 2}
    encoders = [encoder(COLUMNS[k]) for k in KEYS[1:]]
    return Model(encoders, uses, {"main": FUSIONS[fusion](KEYS, WIDTH, {})}, Identity(), {"y": head}).eval()


def test_one_encoder_under_two_inputs(tmp_path: Path) -> None:
    model = build("transformer")
    for key, parameter in model.named_parameters():
        parameter.data += 0.1 * len(key)
    batch = Fetch(COLUMNS)(Plan(ASKED, {"main": torch.arange(20)}, 0))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = build("transformer")
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(loaded(batch)["y"]["score"], model(batch)["y"]["score"])
    assert len([name for name in model.state_dict() if name.startswith("encoders.") and name.endswith("weight")]) == 3
    grads = []
    for key in KEYS[:2]:
        model.zero_grad()
        model.answer(model.encode(batch), {}, ASKED, frozenset(KEYS) - {key})["y"]["score"].square().sum().backward()
        grads.append(model.encoders[0].linear.weight.grad)  # type: ignore[union-attr]
    assert all(g.abs().sum() > 0 for g in grads)
    assert not torch.allclose(*grads)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_encode_once_fuse_often(fusion: str) -> None:
    model = build(fusion)
    plan = Plan(ASKED, {"main": torch.arange(20)}, 0)
    with torch.no_grad():
        tokens = model.encode(Fetch(COLUMNS)(plan))
        sets = list(chain.from_iterable(combinations(KEYS, m) for m in range(len(KEYS) + 1)))
        fused = {hide: model.answer(tokens, {}, ASKED, frozenset(hide))["y"]["score"] for hide in sets}
        assert sum(e.calls for e in model.encoders if isinstance(e, Vectors)) == len(KEYS)
        for hide in sets:
            gone = Fetch({k: c.hidden() if k in hide else c for k, c in COLUMNS.items()})(plan)
            assert torch.equal(model(gone)["y"]["score"], fused[hide]), hide
