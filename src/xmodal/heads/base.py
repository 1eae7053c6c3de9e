"""The contract of a head: joints at an example's rows -> Output, Loss, Prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from xmodal.batch import Examples
from xmodal.tasks import Prediction, Task
from xmodal.tokens import Joint

Output = Mapping[str, Tensor]


class Loss(NamedTuple):
    """A step minimises the sum over tasks of task.weight * sum(w l) / sum(w) over all ranks."""

    loss_R: Tensor
    weight_R: Tensor


class Head(nn.Module, ABC):
    """`loss` and `predict` read no parameter (sharded wrappers gather them only in forward)."""

    def __init__(self, task: Task, width: int) -> None:
        super().__init__()
        self.task = task

    @abstractmethod
    def forward(self, joints: tuple[Joint, ...], examples: Examples) -> Output:
        """Joints already taken at the examples' rows; must not read y."""

    @abstractmethod
    def loss(self, output: Output, examples: Examples) -> Loss:
        """One loss an example."""

    @abstractmethod
    def predict(self, output: Output, examples: Examples) -> Prediction:
        """One prediction an example."""


class LinearHead(Head):
    """Output: `score` [R, C] in the task's pool space, linear in the first view's summary, plus the examples' offset; `state` [R, M]."""

    def __init__(self, task: Task, width: int) -> None:
        super().__init__(task, width)
        self.last = nn.Linear(width, task.width)

    def forward(self, joints: tuple[Joint, ...], examples: Examples) -> Output:
        score_RC = self.last(joints[0].rep_BD)
        if examples.offset_R is not None:
            score_RC = score_RC + examples.offset_R
        return {"score": score_RC, "state": joints[0].state_BM}

    def loss(self, output: Output, examples: Examples) -> Loss:
        if examples.y is None:
            raise ValueError("a loss needs y")
        return self.lose(output["score"], examples.y, examples.weight_R)

    def predict(self, output: Output, examples: Examples) -> Prediction:
        return Prediction(self.task.unpool(output["score"].numpy(force=True)), output["state"].numpy(force=True))

    @abstractmethod
    def lose(self, score_RC: Tensor, y: Tensor, weight_R: Tensor) -> Loss:
        """One loss an example."""
