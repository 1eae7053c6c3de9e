"""A tagger of tokens over a pooling fusion: one vector a word, with a picture as context."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from tests.contracts.strain import WIDTH, classes, encoder, learn, vectors
from torch import nn

from xmodal.batch import Examples, Fetch, Plan
from xmodal.context import Identity
from xmodal.fusion.mean import Mean
from xmodal.heads.base import Head, Loss, Output
from xmodal.model import Model
from xmodal.tasks import Prediction, Task
from xmodal.tokens import Joint
from xmodal.training import Step, Supervised

ROWS, WORDS, KEYS = 40, 3, {"main.text", "main.picture"}


class Tagger(Head):
    def __init__(self, task: Task, width: int) -> None:
        super().__init__(task, width)
        self.last = nn.Linear(2 * width, task.width)

    def forward(self, joints: tuple[Joint, ...], examples: Examples) -> Output:
        x_RLD, mask_RL = joints[0].units("main.text", WORDS)
        context_RLD = joints[0].rep_BD[:, None].expand_as(x_RLD)
        return {"score": self.last(torch.cat([x_RLD, context_RLD], -1)), "mask": mask_RL, "state": joints[0].state_BM}

    def loss(self, output: Output, examples: Examples) -> Loss:
        y_RL = examples.y
        assert y_RL is not None
        loss_RL = F.cross_entropy(output["score"].transpose(1, 2), y_RL.clamp(min=0), reduction="none")
        use_RL = output["mask"] & (y_RL >= 0)
        return Loss((loss_RL * use_RL).sum(1) / use_RL.sum(1).clamp(min=1), examples.weight_R * use_RL.any(1))

    def predict(self, output: Output, examples: Examples) -> Prediction:
        return Prediction(output["score"].softmax(-1).detach().numpy(), output["state"].numpy())


def test_tagger() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    word_RL, picture_R = random.integers(0, 2, (ROWS, WORDS)), random.integers(0, 2, ROWS)
    unit = np.tile(np.repeat(np.arange(WORDS), 2), (ROWS, 1))  # each word has two tokens; the second one says nothing
    text = np.where(np.arange(2 * WORDS) % 2 == 0, np.repeat(word_RL, 2, 1) * 2.0 - 1, 0)[..., None] + random.normal(0, 0.1, (ROWS, 6, 2))
    columns = {
        "main.text": vectors(text, unit=unit),
        "main.picture": vectors(picture_R[:, None, None] * 2.0 - 1 + random.normal(0, 0.1, (ROWS, 2, 3))),
    }
    y_RL = torch.from_numpy(word_RL + 2 * picture_R[:, None])
    y_RL[::5, 1] = -1
    task = classes("tags", 4, ("main", KEYS))
    model = Model(
        [encoder(c) for c in columns.values()],
        {k: i for i, k in enumerate(columns)},
        {"main": Mean(tuple(columns), WIDTH, {})},
        Identity(),
        {"tags": Tagger(task, WIDTH)},
    )
    examples = {"tags": Examples((None,), y_RL, torch.ones(ROWS))}
    batch = Fetch(columns)(Plan(examples, {"main": torch.arange(ROWS)}, 0))
    step = Step(model, [Supervised()])
    learn(step, lambda: step(batch))
    tags = model(batch)["tags"]["score"].argmax(-1)
    assert (tags == y_RL)[y_RL >= 0].float().mean() > 0.95
    blind = model.answer(model.encode(batch), {}, examples, frozenset({"main.picture"}))["tags"]["score"].argmax(-1)
    assert (blind % 2 == y_RL % 2)[y_RL >= 0].float().mean() > 0.9
    assert (blind == y_RL)[y_RL >= 0].float().mean() < 0.8
