"""Pen drawings through the command line: train, save, load, predict."""

import json
from typing import Any

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from xmodal.cli import app


def drawn(rows: int) -> pd.DataFrame:
    """Circles and zigzags; one cell is blank, one is damaged."""
    random, found = np.random.default_rng(0), []
    for row in range(rows):
        angle = np.linspace(0, 6, 20)
        round_, zigzag = np.stack([np.cos(angle), np.sin(angle)], 1), np.stack([angle, np.arange(20) % 4 * 1.0], 1)
        points = (zigzag if row % 2 else round_) * random.uniform(5, 50) + random.normal(size=(20, 2)) * 0.3
        found.append({"drawing": json.dumps([points[:11].tolist(), points[11:].tolist()]), "kind": "zigzag" if row % 2 else "round"})
    found[3]["drawing"], found[4]["drawing"] = "", "[[[1, 2], [3]]]"
    return pd.DataFrame(found)


def test_train_save_load_predict(tmp_path) -> None:
    drawn(60).to_csv(tmp_path / "t.csv", index=False)

    def run(*words: str) -> str:
        found = CliRunner().invoke(app, [*words])
        assert found.exit_code == 0, found.output
        return found.stdout

    def scored(table: str) -> Any:
        return json.loads(run("evaluate", model, table, "--json"))

    settings = ["--set", "training.epochs=3", "--set", "training.minimum=1", "--set", "training.folds=2"]
    table, model = str(tmp_path / "t.csv"), str(tmp_path / "m")
    said = run("fit", table, "--target", "kind", "--encoder", "drawing=stroke", "--out", model, *settings)
    assert "drawing.stroke" in json.dumps(json.loads((tmp_path / "m" / "report.json").read_text())["experts"]), said
    found = scored(table)
    assert found["targets"]["kind"]["metrics"]["accuracy"] > 0.9
    run("predict", model, table, "--out", str(tmp_path / "p.csv"))
    assert len(pd.read_csv(tmp_path / "p.csv")) == 60
    frame = drawn(8).drop(index=[3, 4])
    frame["drawing"] = frame["drawing"].map(json.loads)
    frame.to_parquet(tmp_path / "nested.parquet")
    assert scored(str(tmp_path / "nested.parquet"))["targets"]["kind"]["metrics"]["accuracy"] == 1
