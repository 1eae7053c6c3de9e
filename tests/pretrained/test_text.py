"""Texts through a pretrained network, against transformers itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.networks import POSITIONS, bert, clip
from transformers import BertModel, CLIPModel

from xmodal.pretrained import text as module
from xmodal.pretrained.checkpoint import keep, read
from xmodal.pretrained.text import WINDOWS, PretrainedText, windows

TEXTS = ["a good film", "the dull story", "", "very fine", "good " * 9]
WORD = {"good": 4, "a": 8, "film": 6}


def cell(text: str) -> dict[str, np.ndarray]:
    return {"text": np.frombuffer(text.encode(), np.uint8)}


def test_the_mean_of_the_tokens(tmp_path: Path) -> None:
    extractor = PretrainedText(keep(read(bert(tmp_path))).weights)
    model = BertModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        wanted = model(input_ids=torch.tensor([[2, WORD["a"], WORD["good"], WORD["film"], 3]])).last_hidden_state[0].mean(0).numpy()
    made = extractor.many([cell(t) for t in TEXTS])
    assert np.allclose(made[0]["frozen"], wanted, atol=1e-6)
    for one, text in zip(made, TEXTS, strict=True):
        assert np.allclose(one["frozen"], extractor.many([cell(text)])[0]["frozen"], atol=1e-6), "a text alone differs"
    assert extractor.many([]) == []


def test_a_long_text_is_read_in_windows(tmp_path: Path) -> None:
    weights, inner = keep(read(bert(tmp_path))).weights, POSITIONS - 2
    extractor = PretrainedText(weights)
    words = (["good", "a", "film"] * 60)[: 2 * inner + 3]
    whole = extractor.many([cell(" ".join(words))])[0]
    parts = [extractor.many([cell(" ".join(words[i : i + inner]))])[0]["frozen"] for i in range(0, len(words), inner)]
    assert len(parts) == 3 and np.allclose(whole["frozen"], np.mean(parts, 0), atol=1e-6)
    assert whole["unread"].tolist() == [len(words), 0]
    long = "good " * (WINDOWS * inner + 5)
    assert extractor.many([cell(long)])[0]["unread"].tolist() == [WINDOWS * inner + 5, 5]
    assert len(windows(weights, [long]).ids) == WINDOWS


@pytest.mark.parametrize("full", [False, True])
def test_the_text_tower_of_a_joint_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    extractor = PretrainedText(keep(read(clip(tmp_path))).weights)
    model = CLIPModel.from_pretrained(tmp_path).eval()
    ids = torch.tensor([[2, WORD["a"], WORD["good"], WORD["film"], 3]])
    mask = None
    if full:  # as SigLIP's: padded to the whole length, and the padding read
        monkeypatch.setattr(module, "FULL", ("clip",))
        ids = torch.cat([ids, torch.zeros(1, POSITIONS - 5, dtype=torch.int64)], 1)
        mask = torch.ones_like(ids)
    with torch.inference_mode():
        wanted = model.get_text_features(input_ids=ids, attention_mask=mask)
    wanted = wanted if isinstance(wanted, torch.Tensor) else wanted.pooler_output
    made = extractor.many([cell("a good film"), cell("very fine")])[0]["frozen"]
    assert made.shape == (12,) and np.allclose(made, wanted[0].numpy(), atol=1e-6)
