"""Two tasks on two tables with other columns and partial labels; one of them learns nothing from unlabelled rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from tests.contracts.strain import WIDTH, classes, encoder, vectors

from xmodal.batch import Examples, Fetch, Plan, View
from xmodal.context import Identity
from xmodal.fusion.concat import Concat
from xmodal.fusion.mean import Mean
from xmodal.heads.classify import ClassifyHead
from xmodal.heads.regress import RegressHead
from xmodal.job import Budget, Training
from xmodal.model import Model
from xmodal.tasks import Regress
from xmodal.training import RowSampler, Step, Supervised, fit

RANDOM = np.random.default_rng(0)
PICTURE, SOUND, NOTE = (RANDOM.normal(size=(rows, 1, 3)) for rows in (60, 60, 90))
COLUMNS = {
    "film.picture": vectors(PICTURE),
    "film.sound": vectors(SOUND, np.where(np.arange(60) % 4 == 0, -1, np.arange(60))),
    "user.note": vectors(NOTE),
}


@dataclass(frozen=True)
class Both:
    """A batch of each table at once."""

    parts: tuple[RowSampler, ...]

    def steps(self, epoch: int) -> int:
        return min(p.steps(epoch) for p in self.parts)

    def plan(self, seed: int, epoch: int, step: int) -> Plan:
        plans = [p.plan(seed, epoch, step) for p in self.parts]
        examples = {name: e for p in plans for name, e in p.examples.items()}
        return Plan(examples, {table: rows for p in plans for table, rows in p.rows.items()}, plans[0].seed)


def train(wrong: bool) -> Model:
    torch.manual_seed(0)
    likes = classes("likes", 2, ("film", {"film.picture", "film.sound"}), weight=2.0)
    age = Regress("age", (View("user", frozenset({"user.note"})),)).fit(pa.array(NOTE[:, 0, 0] * 9 + 40))
    model = Model(
        [encoder(COLUMNS["film.picture"]), encoder(COLUMNS["user.note"])],
        {"film.picture": 0, "film.sound": 0, "user.note": 1},
        {"film": Mean(("film.picture", "film.sound"), WIDTH, {}), "user": Concat(("user.note",), WIDTH, {})},
        Identity(),
        {"likes": ClassifyHead(likes, WIDTH), "age": RegressHead(age, WIDTH)},
    )
    y_film, y_user = torch.from_numpy((PICTURE[:, 0, 0] > 0).astype(np.int64)), age.encode(pa.array(NOTE[:, 0, 0] * 9 + 40))[0]
    has_film, has_user = (torch.arange(60) % 3 > 0).float(), (torch.arange(90) % 2).float()
    if wrong:
        y_film, y_user = torch.where(has_film > 0, y_film, 1 - y_film), torch.where(has_user > 0, y_user, y_user + 100)
    parts = (
        RowSampler(np.arange(60), {"likes": Examples((None,), y_film, has_film)}, 20, table="film"),
        RowSampler(np.arange(90), {"age": Examples((None,), y_user, has_user)}, 30, table="user"),
    )
    fit(Step(model, [Supervised()]), Both(parts), Fetch(COLUMNS), None, Training(rate=0.02, decay=0.0), Budget(epochs=40), 0)
    return model


def test_two_tables() -> None:
    model, other = train(False), train(True)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items()), "an unlabelled row taught"
    rows = {"film": torch.arange(60), "user": torch.arange(90)}
    asked = {"likes": Examples((None,), None, torch.ones(60)), "age": Examples((None,), None, torch.ones(90))}
    output = model(Fetch(COLUMNS)(Plan(asked, rows, 0)))
    likes, age = (head.predict(output[name], asked[name]).score for name, head in zip(model.tasks, model.heads, strict=True))  # type: ignore[operator]
    assert (likes.argmax(1) == (PICTURE[:, 0, 0] > 0)).mean() > 0.85
    assert np.abs(age - (NOTE[:, 0, 0] * 9 + 40)).mean() < 3
