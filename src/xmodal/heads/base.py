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


def linear_score(last: nn.Linear, joints: tuple[Joint, ...], examples: Examples) -> Output:
    """`score` [R, C]: of the first view's summary, plus the examples' offset; `state` [R, M]."""
    score = last(joints[0].rep_BD)
    if examples.offset_R is not None:
        score = score + examples.offset_R
    return {"score": score, "state": joints[0].state_BM}
