"""One column of files read in two ways: two inputs, one read of each file."""

import json
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from tests.clips import bomb, clip, moving
from typer.testing import CliRunner

from xmodal import Learner, cli
from xmodal.features.extractors import CLASSIC
from xmodal.features.worker import Extraction
from xmodal.job import State
from xmodal.learner import Predictor
from xmodal.media import Media
from xmodal.prepare import open_new

QUICK = {"epochs": 2, "minimum": 1, "folds": 2}
SET = [word for name, value in QUICK.items() for word in ("--set", f"training.{name}={value}")]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """GIFs of squares that move left or right; a few are damaged or missing."""
    folder = tmp_path_factory.mktemp("gifs")
    rows = []
    for row in range(60):
        way = ("left", "right")[row % 2]
        data = clip(moving(way, row), "gif")
        (folder / f"{row}.gif").write_bytes(data[:200] if row == 7 else data)
        rows.append({"clip": "" if row == 11 else f"{row}.gif", "size": row % 5, "way": way})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv", pd.DataFrame(rows)


@pytest.fixture(scope="module")
def model(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "model"
    words = ["fit", table[0], "--target", "way", "--modality", "clip=image+video", "--out", out, *SET]
    found = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return out


def test_the_whole_way(table, model):
    path, rows = table
    learner = Learner.load(model)
    assert [i.name for i in learner.model.answer.inputs.values()] == ["clip:image", "clip:video", "table"]
    assert {n: (r.column, r.modality) for n, r in learner.model.readings.items()} == {
        "clip:image": ("clip", "image"), "clip:video": ("clip", "video"), "size": ("size", "number")
    }  # fmt: skip
    names = {e["name"] for e in learner.report["experts"]}
    assert {"clip:video.linear", "clip:image.linear", "joint.forest"} <= names
    lines = {tuple(line["inputs"]): line for line in learner.report["subsets"]}
    assert len(lines) == 7 and {("clip:image",), ("clip:video",), ("clip:image", "clip:video")} <= set(lines)
    said = learner.predict(path)
    assert np.mean([a == b for a, b in zip(said, rows["way"], strict=True)]) > 0.9, "only the video tells the way"
    assert sum("row 8" in w for w in learner.report["warnings"]) == 2, "the damaged file, in each of its two ways"
    rows = json.loads((model / "examples.json").read_text())
    assert {cell[0] for row in rows for cell in row["cells"]} == {"clip:image", "clip:video", "size"}


def test_a_row_alone_and_one_that_lacks_the_column(table, model):
    path, rows = table
    learner = Learner.load(model)
    whole, predictor = learner.predict_proba(path), Predictor(learner, path.parent)
    for row in (0, 7, 11):
        one = predictor.row(rows.iloc[row].to_dict())["way"]
        assert one.score[0] == pytest.approx(whole[row], abs=1e-6)
        assert (one.state_RM[0, :2] == (State.BROKEN if row == 7 else State.MISSING if row == 11 else State.PRESENT)).all()
    prediction, notes = learner.predictions(rows[["size"]], lambda *_: None)
    assert (prediction.state_RM[:, :2] == State.MISSING).all() and sum("'clip' is not in" in n for n in notes) == 1
    _, notes = learner.predictions(rows.rename(columns={"clip": "Clip ", "size": "weight"}), lambda *_: None)
    assert [n.partition("missing")[2] for n in notes if "is not in" in n] == [" (it has 'Clip ', which is not read)", ""]


def test_commands_show_both(table, model, tmp_path):
    def run(*words):
        found = CliRunner().invoke(cli.app, [str(w) for w in words])
        assert found.exit_code == 0, found.output
        return found.stdout

    asked = ("--target", "way", "--modality", "clip=image+video")
    columns = {c["input"]: c for c in json.loads(run("inspect", table[0], *asked, "--json"))["columns"]}
    assert {n: (c["name"], c["modality"]) for n, c in columns.items()} == {
        "clip:image": ("clip:image", "image"), "clip:video": ("clip:video", "video"), "table": ("size", "number")
    }  # fmt: skip
    assert columns["clip:video"]["missing"] == columns["clip:image"]["missing"] == 1
    assert '"clip:video": video' in run("config", table[0], *asked)
    run("report", model, "--out", tmp_path / "report.html")
    assert "clip:video" in (tmp_path / "report.html").read_text()
    evaluated = json.loads(run("evaluate", model, table[0], "--json"))
    assert evaluated["rows"] == 60
    assert [
        w
        for w in evaluated["warnings"]
        if w.endswith("of 60 rows were learnt from, so that the figures flatter: score others, or --part test")
    ]
    assert not any("learnt from" in w for w in json.loads(run("evaluate", model, table[0], "--part", "test", "--json"))["warnings"])
    assert len(run("predict", model, table[0]).splitlines()) == 61


def test_asked_for_otherwise(table, tmp_path):
    path, rows = table
    found = CliRunner().invoke(cli.app, ["config", str(path), "--target", "way", "--modality", "size=number+image"])
    assert found.exit_code and "modalities of files" in found.output
    assert {r.modality for r in open_new(path, Learner(target="way").job).readings.values()} == {"image", "number"}, "a GIF is a picture"
    opened = open_new(path, Learner(target="way", modality={"clip": "video"}).job)
    assert {n: r.modality for n, r in opened.readings.items()} == {"clip": "video", "size": "number"}
    job = Learner(target="way", modality={"clip": "image+video"}, encoder={"clip:video": "clip"}).job
    assert open_new(path, job).inputs["main.clip:video"].encoder == "clip"
    words = ["config", path, "--target", "way", "--modality", "clip=image+video", "--encoder", "clip:video=clip"]
    found = CliRunner().invoke(cli.app, [str(w) for w in words])
    assert found.exit_code == 0 and '"clip:video" = "clip"' in found.output
    rows.rename(columns={"size": "clip:video"}).to_csv(path.parent / "named.csv", index=False)
    found = CliRunner().invoke(cli.app, ["config", str(path.parent / "named.csv"), "--target", "way", "--modality", "clip=image+video"])
    assert found.exit_code and "'clip:video' twice" in found.output


def test_a_file_is_read_once_for_both(table, monkeypatch):
    path, real, read = table[0], Media.open, Counter()

    def counting(self, cell):
        if cell not in self.held:
            read[cell] += 1
        return real(self, cell)

    readers = {m: (CLASSIC[m],) for m in ("image", "video")}
    monkeypatch.setattr(Media, "open", counting)
    made = Extraction(readers, Media((path.parent,))).one("0.gif")
    assert {m: set(one) for m, one in made.items()} == {"image": {"hog", "colour"}, "video": {"hog", "colour", "mover", "motion"}}
    assert read == {"0.gif": 1}


def test_clips_without_sound_among_clips_with_it(tmp_path):
    """Ten masked sounds: missing, for there is nothing to mend, and never zeros."""
    rows = []
    for row in range(40):
        (tmp_path / f"{row}.mp4").write_bytes(clip(moving(("left", "right")[row % 2], row, 4), sound=row >= 10))
        rows.append({"clip": f"{row}.mp4", "way": ("left", "right")[row % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    words = ["fit", tmp_path / "table.csv", "--target", "way", "--modality", "clip=video+audio", "--out", tmp_path / "model", *SET]
    found = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    learner = Learner.load(tmp_path / "model")
    prediction, notes = learner.predictions(tmp_path / "table.csv", lambda *_: None)
    assert list(learner.model.answer.inputs) == ["main.clip:audio", "main.clip:video"]
    assert prediction.state_RM.tolist() == [[State.MISSING if row < 10 else State.PRESENT, State.PRESENT] for row in range(40)]
    assert [n for n in notes if "sound" in n] == ["column 'clip:audio': nothing in 10 of 40 cells: a video without a sound track"]
    data, _ = learner._again(learner.read(tmp_path / "table.csv"), lambda *_: None)[1], None
    column = data.columns["main.clip:audio"]
    assert (column.row_BK[:10] == -1).all() and (column.row_BK[10:] >= 0).all()
    one = Predictor(learner, tmp_path).row(rows[0])["way"]
    assert one.state_RM.tolist() == [[State.MISSING, State.PRESENT]]
    assert one.score[0] == pytest.approx(prediction.score[0], abs=1e-6)


def test_a_track_that_no_clip_has_leaves_the_other_in(tmp_path):
    cells = [{"clip": clip(moving(("left", "right")[row % 2], row, 4)), "way": ("left", "right")[row % 2]} for row in range(6)]
    opened = open_new(cells, Learner(target="way", modality={"clip": "video+audio"}).job)
    assert {n: r.modality for n, r in opened.readings.items()} == {"clip": "video"}
    assert [n for n in opened.notes if "left out as audio: none of 6 opens" in n]


def test_a_bomb_costs_its_cell_alone(table, model):
    """By a table that is predicted, by a row, and by a small table to learn from."""
    path, rows = table
    learner, start = Learner.load(model), time.monotonic()
    good = (path.parent / "0.gif").read_bytes()
    cells = [{"clip": good, "size": 1}, {"clip": bomb(3000), "size": 1}]
    prediction, notes = learner.predictions(cells)
    assert prediction.state_RM.tolist() == [[0, 0, 0], [0, 2, 0]], "its first frame is a picture"
    assert any("more than 20,000,000,000 pixels" in note for note in notes)
    assert Predictor(learner).row(cells[1])["way"].state_RM.tolist() == [[0, 2, 0]]
    (path.parent / "bomb.gif").write_bytes(bomb(3000))
    few = rows[:20].assign(clip=[*rows["clip"][:19], "bomb.gif"])
    ready = Learner(target="way", modality={"clip": "video"}, media_root=[str(path.parent)]).ready(few, lambda *_: None)
    assert ready.data.columns["main.clip"].state_B.tolist() == [0] * 7 + [2] + [0] * 3 + [1] + [0] * 7 + [2]
    assert time.monotonic() - start < 30
