from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, softmax
from tests.doubles import pointed

from xmodal.batch import Examples, View
from xmodal.experts.agreement import HIDDEN, PARTITIONS, Agreement, Blocks, logits, stack
from xmodal.experts.data import TableData
from xmodal.experts.linear import Linear
from xmodal.job import Budget, Input, Job
from xmodal.race import candidates
from xmodal.tasks import TASKS, Classify
from xmodal.testing.experts import check_expert

INPUTS = {"main.pic": Input("main.pic", "image", ("pic",)), "main.voice": Input("main.voice", "audio", ("voice",))}
ROWS = 240


@lru_cache
def table(shuffled: bool = False) -> tuple[Classify, TableData]:
    """Four kinds of pictures and of sounds, told by one block of each; the label: whether the kinds are the same. Each is missing in
    some rows."""
    random = np.random.default_rng(0)
    kind = random.integers(0, 4, (2, ROWS))
    kind[1, ::2] = kind[0, ::2]
    middle = random.normal(size=(2, 4, 8)) * 2
    pic, voice = (middle[side][kind[side]] + 0.6 * random.normal(size=(ROWS, 8)) for side in (0, 1))
    noise = [random.normal(size=(ROWS, 12)).astype(np.float32) for _ in range(2)]
    label = np.where(kind[0] == kind[1], "same", "other")
    label = random.permutation(label) if shuffled else label
    there = [np.where(np.arange(ROWS) % 11 == side, -1, np.arange(ROWS)) for side in (0, 1)]
    columns = {
        "main.pic": pointed({"hog": pic.astype(np.float32), "colour": noise[0]}, {}, there[0]),
        "main.voice": pointed({"mfcc": voice.astype(np.float32), "mfcc_course": noise[1]}, {}, there[1]),
    }
    task = TASKS["classify"]("y", (View("main", frozenset(INPUTS)),)).fit(pa.array(label))
    y_R, weight_R = task.encode(pa.array(label))
    return task, TableData(columns, {"y": Examples((None,), y_R, weight_R)}, 0)


def accuracy(kind: type[Agreement] | type[Linear], rows: np.ndarray, tested: np.ndarray) -> float:
    task, data = table()
    expert = kind({"y": task}, INPUTS, {})
    expert.fit(data, rows, tested, Budget(), 0)
    y = data.examples["y"].y.numpy()[tested]  # type: ignore[union-attr]
    return float((expert.predict(data, tested)["y"].score.argmax(1) == y).mean())


def test_it_learns_what_is_the_same_where_a_linear_model_cannot() -> None:
    both = np.array([r for r in range(ROWS) if r % 11 > 1])
    rows, tested = both[both % 4 > 0], both[both % 4 == 0]
    y = table()[1].examples["y"].y.numpy()[tested]  # type: ignore[union-attr]
    majority = max(y.mean(), 1 - y.mean())
    assert accuracy(Linear, rows, tested) < majority + 0.1
    assert accuracy(Agreement, rows, tested) > 0.85


def test_only_pairs_that_tell_are_kept() -> None:
    task, data = table()
    expert = Agreement({"y": task}, INPUTS, {})
    expert.fit(data, np.arange(ROWS), None, Budget(epochs=60), 0)
    best = int(expert.arrays["weight"].argmax())
    assert expert.config["pairs"][best] == "0 hog 1 mfcc"  # type: ignore[index,call-overload]
    task, data = table(shuffled=True)
    expert = Agreement({"y": task}, INPUTS, {})
    expert.fit(data, np.arange(ROWS), None, Budget(epochs=60), 0)
    assert expert.arrays["weight"].sum() < 0.4, "nothing to learn, nothing said"


def test_contract() -> None:
    task, data = table()
    check_expert(Agreement, {"y": task}, INPUTS, data, {})


def test_the_logit_is_the_formula() -> None:
    random = np.random.default_rng(1)
    size = PARTITIONS * HIDDEN
    arrays = {"map0": random.normal(size=(2, 40, size)), "map1": random.normal(size=(2, 40, size)), "line": random.normal(size=(2, 2))}
    arrays |= {"shift0": random.normal(size=(2, 1, size)), "shift1": random.normal(size=(2, 1, size))}
    x = random.normal(size=(2, 3, 40)), random.normal(size=(2, 3, 40))
    found = logits(arrays, x)
    for pair in range(2):
        for row in range(3):
            chances = []
            for h in range(PARTITIONS):
                at = slice(h * HIDDEN, (h + 1) * HIDDEN)
                p, q = (softmax((x[s][pair, row] @ arrays[f"map{s}"][pair] + arrays[f"shift{s}"][pair, 0])[at]) for s in (0, 1))
                chances.append(expit(arrays["line"][0, pair] * (p @ q) + arrays["line"][1, pair]))
            chance = np.clip(np.mean(chances), 1e-3, 1 - 1e-3)
            assert found[pair, row] == pytest.approx(np.log(chance / (1 - chance)))


def test_weights_are_never_negative_and_blocks_stand_alone() -> None:
    random = np.random.default_rng(2)
    y = random.integers(0, 2, 200)
    weight, bias = stack(np.stack([2 * y - 1 + random.normal(size=200), 1 - 2 * y, random.normal(size=200)]), y)
    assert weight[0] > 0.3 and weight[1] == 0 and bias.shape == (1,)
    column = table()[1].columns["main.pic"]
    fitted = Blocks.fit(column, {}, 0)
    found = Blocks.transform(fitted, column).dense
    assert {n: x.shape[1] for n, x in found.items()} == {"hog": 8, "colour": 12}
    assert all(x.var(0).mean() == pytest.approx(1, abs=0.05) for x in found.values())


def test_it_runs_where_there_are_two_classes_few_rows_and_two_media() -> None:
    task, _ = table()

    def names(rows: int, inputs: dict[str, Input]) -> set[str]:
        return {member.name for member in candidates(Job(), task, inputs, rows)}

    text = {"main.note": Input("main.note", "text", ("note",))}
    assert "joint.agreement" in names(500, INPUTS | text)
    assert "joint.agreement" not in names(5000, INPUTS) | names(500, text | {"main.pic": INPUTS["main.pic"]})
