"""Targets and roles of columns, from the table to what is learnt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from xmodal import Learner
from xmodal.errors import ConfigError, TableError, TargetError, UserError
from xmodal.inspection import inspect
from xmodal.job import Job
from xmodal.prepare import open_new, weights_of
from xmodal.table import Table
from xmodal.targets import read_labels

FEW = {"epochs": 2, "minimum": 1, "folds": 2, "width": 8}


def frame(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    found = pd.DataFrame({"x": x, "z": random.normal(size=rows), "kind": random.choice(["p", "q"], rows)})
    for name, cut in (("a", 0.0), ("b", 0.7), ("c", -0.5)):
        found[name] = np.where(random.random(rows) < 0.6, "", np.where(x > cut, "1", "0"))
    found["tags"] = [";".join(n for n, cut in (("up", 0.0), ("high", 1.0)) if v > cut) for v in x]
    found["y"] = np.where(x > 0.8, "yes", "no")
    return found


def test_blank_is_unlabelled_for_that_label_alone() -> None:
    table = frame()
    table.loc[:4, ["a", "b", "c"]] = ""
    learner = Learner(target=["a", "b", "c"], kind="multilabel", use=["x", "z"], training=FEW).fit(table)
    found = learner.evaluate(table)
    target = found["targets"]["labels"]
    assert target["task"] == "multilabel" and target["n"] == (table[["a", "b", "c"]] != "").any(axis=1).sum()
    assert {n: t["n"] for n, t in target["labels"].items()} == {n: int((table[n] != "").sum()) for n in "abc"}
    assert target["metrics"]["roc_auc"] > 0.9, "blank rows taught nothing false"
    assert any("blank is unlabelled there, not negative" in w for w in learner.report["warnings"])
    truth = np.stack([(table["x"] > cut) for cut in (0.0, 0.7, -0.5)], 1)
    assert (np.abs(learner.predict_proba(table) - truth).mean(0) < 0.35).all()


def test_another_number_beside_0_and_1_is_named() -> None:
    table = frame()
    table.loc[[7, 9], "b"] = "-1"
    with pytest.raises(TargetError, match=r"'-1' in 2 rows, first in row 8.*--target b=classify"):
        Learner(target=["a", "b", "c"], kind="multilabel", use=["x"]).fit(table)


@pytest.mark.parametrize(
    ("cells", "names", "says"),
    [
        (["a;b", "", None, "b"], ["a", "b"], "divided at ';'; 1 empty cells are 'no labels', 1 null"),
        (["a|b", "b", "c", "a"], ["a", "b", "c"], "divided at '|'"),
        ([["b"], [], None, ["a", "b"]], ["a", "b"], "lists; 1 empty cells are 'no labels', 1 null"),
        (['["x", "y"]', "[]", "['y']", "[]"], ["x", "y"], "2 empty cells"),
        (["a,x;b", "b", "a,x", "b;c"], ["a,x", "b", "c"], "',', which 2 cells hold too, divides nothing"),
        (["a", "b", "a", "b"], ["a", "b"], "one label a cell"),
    ],
)
def test_labels_in_one_column(cells: list[object], names: list[str], says: str) -> None:
    table = Table(pa.table({"t": pa.array(cells)}), "the rows")
    reading, notes = read_labels(table, ("t",))
    assert reading.options["labels"] == names and says in notes[0]


@pytest.mark.parametrize("values", [("True", "false"), (True, False), (1, 0), (1.0, 0.0), ("yes", "no")])
def test_flags_are_spelled_in_many_ways(values: tuple[object, object]) -> None:
    table = Table(pa.table({"a": pa.array([*values, None]), "b": pa.array(["1", "0", "1"])}), "the rows")
    opened = open_new(pa.table({**{n: table.data[n] for n in "ab"}, "x": [1.0, 2.0, 3.0]}), Job(target=("a", "b"), kind="multilabel"))
    assert opened.labels.to_pylist() == [{"a": True, "b": True}, {"a": False, "b": False}, {"a": None, "b": True}]


def test_several_targets_of_another_kind_are_refused() -> None:
    with pytest.raises(TargetError, match="several of kind multilabel"):
        Learner(target=["a", "b"]).fit(frame())


def test_labels_from_fit_to_file_and_back(tmp_path) -> None:
    table = frame(150)
    table.loc[3, "tags"] = "once"
    learner = Learner(target="tags", kind="multilabel", use=["x", "z", "kind"], input={"k": "kind"}, training=FEW).fit(table)
    learner.save(tmp_path / "m")
    again = Learner.load(tmp_path / "m")
    assert np.array_equal(again.predict_proba(table), learner.predict_proba(table))
    assert again.classes == ["high", "once", "up"] and again.predict(table).tolist()[0] in {"", "up", "high;up"}
    names = [s["inputs"] for s in learner.report["subsets"]]
    assert ["k", "table"] in names and learner.report["verdict"]["metric"] == "mean_average_precision"
    assert {e["name"] for e in learner.report["experts"]} >= {"joint.linear", "joint.forest", "joint.boosted", "fusion.descriptor"}
    new = table.assign(tags="up;new")
    assert any("'new'" in w for w in again.evaluate(new)["warnings"])
    found = learner.crossval(table, folds=2)
    assert found["targets"]["tags"]["metrics"]["roc_auc"] > 0.6
    assert sum(found["folds"]) == 150 and min(found["folds"]) >= 70
    with pytest.raises(ConfigError, match="multilabel"):
        learner.intervals(learner.predict_proba(table))


def test_rows_of_weight_0_teach_nothing_and_are_not_scored() -> None:
    table = frame(160)
    table["w"] = 1.0
    wrong = np.arange(160) % 2 == 0
    table.loc[wrong, "y"] = np.where(table.loc[wrong, "y"] == "yes", "no", "yes")
    table.loc[wrong, "w"] = 0.0
    learner = Learner(target="y", weight="w", use="x", training=FEW).fit(table)
    found = learner.evaluate(table)["targets"]["y"]
    assert found["n"] == 80 and found["metrics"]["accuracy"] > 0.9
    assert any("80 rows have no label or weight 0" in w for w in learner.report["warnings"])
    assert "w" not in learner.model.readings


@pytest.mark.parametrize("cell", [-1, None, "x", float("inf")])
def test_a_weight_that_is_none_is_refused_with_its_row(cell: object) -> None:
    table = frame(10).assign(w=["1"] * 6 + ["1" if cell is None else str(cell)] + ["2"] * 3)
    if cell is None:
        table.loc[6, "w"] = None
    opened = open_new(table, Job(target=("y",), weight="w"))
    with pytest.raises(TableError, match="in row 7"):
        weights_of(opened, Job(target=("y",), weight="w"))


def test_the_future_never_trains_the_past() -> None:
    table = frame(200).sample(frac=1, random_state=0).reset_index(drop=True)
    when = np.random.default_rng(1).integers(0, 60, 200)
    table["t"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(when, "D")
    learner = Learner(target="y", time="t", use=["x", "z"], training=FEW).fit(table)
    parts = {
        p: {when[r] for r in learner._part(*learner._again(learner.read(table), lambda *_: None), p)} for p in ("train", "val", "test")
    }
    assert max(parts["train"]) < min(parts["val"]) and max(parts["val"]) < min(parts["test"])
    assert any("split by 't': train before '2024-" in w for w in learner.report["warnings"])
    with pytest.raises(ConfigError, match="the future would train the past"):
        learner.crossval(table)
    with pytest.raises(TableError, match="'soon' in row 1"):
        Learner(target="y", time="t").fit(table.assign(t=["soon"] + ["2024-01-01"] * 199))


def test_rows_without_a_group_stand_alone_and_are_counted() -> None:
    table = frame(100)
    table["patient"] = [f"p{i % 7}" if i >= 30 else "" for i in range(100)]
    learner = Learner(target="y", group="patient", use=["x", "z"], training=FEW)
    ready = learner.ready(table, lambda *_: None)
    assert len(np.unique(ready.groups)) == 37
    assert any("30 rows have no 'patient': each is a group of its own" in n for n in ready.opened.notes)


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        ({"positive": "yess"}, "did you mean 'yes'"),
        ({"cost": '{"yes": {"nope": 2}}'}, "nope"),
        ({"cost": "yes = "}, "what mistakes cost"),
        ({"cost": '{"yes": {"no": -1}}'}, "costs of 0 and more"),
        ({"target": "x", "positive": "yes"}, "two classes"),
        ({"weight": "ww"}, "ww"),
        ({"coverage": 1.0}, "coverage"),
    ],
)
def test_what_cannot_be_decided_is_said(roles: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Learner(**{"target": "y", "use": ["x", "z"], "training": FEW, **roles}).fit(frame())


def test_the_decision_is_one_everywhere(tmp_path) -> None:
    table = frame(240, 3)
    base = {"target": "y", "use": ["x", "z"], "training": FEW}
    learner = Learner(**base, cost={"yes": {"no": 20}}).fit(table)
    decision = learner.report["decision"]
    assert decision["positive"] == "yes" and decision["threshold"] < 0.5 and decision["cost"][1][0] == 20
    learner.save(tmp_path / "m")
    again = Learner.load(tmp_path / "m")
    said = again.predict(table)
    p = again.predict_proba(table)[:, 1]
    assert (said == np.where(p >= decision["threshold"], "yes", "no")).all()
    assert again.evaluate(table)["targets"]["y"]["metrics"]["accuracy"] == pytest.approx((said == table["y"]).mean())
    named = Learner(**base, positive="no", metric="f1").fit(table).report
    assert named["decision"]["positive"] == "no" and named["decision"]["metric"] == "f1"
    assert "decision" not in Learner(**base).fit(table).report


def test_intervals_are_kept_and_their_coverage_is_told(tmp_path) -> None:
    table = frame(240, 4)
    table["v"] = table["x"] * 3 + np.random.default_rng(0).normal(size=240)
    learner = Learner(target="v", use=["x", "z"], training=FEW).fit(table)
    told = learner.report["intervals"]
    assert told["coverage"] == 0.9 and told["test_coverage"] > 0.7
    learner.save(tmp_path / "m")
    found = Learner.load(tmp_path / "m").intervals(learner.predict(table).to_numpy())
    assert found["high"] - found["low"] == pytest.approx(2 * told["misfit"])
    assert ((found["low"] <= table["v"]) & (table["v"] <= found["high"])).mean() > 0.8


def test_a_table_of_labels_is_inspected() -> None:
    table = frame(60)
    found = inspect(Learner(target=["a", "b", "c"], kind="multilabel", use=["x", "kind"]), pd.concat([table, table]), lambda *_: None)
    assert any(f["check"] == "duplicates" and f["says"].startswith("120 rows") for f in found["findings"])
    one = inspect(Learner(target="tags", kind="multilabel", use=["x"]), table, lambda *_: None)
    assert any("divided at ';'" in str(f) for f in one["findings"]) or "divided at ';'" in str(one)


@pytest.mark.filterwarnings("error:The number of unique classes")
def test_free_text_is_no_target_unless_it_is_asked_for() -> None:
    table = pd.DataFrame({"x": np.arange(60.0) % 7, "y": [f"a note of row {i % 50}" for i in range(60)]})
    with pytest.raises(TargetError, match=r"50 classes in 60 rows: 'a note of row 0' …; choose another target; --target y=classify"):
        open_new(table, Job(target=("y",)))
    (finding,) = inspect(Learner("y"), table, lambda *_: None)["findings"]  # type: ignore[misc]
    assert finding["level"] == "fail" and "50 classes in 60 rows" in finding["says"]  # type: ignore[index,call-overload]
    learner = Learner("y", kind="classify", training=FEW).fit(table)
    assert len(learner.classes or ()) == 50
    assert any("50 classes in 60 rows; most have one row" in str(w) for w in learner.report["warnings"])  # type: ignore[union-attr]
    assert open_new(table.assign(y=[f"name {i % 25}" for i in range(60)]), Job(target=("y",))).target.modality == "category"
