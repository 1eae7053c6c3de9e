from __future__ import annotations

import numpy as np
import pytest
from tests.doubles import INPUTS, table

from xmodal.experts import EXPERTS
from xmodal.experts.linear import Linear
from xmodal.job import Key, Rows
from xmodal.tasks import Prediction
from xmodal.testing.experts import check_expert

NETWORK = {"kind": "descriptor", "fusion": "mean", "training": {"epochs": 2, "minimum": 1, "width": 8}}
SINGLES = [("linear", "main.note"), ("linear", "main.pic"), ("linear", "main.table"), ("boosted", "main.table")]


def settings(name: str) -> dict[str, object]:
    return NETWORK if EXPERTS[name].family != "features" else {}


@pytest.mark.parametrize("kind", ["classify", "regress", "multilabel"])
@pytest.mark.parametrize("name", sorted(EXPERTS.keys() - {"agreement"}))  # which reads two media alone: tests/experts/test_agreement.py
def test_joint(name: str, kind: str) -> None:
    task, data = table(kind)
    check_expert(EXPERTS[name], {"y": task}, INPUTS, data, settings(name), 1e-6 if EXPERTS[name].family == "features" else 1e-5)


@pytest.mark.parametrize(("name", "key"), SINGLES)
def test_single_of_two_classes(name: str, key: Key) -> None:
    task, data = table("classify", classes=2)
    check_expert(EXPERTS[name], {"y": task}, {key: INPUTS[key]}, data, {})


class Peeks(Linear):
    def predict(self, data, rows: Rows, hide: frozenset[Key] = frozenset()) -> dict[str, Prediction]:  # type: ignore[no-untyped-def]
        _ = data.columns["main.other"]
        return super().predict(data, rows, hide)


class Counts(Linear):
    def predict(self, data, rows: Rows, hide: frozenset[Key] = frozenset()) -> dict[str, Prediction]:  # type: ignore[no-untyped-def]
        found = super().predict(data, rows, hide)["y"]
        return {"y": Prediction(np.roll(found.score, len(rows) > 1, 0), found.state_RM)}


@pytest.mark.parametrize(("wrong", "error", "says"), [(Peeks, KeyError, "main.other"), (Counts, AssertionError, "order of rows")])
def test_the_check_can_fail(wrong: type[Linear], error: type[Exception], says: str) -> None:
    task, data = table("classify")
    with pytest.raises(error, match=says):
        check_expert(wrong, {"y": task}, INPUTS, data, {})
