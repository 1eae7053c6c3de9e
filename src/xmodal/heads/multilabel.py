"""Any number of labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from xmodal.heads.base import LinearHead, Loss


class MultiLabelHead(LinearHead):
    """Logits [R, L]; binary cross-entropy, the mean over a row's labelled labels; a probability a label."""

    def lose(self, score_RC: Tensor, y: Tensor, weight_R: Tensor) -> Loss:
        """y [R, L]: 1, 0, or -1 where unlabelled (nothing learns from it)."""
        known_RL = (y >= 0).to(score_RC.dtype)
        loss_RL = F.binary_cross_entropy_with_logits(score_RC, y.clamp(min=0), reduction="none") * known_RL
        return Loss(loss_RL.sum(1) / known_RL.sum(1).clamp(min=1), weight_R)
