"""One value."""

from __future__ import annotations

from torch import nn

from xmodal.batch import Examples
from xmodal.heads.base import Head, Loss, Output, linear_score
from xmodal.tasks import Prediction, Task
from xmodal.tokens import Joint


class RegressHead(Head):
    """Standardised value [R, 1]; squared error; value in the target's units [R]."""

    def __init__(self, task: Task, width: int) -> None:
        super().__init__(task, width)
        self.last = nn.Linear(width, 1)

    def forward(self, joints: tuple[Joint, ...], examples: Examples) -> Output:
        return linear_score(self.last, joints, examples)

    def loss(self, output: Output, examples: Examples) -> Loss:
        """y: standardised value [R]."""
        if examples.y is None:
            raise ValueError("a loss needs y")
        return Loss((output["score"][:, 0] - examples.y) ** 2, examples.weight_R)

    def predict(self, output: Output, examples: Examples) -> Prediction:
        return Prediction(self.task.unpool(output["score"].numpy(force=True)), output["state"].numpy(force=True))
