"""Vectors, sequences and joined tables through the command line: train, save, load, score, predict, inspect."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from xmodal import Learner, Predictor
from xmodal.cli import app

QUICK = ["--set", "training.epochs=3", "--set", "training.minimum=1", "--set", "training.folds=2"]
ROWS = 60


def run(*words: object, ask: str | None = None) -> str:
    return both(*words, ask=ask)[0]


def both(*words: object, ask: str | None = None) -> tuple[str, str]:
    """What stands on standard output and on standard error."""
    found = CliRunner().invoke(app, [*map(str, words)], input=ask)
    assert found.exit_code == 0, found.output
    return found.stdout, " ".join(found.stderr.replace("│", " ").split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Series that rise or fall, lists of numbers, and a table to join; one cell of each is blank, one unusable."""
    folder, random, found = tmp_path_factory.mktemp("series"), np.random.default_rng(0), []
    view = []
    for row in range(ROWS):
        kind = row % 2
        steps = np.linspace(-1, 1, 5 + row % 4)[:, None] * [1 if kind else -1, 0.1] + random.normal(0, 0.1, (5 + row % 4, 2))
        np.save(folder / f"{row}.npy", steps)
        vector = random.normal(size=3) + np.array([kind, 0, 0])
        found.append(
            {"key": f"{row:03d}", "motion": f"{row}.npy", "point": json.dumps(vector.round(3).tolist()), "kind": ("down", "up")[kind]}
        )
        view.append({"key": f"{row:03d}", "v1": random.normal() + kind, "v2": random.normal(), "word": "x"})
    found[3]["motion"], found[4]["motion"] = "", "gone.npy"
    found[5]["point"], found[6]["point"] = "", "[1, 2, null]"
    pd.DataFrame(found).to_csv(folder / "t.csv", index=False)
    pd.DataFrame(view[:-2]).sample(frac=1, random_state=0).to_csv(folder / "view.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def model(folder) -> tuple[Path, str]:
    _, said = both("fit", folder / "t.csv", "--target", "kind", "--id", "key", "--join", folder / "view.csv",
               "--encoder", "motion=recurrent", "--out", folder / "m", *QUICK)  # fmt: skip
    return folder / "m", said


def test_a_fit_says_what_it_read(folder, model) -> None:
    out, said = model
    report = json.loads((out / "report.json").read_text())
    names = {e["name"] for e in report["experts"]}
    assert {"motion.recurrent", "motion.linear", "point.linear", "view.linear", "fusion.descriptor"} <= names, names
    for words in ("2 of 60 rows have no row in", "columns of no numbers are left out: 'word'", "1 numbers are missing", "gone.npy"):
        assert words in said, (words, said)
    config = json.loads((out / "config.json").read_text())
    assert not config["job"]["join"], "a model keeps no path"
    assert next(r["options"] for r in config["readings"] if r["column"] == "view") == {"width": 2, "columns": ["v1", "v2"]}
    assert str(folder) not in (out / "config.json").read_text()


def test_scores_predictions_and_one_row_agree(folder, model) -> None:
    out, join = model[0], ["--join", folder / "view.csv"]
    scores = json.loads(run("evaluate", out, folder / "t.csv", *join, "--json"))
    assert scores["targets"]["kind"]["metrics"]["accuracy"] > 0.9
    run("predict", out, folder / "t.csv", *join, "--proba", "--out", folder / "p.csv")
    table = pd.read_csv(folder / "p.csv", dtype={"key": str})
    assert table["key"].tolist() == [f"{i:03d}" for i in range(ROWS)]
    assert table["unreadable"].dropna().tolist() == ["motion"]
    cells = {"motion": np.load(folder / "8.npy").tolist(), "point": json.loads(pd.read_csv(folder / "t.csv")["point"][8])}
    view = pd.read_csv(folder / "view.csv", dtype={"key": str}).set_index("key").loc["008"]
    numbers = [float(view["v1"]), float(view["v2"])]
    server = Predictor(Learner.load(out), folder)
    for row in (cells | {"view": numbers}, cells | dict(zip(["v1", "v2"], numbers, strict=True))):
        said = json.loads(run("predict", out, "--proba", ask=json.dumps(row)))
        assert said["probability_up"] == pytest.approx(table["probability_up"][8], abs=1e-6)
        assert server.row(row)["kind"].score[0, 1] == pytest.approx(table["probability_up"][8], abs=1e-6)
    _, said = both("predict", out, folder / "t.csv")
    assert "column 'view' is not in" in said


def test_inspect_and_report(folder, model, tmp_path) -> None:
    join = ["--join", folder / "view.csv"]
    found = json.loads(run("inspect", folder / "t.csv", "--target", "kind", "--id", "key", *join, "--json"))
    read = {c["name"]: c for c in found["columns"]}
    assert {n: read[n]["modality"] for n in read} == {"motion": "sequence", "point": "vector", "view": "vector"}
    assert (read["motion"]["missing"], read["motion"]["broken"], read["motion"]["files"]["NPY"]) == (1, 1, ROWS - 2)
    assert (read["view"]["missing"], read["point"]["missing"]) == (2, 1)
    run("report", model[0], "--out", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "motion" in page
    assert "view" in page


def test_a_job_of_a_file(folder, tmp_path) -> None:
    (tmp_path / "job.toml").write_text(f"""table = "{folder}/t.csv"
target = ["kind"]
id = ["key"]
join = ["{folder}/view.csv"]
use = ["view"]
[training]
folds = 2
epochs = 2
minimum = 1
""")
    run("fit", "--config", tmp_path / "job.toml", "--out", tmp_path / "m")
    readings = json.loads((tmp_path / "m" / "config.json").read_text())["readings"]
    assert [r["column"] for r in readings] == ["view"]
    assert "join = [" in run("config", "--config", tmp_path / "job.toml")
