"""What a learner takes and says, apart from what it learns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from xmodal import Learner
from xmodal.errors import ConfigError
from xmodal.job import Job
from xmodal.learner import Predictor

FAST = {"epochs": 2, "minimum": 1, "folds": 2}


def test_a_bare_name_is_the_target_and_anything_else_an_error() -> None:
    assert Learner("y").job == Learner(target="y").job == Job(target=("y",))
    assert Learner(Job(target=("y",)), seed=3).job == Job(target=("y",), seed=3)
    with pytest.raises(ConfigError, match=r'expected a Job, .*; got .*; write Learner\(target="COL"\)'):
        Learner("y", target="z")


def test_few_large_groups_are_warned_of() -> None:
    rows = pd.DataFrame({"size": range(60), "kind": ["a", "b"] * 30, "who": [i // 20 for i in range(60)], "label": ["x", "y"] * 30})
    report = Learner("label", group="who", training=FAST).fit(rows).report
    (said,) = [w for w in report["warnings"] if w.startswith("the parts are far from 70 : 15 : 15")]  # type: ignore[union-attr]
    for part, n in report["parts"].items():  # type: ignore[union-attr]
        assert f"{part} {n} ({n / 60:.0%})" in said
    assert "up to 20 of the 60 rows" in said
    assert not [w for w in Learner("label", training=FAST).fit(rows).report["warnings"] if "far from" in str(w)]  # type: ignore[union-attr]


def test_half_a_character_anywhere_is_learnt_and_answered() -> None:
    rows = [
        {"t": "good \ud800" if i == 3 else "good", "k\udc00": "ab"[i % 2] + "\ud800", "y": ["no", "yes\ud800"][i % 2]} for i in range(40)
    ]
    learner = Learner("y", training=FAST).fit(rows)
    assert learner.classes == ["no", "yes\ufffd"]
    score = learner.predictions(rows)[0].score
    assert np.allclose(Predictor(learner).row(rows[3])["y"].score, score[3:4], atol=1e-6)
    assert score[3, 1] > 0.5 > score[2, 1]
