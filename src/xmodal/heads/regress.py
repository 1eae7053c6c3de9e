"""One value."""

from __future__ import annotations

from torch import Tensor

from xmodal.heads.base import LinearHead, Loss


class RegressHead(LinearHead):
    """Standardised value [R, 1]; squared error; value in the target's units [R]."""

    def lose(self, score_RC: Tensor, y: Tensor, weight_R: Tensor) -> Loss:
        return Loss((score_RC[:, 0] - y) ** 2, weight_R)
