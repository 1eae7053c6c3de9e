"""From tables as people write them to equal predictions, through a saved model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
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
    assert {*learner.predict([{"one": 7, "two": 0}, {"one": 0, "two": 7}])} <= {"0", "1"}  # unknown there alone


def test_long_texts_that_are_cut_are_counted(tmp_path: Path) -> None:
    words = [f"word{i % 7}" for i in range(331)]
    rows = pd.DataFrame({"note": [" ".join(words if r in (5, 25, 45) else [f"short{r}"]) for r in range(60)], "label": ["x", "y"] * 30})
    rows.to_csv(tmp_path / "t.csv", index=False)
    roles = ["--target", "label", "--set", "training.epochs=1", "--set", "training.minimum=1", "--set", "training.folds=2"]
    asked, said = [*roles, "--encoder", "note=bilstm"], "input 'note': 3 of 60 cells are cut for its network, 71 % of what they hold unread"
    run = CliRunner().invoke
    source = str(tmp_path / "t.csv")
    found = json.loads(run(app, ["inspect", source, *asked, "--json"]).stdout)["findings"]
    assert any(f["says"].startswith(said) and f["level"] == "warn" for f in found), found
    plain = run(app, ["inspect", source, *roles, "--json"])
    assert plain.exit_code == 0 and "are cut" not in plain.stdout, "too few rows for a network that reads words"
    fitted = run(app, ["fit", source, *asked, "--out", str(tmp_path / "m")])
    assert fitted.exit_code == 0, fitted.output
    told = json.loads((tmp_path / "m/report.json").read_text())
    raw = any(e["name"] == "note.bilstm" and e["kept"] for e in told["experts"])
    assert any(w.startswith(said) for w in told["warnings"]) == raw
    predicted = " ".join(run(app, ["predict", str(tmp_path / "m"), source]).output.split())
    assert (said in predicted) == raw
