"""Two views of one table with a contrastive loss over identities."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from tests.contracts.strain import WIDTH, classes, encoder, learn, vectors
from torch import nn

from xmodal.batch import Examples, Fetch, Plan
from xmodal.context import Identity
from xmodal.fusion.transformer import Transformer
from xmodal.heads.base import Head, Loss, Output
from xmodal.model import Model
from xmodal.tasks import Prediction, Task
from xmodal.tokens import Joint
from xmodal.training import Step, Supervised

ROWS = 48  # of 24 identities


class Align(Head):
    """Supervised contrast (Khosla et al. 2020): every row of the same identity is a positive."""

    def __init__(self, task: Task, width: int) -> None:
        super().__init__(task, width)
        self.left, self.right = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, joints: tuple[Joint, ...], examples: Examples) -> Output:
        left, right = self.left(joints[0].rep_BD), self.right(joints[1].rep_BD)
        return {"left": F.normalize(left, dim=1), "right": F.normalize(right, dim=1), "state": joints[0].state_BM}

    def loss(self, output: Output, examples: Examples) -> Loss:
        assert examples.y is not None
        same_RR = examples.y[:, None] == examples.y
        score_RR = (output["left"] @ output["right"].T / 0.1).log_softmax(1)
        return Loss(-(score_RR * same_RR).sum(1) / same_RR.sum(1), examples.weight_R)

    def predict(self, output: Output, examples: Examples) -> Prediction:
        return Prediction(output["left"].detach().numpy(), output["state"].numpy())


def test_contrast() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    latent = random.normal(size=(ROWS // 2, 4)).repeat(2, 0)
    turn = random.normal(size=(4, 4))
    columns = {
        "main.sound": vectors((latent + random.normal(0, 0.05, latent.shape))[:, None]),
        "main.film": vectors((latent @ turn + random.normal(0, 0.05, latent.shape))[:, None]),
    }
    task = classes("align", 2, ("main", {"main.sound"}), ("main", {"main.film"}))
    model = Model(
        [encoder(c) for c in columns.values()],
        {k: i for i, k in enumerate(columns)},
        {"main": Transformer(tuple(columns), WIDTH, {})},
        Identity(),
        {"align": Align(task, WIDTH)},
    )
    identity = torch.arange(ROWS) // 2
    batch = Fetch(columns)(Plan({"align": Examples((None, None), identity, torch.ones(ROWS))}, {"main": torch.arange(ROWS)}, 0))
    step = Step(model, [Supervised()])
    learn(step, lambda: step(batch), 100)
    output = model(batch)["align"]
    best = (output["left"] @ output["right"].T).argmax(1)
    assert (identity[best] == identity).float().mean() > 0.9
    deaf = Fetch({**columns, "main.sound": columns["main.sound"].hidden()})(Plan(dict(batch.examples), dict(batch.ids), 0))
    other = model(deaf)["align"]
    assert torch.equal(other["right"], output["right"]), "a view reads what it may not"
    assert not torch.allclose(other["left"], output["left"])
