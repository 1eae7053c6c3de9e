"""What the pooled experts miss: one small network over all inputs, added to them."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, cast

import numpy as np
import torch
from torch import nn

from xmodal.batch import Batch, Examples
from xmodal.experts.deep import Deep
from xmodal.heads.base import Head, Loss, Output
from xmodal.job import State, TaskName
from xmodal.model import Model
from xmodal.training import Objective, Supervised


class Paired(Supervised):
    """Rows of which fewer than two inputs are left teach nothing: there is nothing to correct in a single."""

    def forward(self, model: Model, batch: Batch) -> dict[TaskName, Loss]:
        state_MB = torch.stack([batch.cells[key].state_B for key in model.uses])
        paired_B = ((state_MB == State.PRESENT).sum(0) > 1).float()
        examples = {name: e._replace(weight_R=e.weight_R * paired_B) for name, e in batch.examples.items()}
        return super().forward(model, replace(batch, examples=examples))


class Correction(Deep):
    """Settings as of `Deep`. Learns on the examples' `offset_R` (the experts' pooled z, out-of-fold); its last layer
    starts at 0. `Prediction.score` [R, C] is not a score of its own but what is added to that z."""

    name = "correction"
    family = "hybrid"
    fusion: ClassVar[str] = "mean"
    drop: ClassVar[float] = 0.3

    def build(self) -> Model:
        model = super().build()
        for head in model.heads:
            nn.init.zeros_(cast(nn.Linear, head.last).weight)
            nn.init.zeros_(cast(nn.Linear, head.last).bias)
        return model

    def objective(self) -> Objective:
        return Paired()

    def score(self, head: Head, output: Output, examples: Examples) -> np.ndarray:
        return output["score"].numpy(force=True)
