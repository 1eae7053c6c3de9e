"""Any number of labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from xmodal.batch import Examples
from xmodal.heads.base import Head, Loss, Output, linear_score
from xmodal.tasks import Prediction, Task
from xmodal.tokens import Joint


class MultiLabelHead(Head):
    """Logits [R, L]; binary cross-entropy, the mean over a row's labelled labels; a probability a label."""

    def __init__(self, task: Task, width: int) -> None:
        super().__init__(task, width)
        self.last = nn.Linear(width, task.width)

    def forward(self, joints: tuple[Joint, ...], examples: Examples) -> Output:
        return linear_score(self.last, joints, examples)

    def loss(self, output: Output, examples: Examples) -> Loss:
        """y [R, L]: 1, 0, or -1 where unlabelled (nothing learns from it)."""
        if examples.y is None:
            raise ValueError("a loss needs y")
        known_RL = (examples.y >= 0).to(output["score"].dtype)
        loss_RL = F.binary_cross_entropy_with_logits(output["score"], examples.y.clamp(min=0), reduction="none") * known_RL
        return Loss(loss_RL.sum(1) / known_RL.sum(1).clamp(min=1), examples.weight_R)

    def predict(self, output: Output, examples: Examples) -> Prediction:
        return Prediction(torch.sigmoid(output["score"]).numpy(force=True), output["state"].numpy(force=True))
