"""From tables as people write them to equal predictions, through a saved model."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from xmodal import Learner
from xmodal.cli import app
from xmodal.learner import Predictor
from xmodal.table import read_table

FAST = {"epochs": 2, "minimum": 1, "folds": 2}
NAMES = ["a.b", "a_b", "a b", "price [€], net", "Сумки", "x=1", "fou_*", " lead", "__class__", "", "🙂", 'it\'s "q"', "type"]
ROWS = 60


def cell(name: str, row: int) -> str:
    return f"{row % 7 + len(name) / 10:.1f}" if len(name) % 2 else "uvw"[row % 3]


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A semicolon table of strange names, decimal commas, gaps, dates day first, padded ids and classes with a `=`."""
    folder = tmp_path_factory.mktemp("strange")
    rows = pd.DataFrame({name: [cell(name, row) for row in range(ROWS)] for name in NAMES})
    rows["cat"] = [str(1 + row % 3) for row in range(ROWS)]
    rows["when"] = [f"{1 + row % 28:02}/{1 + row % 12:02}/2021" for row in range(ROWS)]
    rows["price"] = [f"1.{100 + row},5" for row in range(ROWS)]
    rows["age"] = ["NA" if row % 9 == 0 else str(row % 50) for row in range(ROWS)]
    rows["key"] = [f"{row:03}" for row in range(ROWS)]
    rows["label.x"] = ["yes=1" if row % 7 > 3 else "no" for row in range(ROWS)]
    rows.to_csv(folder / "t.csv", sep=";", index=False)
    return folder, rows


@pytest.fixture(scope="module")
def model(strange: tuple[Path, pd.DataFrame]) -> Path:
    folder = strange[0]
    learner = Learner(target="label.x", id="key", training=FAST, modality={"x=1": "category"}).fit(folder / "t.csv")
    learner.save(folder / "model")
    assert any("'unnamed'" in w for w in learner.report["warnings"])
    again = Learner.load(folder / "model")
    np.testing.assert_allclose(again.predict_proba(folder / "t.csv"), learner.predict_proba(folder / "t.csv"), atol=1e-6)
    assert {*NAMES, "cat", "when", "price", "age"} - {""} | {"unnamed"} == {*again.model.readings}
    assert again.classes == ["no", "yes=1"]
    return folder / "model"


def test_a_row_is_read_alike_in_every_container(strange: tuple[Path, pd.DataFrame], model: Path, tmp_path: Path) -> None:
    folder, rows = strange
    learner = Learner.load(model)
    wanted = learner.predict_proba(folder / "t.csv")
    rows.drop(columns="label.x").iloc[5:6].to_csv(tmp_path / "one.csv", index=False)
    typed = rows.drop(columns="label.x").rename(columns={"": "unnamed"})
    typed["when"] = pd.to_datetime(typed["when"], format="%d/%m/%Y")
    typed["price"] = [1100.5 + row for row in range(ROWS)]
    typed["age"], typed["cat"] = pd.to_numeric(typed["age"], errors="coerce"), typed["cat"].astype(int)
    parquet.write_table(pa.Table.from_pandas(typed), tmp_path / "all.parquet")
    one = {**typed.iloc[5].to_dict(), "when": "06/06/2021", "age": 5, "cat": 3, "price": "1.105,5"}
    for found in (
        learner.predict_proba(tmp_path / "one.csv")[0], learner.predict_proba([one])[0], learner.predict_proba(typed)[5],
        learner.predict_proba(tmp_path / "all.parquet")[5], learner.predict_proba([*([{"age": None}] * 99), one])[99],
        Predictor(learner).row(one)["label.x"].score[0],
    ):  # fmt: skip
        np.testing.assert_allclose(found, wanted[5], atol=1e-6)
    out = CliRunner().invoke(app, ["predict", str(model)], input=json.dumps({**one, "colour": 1, "age": None}))
    assert json.loads(out.stdout) == {"key": "005", "label.x": learner.predict([{**one, "age": None}])[0]}
    assert "'colour' is not read" in out.stderr
    out = CliRunner().invoke(app, ["predict", str(model)], input=json.dumps({"key": "007"}))
    assert json.loads(out.stdout)["key"] == "007"
    assert "'cat' is not in the rows" in out.stderr


def test_a_value_beyond_those_of_the_fit_is_clipped_and_said(strange: tuple[Path, pd.DataFrame], model: Path) -> None:
    learner = Learner.load(model)
    rows = read_table(strange[0] / "t.csv").data.to_pylist()[:3]
    found, notes = learner.predictions([{**r, "price": "9.999.999,5"} for r in rows])
    assert np.isfinite(found.score).all()
    assert any("'price': 3 cells lie outside 1100.5 to 1159.5" in n for n in notes)


@pytest.mark.parametrize("noise", [0.0, 1e-12])
def test_a_number_that_was_constant_in_training_throws_no_prediction(noise: float) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=200)
    rows = pd.DataFrame({"x": x, "flag": 5 + noise * random.normal(size=200), "y": 2 * x + 0.1 * random.normal(size=200)})
    rows["part"] = np.repeat(["train", "val", "test"], [140, 30, 30])
    rows.loc[180, "flag"] = 6.0
    low, high = rows["y"].min(), rows["y"].max()
    learner = Learner(target="y", split="part", training=FAST).fit(rows)
    without = Learner(target="y", split="part", training=FAST, ignore="flag").fit(rows)
    found, plain = (np.asarray(one.predict(rows[170:])) for one in (learner, without))
    assert low - 0.2 * (high - low) < found[10] < high + 0.2 * (high - low)
    error, wanted = (float(np.sqrt(np.mean((p - rows["y"].to_numpy()[170:]) ** 2))) for p in (found, plain))
    assert error < 1.1 * wanted


@pytest.mark.parametrize(("middle", "deviation"), [(1e5, 1e5), (1e6, 1e-9)])
def test_the_scale_of_the_target_is_no_hindrance(middle: float, deviation: float) -> None:
    share = np.random.default_rng(1).random(200)
    rows = pd.DataFrame({"red": share, "y": middle + deviation * 3.4 * share})
    learner = Learner(target=["y", "regress"][0], kind="regress", training=FAST).fit(rows)
    scores: Any = learner.evaluate(rows, "test")["targets"]
    assert np.isfinite(learner.predict(rows)).all()
    assert scores["y"]["metrics"]["r2"] >= 0.8


def test_times_of_any_zone_are_one_instant() -> None:
    hours = [row % 24 for row in range(120)]
    zones = ["Z", "", "+01:00"]
    when = [f"2024-03-31T{(h + (row % 3 == 2)) % 24:02}:15:00{zones[row % 3]}" for row, h in enumerate(hours)]
    when = [w.replace("03-31", "04-01") if h == 23 and row % 3 == 2 else w for row, (w, h) in enumerate(zip(when, hours, strict=True))]
    rows = pd.DataFrame({"when": when, "y": ["am" if h < 12 else "pm" for h in hours]})
    learner = Learner(target="y", training=FAST).fit(rows)
    assert any("40 of 120 times have no zone" in w for w in learner.report["warnings"])
    same = learner.predict_proba([{"when": w} for w in ("2024-03-31T01:30:00+01:00", "2024-03-31T00:30:00Z", "2024-03-31 00:30")])
    assert np.ptp(same, 0).max() == 0


MIXED = st.fixed_dictionaries({
    "price": st.floats(1000, 1300) | st.decimals(1000, 1300, places=2) | st.sampled_from([1105, "1.105,5", "1105,5", "none", "word", None]),
    "age": st.floats(0, 50) | st.sampled_from([5, "5", "5.5", "NA", True, None]),
    "when": st.dates(datetime.date(2021, 1, 1), datetime.date(2021, 12, 31)) | st.sampled_from(["06/06/2021", "words", None]),
    "x=1": st.sampled_from(["u", "v", 1, 1.5, True, Decimal("1.50")]),
})  # fmt: skip


def written(column: str, cell: Any) -> str:
    """A cell as the CSV has it."""
    text = "" if cell is None else repr(float(cell)) if isinstance(cell, (float, Decimal)) else str(cell)
    return text.replace(".", ",") if column == "price" and not isinstance(cell, str) else text


@settings(max_examples=15, deadline=None)
@given(st.lists(MIXED, min_size=2, max_size=4))
def test_a_row_is_answered_the_same_whatever_stands_beside_it(model: Path, tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    learner, folder = Learner.load(model), tmp_path_factory.mktemp("mixed")
    wanted = learner.predict_proba(rows)
    alone = [learner.predict_proba([row])[0] for row in rows]
    np.testing.assert_allclose(alone, wanted, atol=1e-6)
    np.testing.assert_allclose([Predictor(learner).row(row)["label.x"].score[0] for row in rows], wanted, atol=1e-6)
    np.testing.assert_allclose(learner.predict_proba([*rows, *rows * 30])[-len(rows) :], wanted, atol=1e-6)
    np.testing.assert_allclose(learner.predict_proba(pd.DataFrame(rows, dtype=object)), wanted, atol=1e-6)
    pd.DataFrame([{c: written(c, v) for c, v in row.items()} for row in rows]).to_csv(folder / "t.csv", sep=";", index=False)
    np.testing.assert_allclose(learner.predict_proba(folder / "t.csv"), wanted, atol=1e-6)
    parquet.write_table(pa.table({c: [v] for c, v in rows[0].items()}), folder / "t.parquet")
    np.testing.assert_allclose(learner.predict_proba(folder / "t.parquet"), wanted[:1], atol=1e-6)


def test_rows_without_cells_are_answered_and_what_cannot_be_read_is_told_a_column(model: Path) -> None:
    learner = Learner.load(model)
    empty = learner.predict_proba([{}] * 3)
    np.testing.assert_allclose(empty, learner.predict_proba([{"price": None}] * 3), atol=1e-6)
    np.testing.assert_allclose(Predictor(learner).row({})["label.x"].score[0], empty[0], atol=1e-6)
    out = CliRunner().invoke(app, ["predict", str(model)], input="{}")
    assert out.exit_code == 0 and json.loads(out.stdout) == {"label.x": learner.predict([{}])[0]}
    rows = [{"price": "oops" if i > 4 else 1.5, "age": {"k": 1} if i == 3 else 2, "x=1": {"k": "v"}} for i in range(40)]
    said = [note for note in learner.predictions(rows)[1] if "readable" in note]
    assert said[0].startswith("expected readable cells; got 40 unreadable in column 'x=1': row 1: a nested object (not a category); row 2")
    assert "expected a readable cell; got column 'age', row 4: a nested object (not a number); check the cell" in said
    assert "got 35 unreadable in column 'price': row 6: 'oops' (not a number); row 7: 'oops' (not a number); row 8" in "".join(said)
    assert len(said) == 3


def test_unreadable_cells_of_later_blocks_are_counted_with_the_first(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xmodal.learner.BLOCK", 4)
    said = [n for n in Learner.load(model).predictions([{"price": "oops"}] * 10)[1] if "readable" in n]
    assert len(said) == 1 and "10 unreadable in column 'price': row 1: 'oops'" in said[0] and "row 3" in said[0] and "row 4" not in said[0]


@pytest.mark.parametrize(("cells", "dtype"), [([False, True], bool), ([3, 1], np.int64), ([0.5, 1.0], float), (["0", "1"], object)])
def test_classes_come_back_as_the_table_held_them(cells: list[Any], dtype: type, tmp_path: Path) -> None:
    rows = pd.DataFrame({"x": [row % 2 for row in range(60)], "y": [cells[row % 2] for row in range(60)]})
    learner = Learner(target="y", kind="classify", training=FAST).fit(rows)
    learner.save(tmp_path / "model")
    for one in (learner, Learner.load(tmp_path / "model")):
        found = one.predict(rows)
        assert found.dtype == rows["y"].dtype and found.tolist() == rows["y"].tolist()
        alone = one.predict([{"x": 1}])
        assert alone.dtype == dtype and alone.tolist() == [cells[1]]
    names = {"False", "True"} if dtype is bool else {f"{c:g}" if dtype is not object else c for c in cells}
    assert {*(learner.classes or ())} == names


def test_equal_values_of_two_columns_are_apart_and_classes_have_one_name() -> None:
    first, second = [row % 3 for row in range(180)], [row // 3 % 3 for row in range(180)]
    rows = pd.DataFrame({"one": first, "two": second, "y": [int(a == b) for a, b in zip(first, second, strict=True)]})
    learner = Learner(target="y", training=FAST, modality={"one": "category", "two": "category"}).fit(rows)
    assert learner.classes == ["0", "1"]
    scores: list[Any] = []
    for y in (rows["y"].astype(float).where(rows.index > 0), [f"{v}.0" if i else "" for i, v in enumerate(rows["y"])]):
        found: Any = learner.evaluate(rows.assign(y=y))
        assert found["targets"]["y"]["n"] == 179 and any("1 of 180 rows have no label" in w for w in found["warnings"])
        scores.append(found["targets"]["y"]["metrics"]["accuracy"])
    assert scores[0] == scores[1] > 0.9
    assert {*learner.predict([{"one": 7, "two": 0}, {"one": 0, "two": 7}])} <= {0, 1}  # of the type that the fit had; unknown there alone


def test_long_texts_that_are_cut_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"word{i % 7}" for i in range(331)]
    rows = pd.DataFrame({"note": [" ".join(words if r in (5, 25, 45) else [f"short{r}"]) for r in range(60)], "label": ["x", "y"] * 30})
    rows.to_csv(tmp_path / "t.csv", index=False)
    roles = ["--target", "label", "--set", "training.epochs=1", "--set", "training.minimum=1", "--set", "training.folds=2"]
    asked, said = [*roles, "--encoder", "note=bilstm"], "input 'note': 3 of 60 cells are cut for its network, 71 % of what they hold unread"
    run = CliRunner().invoke
    source = str(tmp_path / "t.csv")
    found = json.loads(run(app, ["inspect", source, *asked, "--json"]).stdout)["findings"]
    assert any(f["says"].startswith(said) and f["level"] == "warn" for f in found), found
    with monkeypatch.context() as patch:
        patch.setattr("xmodal.inspection.READ", 50)
        found = json.loads(run(app, ["inspect", source, *asked, "--json"]).stdout)["findings"]
    assert any(f["says"].startswith("an estimate from 50 rows: input 'note': ") for f in found), found
    plain = run(app, ["inspect", source, *roles, "--json"])
    assert plain.exit_code == 0 and "are cut" not in plain.stdout, "too few rows for a network that reads words"
    fitted = run(app, ["fit", source, *asked, "--out", str(tmp_path / "m")])
    assert fitted.exit_code == 0, fitted.output
    told = json.loads((tmp_path / "m/report.json").read_text())
    raw = any(e["name"] == "note.bilstm" and e["kept"] for e in told["experts"])
    assert any(w.startswith(said) for w in told["warnings"]) == raw
    predicted = " ".join(run(app, ["predict", str(tmp_path / "m"), source]).output.split())
    assert (said in predicted) == raw


def test_answers_of_a_folder_name_its_files(tmp_path: Path) -> None:
    for i in range(24):
        name = tmp_path / "pictures" / ("dark", "light")[i % 2] / f"{i}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 200 * (i % 2) + i, np.uint8)).save(name)
    run, folder, model = CliRunner().invoke, str(tmp_path / "pictures"), str(tmp_path / "m")
    fitted = run(app, ["fit", folder, "--target", "label", "--set", "training.folds=2", "--out", model])
    assert fitted.exit_code == 0, fitted.output
    assert run(app, ["predict", model, folder, "--out", str(tmp_path / "p.csv")]).exit_code == 0
    rows = pd.read_csv(tmp_path / "p.csv")
    assert list(rows.columns) == ["file", "label"] and rows["file"].tolist() == read_table(folder).data["file"].to_pylist()
    assert (tmp_path / "pictures" / rows["file"][0]).is_file()
