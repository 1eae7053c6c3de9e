"""One class of several."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from xmodal.batch import Examples
from xmodal.heads.base import Head, Loss, Output, linear_score
from xmodal.tasks import Prediction, Task
from xmodal.tokens import Joint


class ClassifyHead(Head):
    """Logits [R, C]; cross-entropy; probabilities."""

    def __init__(self, task: Task, width: int) -> None:
        super().__init__(task, width)
        self.last = nn.Linear(width, task.width)

    def forward(self, joints: tuple[Joint, ...], examples: Examples) -> Output:
        return linear_score(self.last, joints, examples)

    def loss(self, output: Output, examples: Examples) -> Loss:
        """y: class [R], -1 where training has no such class (nothing learns from it), or a distribution [R, C]."""
        y, weight_R = examples.y, examples.weight_R
        if y is None:
            raise ValueError("a loss needs y")
        if not y.is_floating_point():
            weight_R, y = weight_R * (y >= 0), y.clamp(min=0)
        return Loss(F.cross_entropy(output["score"], y, reduction="none"), weight_R)

    def predict(self, output: Output, examples: Examples) -> Prediction:
        return Prediction(torch.softmax(output["score"], -1).numpy(force=True), output["state"].numpy(force=True))
