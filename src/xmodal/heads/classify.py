"""One class of several."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from xmodal.heads.base import LinearHead, Loss


class ClassifyHead(LinearHead):
    """Logits [R, C]; cross-entropy; probabilities."""

    def lose(self, score_RC: Tensor, y: Tensor, weight_R: Tensor) -> Loss:
        """y: class [R], -1 where training has no such class (nothing learns from it), or a distribution [R, C]."""
        if not y.is_floating_point():
            weight_R, y = weight_R * (y >= 0), y.clamp(min=0)
        return Loss(F.cross_entropy(score_RC, y, reduction="none"), weight_R)
