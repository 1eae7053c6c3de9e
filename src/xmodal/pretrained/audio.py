"""Pretrained networks that hear sounds, as waveforms at their rate.

U sounds · T samples · D length of a vector
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from xmodal.features.extractors import Extractor, Frozen
from xmodal.features.extractors.scaled import Waveform
from xmodal.pretrained.checkpoint import Checkpoint, held, network

SHORTEST = 20  # a sound is at least this part of a second, with silence behind it: shorter ones pass through no network


def waveform(checkpoint: Checkpoint) -> Waveform:
    """What a worker makes of a sound."""
    return Waveform(int(settings(checkpoint).get("sampling_rate", 16_000)))


def settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """Of the published feature extractor."""
    said = checkpoint.json("preprocessor_config.json", "processor_config.json")
    return dict(said.get("feature_extractor", said))


def pooled(model: nn.Module, wave_T: Tensor, checkpoint: Checkpoint) -> Float[Tensor, "D"]:
    """The mean over the time. One sound at once: many networks were trained without a mask, so padding would count."""
    said = settings(checkpoint)
    x_T = wave_T.float() / 32_767
    x_T = nn.functional.pad(x_T, (0, max(0, int(said.get("sampling_rate", 16_000)) // SHORTEST - len(x_T))))
    if said.get("do_normalize", True):
        x_T = (x_T - x_T.mean()) / (x_T.var(correction=0) + 1e-7).sqrt()
    return model(input_values=x_T[None]).last_hidden_state[0].mean(0)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class PretrainedSounds(Frozen):
    """Wav2Vec2, HuBERT, WavLM and their like."""

    name: ClassVar[str] = "pretrained-audio"
    version: ClassVar[int] = 1
    network: str  # the hash of its files

    @property
    def weights(self) -> str:
        return self.network

    @property
    def length(self) -> int:
        return held(self.network).length("audio")

    @property
    def source(self) -> Extractor:
        return waveform(held(self.network))

    def many(self, cells: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        model, checkpoint = network(self.network, "audio"), held(self.network)
        with torch.inference_mode():
            return [{"frozen": pooled(model, torch.tensor(cell["wave"]), checkpoint).numpy()} for cell in cells]
