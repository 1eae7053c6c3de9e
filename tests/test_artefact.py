"""A model folder that someone else may have made."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes
from tests.doubles import INPUTS, table

from xmodal import Learner, Predictor, artefact
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


def values(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in JSON; of a long list of plain values the first alone."""
    if path:
        yield path
    items = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in items:
        if not isinstance(found, list) or key < 2 or isinstance(value, (dict, list)):
            yield from values(value, (*path, key))


def harmed(found: Any, path: tuple[Any, ...], harm: str) -> Any:
    """The same JSON with one value dropped or replaced."""
    root = json.loads(json.dumps(found))
    *way, last = path
    place = root
    for step in way:
        place = place[step]
    if harm == "drop":
        del place[last]
    else:
        others = {"null": None, "empty": [], "text": "other", "number": -7.5, "mapping": {"a": None}, "huge": 10**9}
        place[last] = others[harm]
    return root


ROW = {"size": 3.0, "kind": "a", "note": "a quiet morning by the lake", "day": "2024-01-03"}


def survives(folder: Path, what: str) -> None:
    """Loads and says something finite of one row in both ways, or is refused when it is loaded."""
    learner = None
    with contextlib.suppress(ArtefactError):
        learner = Learner.load(folder)
    if learner is not None:
        finite(learner, what)


def finite(learner: Learner, what: str) -> None:
    """Says something finite of one row in both ways."""
    score = learner.predictions([ROW, {}])[0].score
    assert len(learner.decide(score)) == 2, what
    (one,) = Predictor(learner).row(ROW).values()
    assert np.isfinite(score).all() and np.isfinite(one.score).all(), what


@pytest.fixture(scope="module", params=["classify", "multilabel"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with every kind of reading but pictures, and every kind of expert."""
    notes = ["a quiet morning by the lake", "rain fell over the old town", "bright lights in the city"]
    rows = pd.DataFrame({
        "size": [i * 7 % 11 / 4 for i in range(60)], "kind": ["a", "b"] * 30, "note": [f"{notes[i % 3]}, number {i}" for i in range(60)],
        "day": [f"2024-01-{1 + i % 28:02d}" for i in range(60)], "label": [i * 7 % 11 + 0.5 * (i % 5) for i in range(60)],
    })  # fmt: skip
    kind = request.param
    rows["label"] = ["x" if v > 5 else "y" for v in rows["label"]]
    if kind == "multilabel":
        rows["label"] = [["hot", f"{v}"] if i % 3 else [v] for i, v in enumerate(rows["label"])]
    folder = tmp_path_factory.mktemp("whole") / "model"
    training = {"epochs": 1, "minimum": 1, "folds": 2}
    Learner("label", kind=kind, training=training, encoder={"note": "bilstm"} if kind == "classify" else {}).fit(rows).save(folder)
    return folder


def files_of(folder: Path) -> list[Path]:
    """All JSON of a model but what was measured and the manifest."""
    return [p for p in sorted(folder.rglob("*.json")) if p.name not in ("manifest.json", "report.json", "examples.json")]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_each_value_of_a_model_is_checked_when_it_is_loaded(whole: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(files_of(whole)))
    before = file.read_text("utf-8")
    found = json.loads(before)
    path = data.draw(st.sampled_from(list(values(found))))
    harm = data.draw(st.sampled_from(["drop", "null", "empty", "text", "number", "mapping", "huge"]))
    try:
        change(file, lambda c: harmed(c, path, harm))
        survives(whole, f"{harm} of {path} in {file}")
    finally:
        file.write_text(before, "utf-8")
        write_manifest(whole)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # weights of 100 overflow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_arrays_of_another_form_are_refused_or_harmless(whole: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(whole.rglob("*.safetensors"))))
    before = file.read_bytes()
    arrays = load_file(file)
    name = data.draw(st.sampled_from(sorted(arrays)))
    harms: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "shorter": lambda a: a[:-1], "longer": lambda a: np.concatenate([a, a[-1:]]), "deeper": lambda a: a[None],
        "none": lambda a: a[:0], "not a number": lambda a: np.full(a.shape, np.nan, np.float32), "far": lambda a: np.full_like(a, 100),
    }  # fmt: skip
    harm = data.draw(st.sampled_from(sorted([*harms, "drop"])))
    try:
        changed = {n: a for n, a in arrays.items() if n != name} if harm == "drop" else arrays | {name: harms[harm](arrays[name])}
        file.write_bytes(to_bytes({n: np.ascontiguousarray(a) for n, a in changed.items()}))
        write_manifest(whole)
        survives(whole, f"{harm} of {name} in {file}")
    finally:
        file.write_bytes(before)
        write_manifest(whole)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (lambda c: c | {"members": []}, r"members, order in .*config\.json"),
        (lambda c: c | {"readings": [r | {"column": "other"} for r in c["readings"]]}, r"inputs, members, order in .*config\.json.*'size'"),
        (lambda c: c | {"task": c["task"] | {"fitted": c["task"]["fitted"] | {"counts": [1, 2, 3]}}}, r"task in .*config\.json.*counts is"),
        (lambda c: c | {"job": c["job"] | {"seed": "x"}}, r"job in .*config\.json.*'seed'"),
        (lambda c: c | {"order": []}, r"order in .*config\.json"),
    ],
)
def test_the_file_and_the_field_at_fault_are_named(model: Path, action: Callable[[Any], Any], said: str) -> None:
    change(model / "config.json", action)
    with pytest.raises(ArtefactError, match=said):
        Learner.load(model)


def test_null_settings_of_an_expert_and_a_report_without_verdict_are_named(model: Path) -> None:
    part = next((model / "experts").iterdir())
    before = (part / "config.json").read_text("utf-8")
    change(part / "config.json", lambda c: c | {"config": c["config"] | {"settings": None}})
    with pytest.raises(ArtefactError, match=part.name):
        Learner.load(model)
    (part / "config.json").write_text(before, "utf-8")
    change(model / "report.json", lambda r: r | {"experts": None})
    with pytest.raises(ArtefactError, match=r"report\.json"):
        Learner.load(model).write_report(model.parent / "report.html")
    change(model / "report.json", lambda r: r | {"verdict": None})
    with pytest.raises(ArtefactError, match=r"verdict in .*report\.json"):
        Learner.load(model)
