"""Sounds and videos through the command line: fit, predict, what is unreadable or cut."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from tests.modality.test_audio import film, tone
from typer.testing import CliRunner

from xmodal import cli

FAST = (
    "--set",
    "training.folds=2",
    "--set",
    "training.raw.epochs=2",
    "--set",
    "training.descriptor.epochs=2",
    "--set",
    "training.descriptor.minimum=1",
)


def go(*words: str, stdin: str | None = None) -> tuple[int, str, str]:
    found = CliRunner().invoke(cli.app, list(words), input=stdin)
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """High tones and low ones, in noise; one too long, one damaged, one missing."""
    folder, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    rows = []
    for i in range(40):
        x = tone(0.2, 8_000, 900 if i % 2 else 300) + 0.05 * random.standard_normal(1600)
        soundfile.write(folder / f"{i}.wav", np.tile(x, 200) if i == 3 else x, 8_000)
        rows.append({"clip": f"{i}.wav", "size": random.normal(), "label": "high" if i % 2 else "low"})
    (folder / "5.wav").write_bytes(b"RIFF....WAVEjunk")
    rows[6]["clip"] = ""
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder


def test_sounds_from_fit_to_predict(folder, monkeypatch):
    monkeypatch.chdir(folder)
    code, out, err = go("inspect", "table.csv", "--target", "label", "--json")
    assert code == 0, err
    assert "sampled cells open as sounds" in out
    assert "over 30 s, only its start is read" in out
    words = ("--target", "label", "--encoder", "clip=acoustic", *FAST, "--out", "model")
    code, out, err = go("fit", "table.csv", *words)
    assert code == 0, err
    assert "of 1 of 38 files only the start is read, 25% of their length is left out" in err
    assert "classic experts read them whole" not in err
    code, out, err = go("predict", "model", "table.csv", "--proba")
    assert code == 0, err
    assert len(out.splitlines()) == 41
    assert "5.wav" in err
    found = json.loads((folder / "model/report.json").read_text())
    assert {"clip.linear", "clip.acoustic", "fusion.raw"} <= {e["name"] for e in found["experts"]}
    code, out, err = go("predict", "model", stdin=json.dumps({"clip": "1.wav", "size": 0.1}))
    assert code == 0, err
    assert json.loads(out)["label"] in ("high", "low")
    assert go("report", "model", "--out", "report.html")[0] == 0


def test_the_sound_of_videos_where_some_have_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = []
    for i in range(24):
        silent = i % 6 == 1
        sound = None if silent else tone(0.3 + i / 1000, pitch=900 if i % 2 else 300)
        (tmp_path / f"{i}.mp4").write_bytes(film(sound) + bytes([0, 0, 0, 9]) + b"free" + bytes([i]))
        rows.append({"clip": f"{i}.mp4", "size": float(i % 5), "label": "high" if i % 2 else "low"})
    pd.DataFrame(rows).to_csv("table.csv", index=False)
    code, _, err = go("fit", "table.csv", "--target", "label", "--modality", "clip=audio", *FAST, "--out", "model")
    assert code == 0, err
    assert "a video without a sound track" in err
    features = json.loads((tmp_path / "model/report.json").read_text())["inputs"]
    assert features["main.clip"]["columns"]["clip"] == [4, 0]
