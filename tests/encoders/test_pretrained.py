"""Encoders over pretrained networks: frozen ones, low-rank changes, and all weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.doubles import pointed, ragged
from tests.networks import POSITIONS, bert, clip, videomae, vit, wav2vec2

from xmodal.batch import tensors
from xmodal.context import Identity
from xmodal.encoders.base import Encoder
from xmodal.encoders.descriptor import Descriptor
from xmodal.encoders.pretrained import resolved
from xmodal.experts.networks import choose, encoder_class, is_frozen
from xmodal.features.column import FeatureColumn
from xmodal.fusion import FUSIONS
from xmodal.job import Input
from xmodal.model import Model
from xmodal.pretrained.text import PretrainedText
from xmodal.testing import check_encoder
from xmodal.training import Step, paced

RANDOM = np.random.default_rng(0)
TEXTS = ["a good film", "the very dull story " * 9, "good", "fine plot fine plot"]
NOTES = pointed({}, {"text": ragged(TEXTS)}, np.array([0, 1, -1, 2, 3]))
SCALED = pointed({"scaled": RANDOM.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)}, {}, np.array([0, 1, -1, 2, 3]))
FRAMES = pointed({"scaled": RANDOM.integers(0, 256, (4, 4, 32, 32, 3), dtype=np.uint8)}, {}, SCALED.row_BK[:, 0])
WAVES = pointed(
    {}, {"wave": (RANDOM.integers(-999, 999, 3000).astype(np.int16), np.array([0, 900, 1500, 2500, 3000]))}, SCALED.row_BK[:, 0]
)
MADE = {
    "bert": (bert, NOTES), "vit": (vit, SCALED), "clip text": (clip, NOTES), "clip image": (clip, SCALED), "videomae": (videomae, FRAMES),
    "wav2vec2": (wav2vec2, WAVES),
}  # fmt: skip


def asked(folder: Path, mode: str) -> type[Encoder]:
    return encoder_class(resolved(f"pretrained:{folder};mode={mode}", False))


def ready(kind: type[Encoder], column: FeatureColumn) -> tuple[Encoder, dict[str, torch.Tensor]]:
    fitted = kind.fit(column, {}, 0)
    prepared = kind.transform(fitted, column)
    torch.manual_seed(0)
    return kind(fitted, 16), tensors(prepared.take(np.arange(prepared.cells)))


@pytest.mark.parametrize("name", MADE)
def test_an_encoder_whose_weights_all_learn(tmp_path: Path, name: str) -> None:
    make, column = MADE[name]
    check_encoder(asked(make(tmp_path), "full"), column)


@pytest.mark.parametrize("name", MADE)
def test_low_rank_changes_alone_are_kept(tmp_path: Path, name: str) -> None:
    make, column = MADE[name]
    kind = asked(make(tmp_path), "lora")
    encoder, x = ready(kind, column)
    learnt = {n for n, p in encoder.named_parameters() if p.requires_grad}
    kept = encoder.state_dict()
    assert learnt == kept.keys() and {n.split(".")[0] for n in learnt} == {"body", "linear", "norm"}
    assert sum(v.numel() for n, v in kept.items() if n.startswith("body.")) < 0.5 * sum(p.numel() for p in encoder.body.parameters())
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    other, _ = ready(kind, column)
    assert not torch.equal(other.eval()(x).x_BND, encoder.eval()(x).x_BND)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(x).x_BND, encoder(x).x_BND)
    outer = torch.nn.ModuleList([torch.nn.Linear(2, 2), other])
    assert not [n for n in outer.state_dict() if "body" in n and "lora_" not in n]
    outer.load_state_dict(outer.state_dict())
    with pytest.raises(RuntimeError, match=r"linear\.weight"):
        other.load_state_dict({n: v for n, v in kept.items() if n != "linear.weight"})


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_network_itself_learns(tmp_path: Path, mode: str) -> None:
    encoder, x = ready(asked(bert(tmp_path), mode), NOTES)
    before = {n: p.detach().clone() for n, p in encoder.named_parameters()}
    optimiser = torch.optim.Adam([p for n, p in encoder.named_parameters() if n.startswith("body.") and p.requires_grad], 0.01)
    y_U, losses = torch.tensor([1.0, -1, -1, 1]), []
    for _ in range(30):
        losses.append(((encoder(x).x_BND[:, 0, 0] - y_U) ** 2).mean())
        losses[-1].backward()
        optimiser.step()
        optimiser.zero_grad()
    assert losses[-1] < 0.3 * losses[0]
    moved = {n for n, p in encoder.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all(mode == "full" or "lora_" in n for n in moved)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_first_answer_is_the_frozen_networks(tmp_path: Path, mode: str) -> None:
    kind = asked(bert(tmp_path), mode)
    encoder, x = ready(kind, NOTES)
    extractor = PretrainedText(kind.checkpoint.weights)
    wanted = [m["frozen"] for m in extractor.many([{"text": np.frombuffer(t.encode(), np.uint8)} for t in TEXTS])]
    with torch.no_grad():
        assert np.allclose(encoder.eval().texts(x), wanted, atol=1e-5)
    assert x["ids"].shape[1] > POSITIONS, "one is read in windows"


def test_the_deeper_the_slower(tmp_path: Path) -> None:
    encoder, _ = ready(asked(bert(tmp_path), "full"), NOTES)
    pace = {n: encoder.pace(n) for n, _ in encoder.named_parameters()}
    lowest, first, second = (next(v for n, v in pace.items() if part in n) for part in ("word_embeddings", "layer.0.", "layer.1."))
    assert 0 < lowest < first < second < 0.02 < pace["linear.weight"] == 1

    model = Model([encoder], {"t.a": 0}, {"t": FUSIONS["mean"](["t.a"], 16, {})}, Identity(), {})
    shares = {id(p): group["pace"] for group in paced(Step(model, [])) for p in group["params"]}
    assert all(shares[id(p)] == pace[n] for n, p in encoder.named_parameters())
    assert all(shares[id(p)] == 1 for p in model.fusions.parameters())


def test_a_frozen_encoder_has_the_classic_token_too(tmp_path: Path) -> None:
    kind = asked(bert(tmp_path), "frozen")
    made = kind.extractor["text"].many([{"text": np.frombuffer(t.encode(), np.uint8)} for t in TEXTS])
    column = pointed({"frozen": np.stack([m["frozen"] for m in made])}, NOTES.ragged, NOTES.row_BK[:, 0])
    check_encoder(kind, column)
    encoder, x = ready(kind, column)
    tokens = encoder.eval()(x)
    assert tokens.x_BND.shape == (4, 2, 16) and set(Descriptor.transform(Descriptor.fit(column, {}, 0), column).ragged) <= x.keys()
    pictures = pointed({"frozen": RANDOM.normal(size=(4, 16)).astype(np.float32)}, {}, np.arange(4))
    check_encoder(asked(vit(tmp_path / "vit"), "frozen"), pictures)  # of which nothing classic is known


def test_it_is_chosen_where_it_is_asked_for(tmp_path: Path) -> None:
    frozen, tuned = (resolved(f"pretrained:{vit(tmp_path)};mode={mode}", False) for mode in ("frozen", "lora"))
    one, two = (Input("main.pic", "image", ("pic",), encoder=name) for name in (frozen, tuned))
    assert is_frozen(one) and choose(one, "descriptor") == choose(one, "raw") == frozen
    assert not is_frozen(two) and choose(two, "raw") == tuned and choose(two, "descriptor") == "descriptor"
