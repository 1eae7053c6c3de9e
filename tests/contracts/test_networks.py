from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.doubles import columns, pointed, ragged, table
from torch import nn

from xmodal.encoders import ENCODERS
from xmodal.encoders.base import Encoder, present
from xmodal.encoders.plain import Plain
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.fusion import FUSIONS
from xmodal.fusion.base import Fusion
from xmodal.fusion.mean import Mean
from xmodal.heads import HEADS
from xmodal.heads.classify import ClassifyHead
from xmodal.testing import check_encoder, check_fusion, check_head
from xmodal.tokens import Joint

DATA = columns(12, np.linspace(-2, 2, 12))
RANDOM = np.random.default_rng(0)
TEXTS = ["A blue sky", "", "今日は寒いです", "red, green and blue", "สวัสดี ครับ", "हिन्दी", "rare"]
SOUND = np.cumsum([0, 30, 1, 47, 8])
STEPS = np.array([0, 150, 151, 190, 270])
SERIES = pointed(
    {"length": np.diff(STEPS)}, {"steps": (RANDOM.normal(3, 2, (270, 3)).astype(np.float32), STEPS)}, np.array([0, 1, -1, 2, 3])
)
COLUMNS: dict[str, list[FeatureColumn]] = {
    "recurrent": [SERIES],
    "transformer": [SERIES],
    "descriptor": [DATA["main.note"], DATA["main.pic"], pointed({}, {"text": ragged(TEXTS)}, np.arange(7))],
    "bilstm": [DATA["main.note"], pointed({}, {"text": ragged(TEXTS)}, np.arange(7))],
    "fine": [pointed({"pixels": RANDOM.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)}, {}, np.array([0, 1, 1, -1, 2, 3]))],
    "acoustic": [pointed({}, {"logmel": (RANDOM.normal(-5, 2, (86, 64)).astype(np.float16), SOUND)}, np.array([0, 1, 1, -1, 2, 3]))],
    "cnn": [pointed({"pixels": RANDOM.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)}, {}, np.array([0, 1, 1, -1, 2, 3]))],
    "stroke": [
        pointed({}, {"pen": (RANDOM.normal(size=(40, 5)).astype(np.float32), np.array([0, 9, 10, 12, 40]))}, np.array([0, 1, 1, -1, 2, 3]))
    ],
    "plain": [DATA["main.table"]],
    "clip": [
        pointed(
            {
                "frames": RANDOM.integers(0, 256, (4, 5, 64, 64, 3), dtype=np.uint8),
                "times": np.cumsum(RANDOM.random((4, 5), np.float32), 1),
            },
            {},
            np.array([0, 1, 1, -1, 2, 3]),
        )
    ],
}


@pytest.mark.parametrize(("name", "which"), [(name, i) for name in ENCODERS for i in range(len(COLUMNS[name]))])
def test_encoder(name: str, which: int) -> None:
    check_encoder(ENCODERS[name], COLUMNS[name][which])


@pytest.mark.parametrize("cells", [0, 1, 2])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_of_few_cells(name: str, cells: int) -> None:
    column = COLUMNS[name][-1]
    some = np.flatnonzero((column.row_BK < cells).all(1))  # a missing one too, where there is one
    few = column.rows(some).compact()
    assert few.cells == cells
    check_encoder(ENCODERS[name], few)


@pytest.mark.parametrize("name", FUSIONS)
def test_fusion(name: str) -> None:
    check_fusion(FUSIONS[name])


@pytest.mark.parametrize("kind", HEADS)
def test_head(kind: str) -> None:
    task, data = table(kind)
    y = data.examples["y"].y
    assert y is not None
    for count in (0, 1, len(y)):
        check_head(HEADS[kind], task, y[:count])


class Centred(Plain):
    """Looks at the other cells."""

    def forward(self, x):  # type: ignore[no-untyped-def]
        tokens = super().forward(x)
        return present(tokens.x_BND - tokens.x_BND.mean(0), tokens.mask_BN)


class Idle(Plain):
    """Has a parameter that nothing reads."""

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.idle = nn.Parameter(torch.zeros(1))


class Counting(Mean):
    """Counts tokens that are not there."""

    def forward(self, tokens):  # type: ignore[no-untyped-def]
        joint = super().forward(tokens)
        length = sum(t.x_BND.shape[1] for t in tokens.values())
        return Joint.of(joint.rep_BD * length, {k: tokens[k] for k in joint.inputs})


class Telling(Mean):
    """Reads why a cell is gone."""

    def forward(self, tokens):  # type: ignore[no-untyped-def]
        joint = super().forward(tokens)
        why_B = sum(t.state_B for t in tokens.values()) * 0.01
        return Joint.of(joint.rep_BD + why_B[:, None], {k: tokens[k] for k in joint.inputs})


class Normed(Mean):
    """Learns from the other rows of its batch."""

    def __init__(self, inputs, width, settings):  # type: ignore[no-untyped-def]
        super().__init__(inputs, width, settings)
        self.batch = nn.BatchNorm1d(width)

    def forward(self, tokens):  # type: ignore[no-untyped-def]
        joint = super().forward(tokens)
        return Joint.of(self.batch(joint.rep_BD), {k: tokens[k] for k in joint.inputs})


class Cheating(ClassifyHead):
    """Computes the score in predict."""

    def predict(self, output, examples):  # type: ignore[no-untyped-def]
        return super().predict({**output, "score": output["score"] * self.last.weight.sum()}, examples)


@pytest.mark.parametrize(("wrong", "says"), [(Centred, "alone"), (Idle, "idle")])
def test_the_encoder_check_can_fail(wrong: type[Encoder], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_encoder(wrong, DATA["main.table"])


@pytest.mark.parametrize(("wrong", "says"), [(Counting, "padding"), (Telling, "why"), (Normed, "in training")])
def test_the_fusion_check_can_fail(wrong: type[Fusion], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_fusion(wrong)


def test_the_head_check_can_fail() -> None:
    task, data = table("classify")
    with pytest.raises(AssertionError, match="predict"):
        check_head(Cheating, task, data.examples["y"].y)  # type: ignore[arg-type]
