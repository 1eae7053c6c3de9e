"""The contract of a head: joints at an example's rows -> Output, Loss, Prediction."""

from __future__ import annotations

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


class Head(nn.Module):
    """`loss` and `predict` read no parameter (sharded wrappers gather them only in forward)."""

    def __init__(self, task: Task, width: int) -> None:
        super().__init__()
        self.task = task

    def forward(self, joints: tuple[Joint, ...], examples: Examples) -> Output:
        """Joints already taken at the examples' rows; must not read y."""
        raise NotImplementedError

    def loss(self, output: Output, examples: Examples) -> Loss:
        """One loss an example."""
        raise NotImplementedError

    def predict(self, output: Output, examples: Examples) -> Prediction:
        """One prediction an example."""
        raise NotImplementedError
