"""Clips: what each frame shows, then what comes before and after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xmodal.encoders.base import present
from xmodal.encoders.image import Cnn
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import Json
from xmodal.tokens import Tokens

CELLS = 20  # clips whose frames tell the mean and deviation


class Clip(Cnn):
    """T frames of 64 x 64 pixels -> a token a frame, with its time as position: the picture encoder's convolutions over each frame and its
    change since the frame before, whose 2 x 2 grid keeps where things are, then a bidirectional GRU (Cho et al. 2014) over time."""

    modality = frozenset({"video"})
    extractor: ClassVar[Mapping[str, Extractor]] = {"video": EXTRACTORS["frames"]()}

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """Mean and deviation of all pixels of clips spread over the column."""
        frames = np.asarray(train.dense["frames"])
        frames = np.asarray(frames[:: max(len(frames) // CELLS, 1)], np.float32) / 255
        mean, deviation = (float(frames.mean()), float(frames.std())) if len(frames) else (0.5, 0.25)
        return Fitted({"mean": mean, "deviation": max(deviation, 0.05)})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        return replace(column, dense={name: column.dense[name] for name in ("frames", "times")}, ragged={})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.stem = nn.Conv2d(6, 16, 5, 4, 2, bias=False)
        self.linear = nn.Linear(4 * 64, width)
        self.time = nn.GRU(width, (width + 1) // 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * ((width + 1) // 2), width)

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """The same shift and brightness for all frames of a clip, as of a picture."""
        frames_UTHWC = x["frames"]
        beside = frames_UTHWC.movedim(1, 3).flatten(3)  # a picture with T times as many channels
        moved = super().augment({"pixels": beside}, strength, seed_U)["pixels"]
        return {**x, "frames": moved.view(*moved.shape[:3], -1, 3).movedim(3, 1)}

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        frames_UTCHW = (x["frames"] - self.mean).mul_(self.scale).movedim(4, 2)
        change_UTCHW = torch.cat([torch.zeros_like(frames_UTCHW[:, :1]), frames_UTCHW.diff(dim=1)], 1)
        both = torch.cat([frames_UTCHW, change_UTCHW], 2).flatten(0, 1)
        y = F.avg_pool2d(self.stages(F.relu(self.norm_stem(self.stem(both)))), 2).flatten(1)
        seen_UTD = self.linear(y).view(*x["frames"].shape[:2], -1)
        tokens = present(self.norm(seen_UTD + self.out(self.time(seen_UTD)[0])))
        times_UT = x["times"] / x["times"].amax(1, keepdim=True).clamp(min=1e-6)
        return replace(tokens, position_BN3=F.pad(times_UT[..., None], (0, 2)))
