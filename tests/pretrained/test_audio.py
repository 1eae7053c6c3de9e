"""Sounds through a pretrained network, against transformers itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests.networks import wav2vec2
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

from xmodal.pretrained.audio import PretrainedSounds
from xmodal.pretrained.checkpoint import keep, read

RATE = 8000
SOUNDS = [np.sin(np.arange(length) * 0.1).astype(np.float32) * 0.5 for length in (1200, 3000, 7)]


class Sound:
    digest = ""

    def __init__(self, wave: np.ndarray) -> None:
        self.wave = wave

    def load(self, rate: int) -> np.ndarray:
        assert rate == RATE, "the network's own"
        return self.wave


def test_the_mean_over_time(tmp_path: Path) -> None:
    extractor = PretrainedSounds(keep(read(wav2vec2(tmp_path))).weights)
    made = [extractor.one(Sound(wave))["frozen"] for wave in SOUNDS]
    prepare, model = Wav2Vec2FeatureExtractor.from_pretrained(tmp_path), Wav2Vec2Model.from_pretrained(tmp_path).eval()
    for wave, vector in zip(SOUNDS[:2], made, strict=False):
        with torch.inference_mode():
            wanted = model(**prepare(wave, sampling_rate=RATE, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        assert np.allclose(vector, wanted, atol=2e-3), np.abs(vector - wanted).max()  # of 16 bits
    assert np.isfinite(made[2]).all() and extractor.empty["frozen"].shape == (0, 16)
