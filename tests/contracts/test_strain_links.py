"""Links between two tables with sampled neighbours; fewer examples than rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from tests.contracts.strain import WIDTH, classes, encoder, learn, vectors
from torch import nn

from xmodal.batch import Batch, Edges, Examples, Fetch, Links, Plan, uniform
from xmodal.context import Context
from xmodal.fusion.concat import Concat
from xmodal.fusion.mean import Mean
from xmodal.heads.classify import ClassifyHead
from xmodal.job import TableName
from xmodal.model import Model
from xmodal.tokens import Joint
from xmodal.training import Step, Supervised

SHOPS, BUYERS, SAMPLED = 30, 120, 3
RANDOM = np.random.default_rng(0)
KIND = RANDOM.integers(0, 2, SHOPS)
LINKED = np.stack([RANDOM.choice(np.flatnonzero(label == KIND), 6) for label in np.arange(BUYERS) % 2])  # a buyer's shops are alike
COLUMNS = {
    "shop.sign": vectors(KIND[:, None, None] * 2.0 - 1 + RANDOM.normal(0, 0.3, (SHOPS, 1, 2))),
    "buyer.name": vectors(RANDOM.normal(size=(BUYERS, 1, 2)), np.where(np.arange(BUYERS) % 5 == 0, -1, np.arange(BUYERS))),
}


class Neighbours(Context):
    """Adds the mean of a row's neighbours to its summary."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, joints: Mapping[TableName, Joint], links: Links) -> dict[TableName, Joint]:
        out = dict(joints)
        for (source, _, target), edges in links.items():
            x_BND = joints[target].x_BND
            sent_ED = self.linear(joints[source].rep_BD)[edges.source_E] * edges.weight_E[:, None]
            summary_BD = x_BND[:, 0].index_add(0, edges.target_E, sent_ED)
            out[target] = replace(joints[target], x_BND=torch.cat([summary_BD[:, None], x_BND[:, 1:]], 1))
        return out


def fetch(seed: int, rows: np.ndarray) -> Batch:
    """Half of the buyers have an example; of each buyer some shops come along, drawn by (seed, row)."""
    chosen = np.stack([(uniform(seed, salt, rows) * LINKED.shape[1]).astype(int) for salt in range(SAMPLED)], 1)
    shops, source = np.unique(LINKED[rows[:, None], chosen], return_inverse=True)
    target_E = torch.arange(len(rows)).repeat_interleave(SAMPLED)
    edges = Edges(torch.from_numpy(source.ravel()), target_E, torch.full((len(target_E),), 1 / SAMPLED), torch.zeros(len(target_E)))
    at_R = torch.arange(0, len(rows), 2) if len(rows) > 1 else torch.arange(1)
    y_R = torch.from_numpy(rows % 2)[at_R]
    plan = Plan(
        {"kind": Examples((at_R,), y_R, torch.ones(len(y_R)))}, {"buyer": torch.from_numpy(rows), "shop": torch.from_numpy(shops)}, seed
    )
    return replace(Fetch(COLUMNS)(plan), links={("shop", "sold", "buyer"): edges})


def test_links() -> None:
    torch.manual_seed(0)
    task = classes("kind", 2, ("buyer", {"buyer.name"}))
    model = Model(
        [encoder(c) for c in COLUMNS.values()],
        {k: i for i, k in enumerate(COLUMNS)},
        {"buyer": Mean(("buyer.name",), WIDTH, {}), "shop": Concat(("shop.sign",), WIDTH, {})},
        Neighbours(),
        {"kind": ClassifyHead(task, WIDTH)},
    )
    step, count = Step(model, [Supervised()]), iter(range(10_000))
    train, test = np.arange(0, 80), np.arange(80, BUYERS)
    learn(step, lambda: step(fetch(next(count), np.sort(np.random.default_rng(next(count)).choice(train, 40, False)))), 60)
    batch = fetch(1, test)
    examples = batch.examples["kind"]
    output = model(batch)["kind"]["score"]
    assert len(output) == len(test) // 2
    assert (output.argmax(1) == examples.y).float().mean() > 0.9
    alone = model(replace(batch, links={}))["kind"]["score"]
    assert (alone.argmax(1) == examples.y).float().mean() < 0.8
