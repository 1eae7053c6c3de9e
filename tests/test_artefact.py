"""A model folder that someone else may have made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.doubles import INPUTS, table

from xmodal import Learner, artefact
from xmodal.errors import ArtefactError, UserError
from xmodal.experts.boosted import Boosted
from xmodal.experts.forest import Forest
from xmodal.features.column import Fitted
from xmodal.files import write_manifest
from xmodal.job import Budget


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of plain columns, whose media roots name a folder that it must not open."""
    rows = pd.DataFrame({"size": [1, 2, 3, 4, 5, 6] * 10, "kind": ["a", "b"] * 30, "label": ["x", "y"] * 30})
    folder = tmp_path_factory.mktemp("saved") / "model"
    training = {"epochs": 2, "minimum": 1, "folds": 2}
    Learner(target="label", media_root="/", training=training).fit(rows).save(folder)
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def change(path: Path, action: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file, and the manifest as an attacker would."""
    found = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(action(found)), "utf-8")
    root = next(p for p in path.parents if (p / "manifest.json").exists())
    if path.name != "manifest.json":
        write_manifest(root)


def test_a_model_names_no_folder_for_media(model: Path) -> None:
    assert json.loads((model / "config.json").read_text("utf-8"))["job"]["media_root"] == []
    change(model / "config.json", lambda c: c | {"job": c["job"] | {"media_root": ["/"], "table": "/etc/passwd"}})
    assert Learner.load(model).job == replace(Learner.load(model).job, media_root=(), table=None)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../config.json", "file-", "file-0/../file-0", 3])
def test_a_fitted_part_reads_its_own_files_alone(tmp_path: Path, name: Any) -> None:
    part = Fitted({"a": 1}, {"x": np.arange(3)}, {"words/b": b"one", "words/a": b"two"})
    artefact.write_fitted(part, tmp_path / "part")
    assert artefact.read_fitted(tmp_path / "part").files == part.files
    change_to = {"config": {}, "files": {"words/a": name}}
    (tmp_path / "part" / "config.json").write_text(json.dumps(change_to))
    with pytest.raises((ArtefactError, TypeError), match="file-NUMBER" if isinstance(name, str) else "string"):
        artefact.read_fitted(tmp_path / "part")


def test_an_expert_of_no_known_kind_opens_nothing(model: Path, tmp_path: Path) -> None:
    shutil.copytree(next((model / "experts").iterdir()), tmp_path / "elsewhere")
    kind = "/../../../elsewhere"
    change(model / "config.json", lambda c: c | {"members": [c["members"][0] | {"expert": kind}]})
    with pytest.raises(UserError, match="expert '/"):
        Learner.load(model)


@pytest.mark.parametrize(
    "action",
    [
        lambda c: {},
        lambda c: [],
        lambda c: "model",
        lambda c: c | {"format": 0},
        lambda c: c | {"format": "1"},
        lambda c: c | {"format": True},
        lambda c: {k: v for k, v in c.items() if k != "members"},
        lambda c: c | {"task": {"kind": "rank"}},
        lambda c: c | {"inputs": [3]},
        lambda c: c | {"readings": [{"column": "size", "colour": 1}]},
        lambda c: c | {"job": [1, 2]},
    ],
)
def test_another_config_is_an_error_of_three_parts(model: Path, action: Callable[[Any], Any]) -> None:
    change(model / "config.json", action)
    with pytest.raises(ArtefactError, match=r"(?s)^expected .*; got .*; "):
        Learner.load(model)


@pytest.mark.parametrize("content", [{}, [], None])
def test_a_manifest_lists_every_file(model: Path, content: Any) -> None:
    change(model / "manifest.json", lambda m: content)
    with pytest.raises(ArtefactError):
        Learner.load(model)


def test_only_a_folder_of_ours_is_replaced(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "extension"
    other.mkdir()
    for name, text in {"manifest.json": "{}", "config.json": '{"format": 1}', "diary.txt": "mine"}.items():
        (other / name).write_text(text)
    assert artefact.is_model(model) and not artefact.is_model(other)
    (other / "config.json").write_text("{")
    assert not artefact.is_model(other)
    with pytest.raises(UserError, match="something else"):
        Learner.load(model).save(other, force=True)


HARM = {
    "a cycle": lambda a: a["left"].__setitem__(slice(None), 0),
    "a loop of two": lambda a: a["right"].__setitem__(np.flatnonzero(a["left"] != np.arange(len(a["left"])))[1], 0),
    "into another tree": lambda a: a["right"].__setitem__(0, len(a["left"]) - 1),
    "a feature below 0": lambda a: a["feature"].__setitem__(0, -1),
    "no such leaf": lambda a: a["right"].__setitem__(-1, 2**30),
    "a root outside": lambda a: a["root"].__setitem__(-1, 2**30),
    "fewer thresholds": lambda a: a.__setitem__("threshold", a["threshold"][:-1]),
    "no trees": lambda a: a.__setitem__("root", a["root"][:0]),
}


@pytest.mark.parametrize("kind", [Boosted, Forest])
def test_hostile_trees_are_refused(kind: type[Boosted | Forest]) -> None:
    task, data = table("classify")
    rows = np.arange(80)
    expert = kind({"y": task}, INPUTS, {})
    expert.fit(data, rows, None, Budget(epochs=3), 0)
    fitted = expert.fitted()

    def again(harm: Callable[[dict[str, np.ndarray]], None]) -> Boosted | Forest:
        model = {n.removeprefix("model/"): a.copy() for n, a in fitted.arrays.items() if n.startswith("model/")}
        harm(model)
        arrays = fitted.arrays | {f"model/{n}": a for n, a in model.items()}
        return kind.restore({"y": task}, INPUTS, Fitted(fitted.config, arrays, fitted.files))

    same = again(lambda a: None).predict(data, rows)["y"].score
    np.testing.assert_array_equal(same, expert.predict(data, rows)["y"].score)
    for harm in HARM.values():
        with pytest.raises(ArtefactError, match="lead elsewhere"):
            again(harm)
    far = again(lambda a: a["feature"].__setitem__(0, 30_000))
    with pytest.raises(ArtefactError, match="read column 30001"):
        far.predict(data, rows)


def test_cut_weights_with_a_fresh_manifest_are_damage(model: Path) -> None:
    weights = next((model / "experts").rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-8])
    write_manifest(model)
    with pytest.raises(ArtefactError, match="SafetensorError"):
        Learner.load(model)
