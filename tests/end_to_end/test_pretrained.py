"""Pretrained networks through the command line: they run once, help, and travel with the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from tests.clips import clip, moving
from tests.networks import bert, videomae, vit, wav2vec2
from tests.networks import clip as joint
from typer.testing import CliRunner

from xmodal import Learner, cli, race
from xmodal.encoders.pretrained import pretrained
from xmodal.learner import Predictor
from xmodal.pretrained import checkpoint
from xmodal.pretrained.image import PretrainedPictures
from xmodal.pretrained.text import PretrainedText

QUICK = [word for name in ("epochs=2", "minimum=1", "folds=2") for word in ("--set", f"training.{name}")]
ROWS = 60


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    random, lines = np.random.default_rng(0), ["picture,note,size,label"]
    for row in range(ROWS):
        pixels = random.integers(0, 120, (40, 50, 3)).astype(np.uint8)
        pixels[..., 0] += 100 * (row % 2)
        Image.fromarray(pixels).save(folder / f"{row}.png")
        words = [*random.choice([["bad", "dull"], ["good", "fine"]][row % 2], 1), *random.choice(["film", "story", "plot", "a"], 4)]
        note = "" if row % 10 == 9 else f"the {' '.join(words)} {row}"
        lines.append(f"{row}.png,{note},{random.normal():.3f},{'yes' if row % 2 else 'no'}")
    (folder / "table.csv").write_text("\n".join(lines))
    for name, make in {"bert": bert, "vit": vit, "clip": joint}.items():
        make(folder / name)
    return folder


def run(*words: str) -> str:
    found = CliRunner().invoke(cli.app, list(words))
    assert found.exit_code == 0, found.stderr
    return found.stdout


@pytest.fixture
def at(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in, and an empty store."""
    shutil.copytree(table, tmp_path / "table")
    monkeypatch.chdir(tmp_path / "table")
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "table"


def forget(*networks: str) -> None:
    """As on another machine: the folders are gone, and nothing is held."""
    for name in networks:
        shutil.rmtree(name)
    checkpoint.KNOWN.clear()
    checkpoint.network.cache_clear()
    pretrained.cache_clear()


def test_frozen_networks(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["--encoder", "image=pretrained:vit", "--encoder", "note=pretrained:bert"]
    run("fit", "table.csv", "--target", "label", *asked, *QUICK, "--out", "model")
    report = json.loads(Path("model/report.json").read_text())
    assert report["counts"]["inferred"] == ROWS + ROWS - ROWS // 10
    assert {"picture.linear", "picture.pretrained", "note.linear", "note.pretrained", "fusion.descriptor"} <= {
        e["name"] for e in report["experts"]
    }
    assert report["pretrained"].keys() == {"picture", "note"} and all(
        v.keys() == {"with", "without"} for v in report["pretrained"].values()
    )
    run("report", "model", "--out", "page.html")
    assert "Pretrained network of note" in Path("page.html").read_text()
    networks = [p.name for p in Path("model/networks").iterdir()]
    assert len(networks) == 2 and json.loads(Path("model/config.json").read_text())["inputs"][0]["encoder"].startswith(
        "pretrained:bert;weights="
    )
    proba = Learner.load("model").predict_proba("table.csv")

    def never(*_: object) -> None:
        raise AssertionError("the network runs again")

    with monkeypatch.context() as patch:
        patch.setattr(PretrainedText, "many", never)
        patch.setattr(PretrainedPictures, "many", never)
        run("fit", "table.csv", "--target", "label", *asked, *QUICK, "--out", "again")
    assert json.loads(Path("again/report.json").read_text())["counts"]["inferred"] == 0
    monkeypatch.setenv("XMODAL_CACHE", str(at / "other"))
    forget("bert", "vit")
    learner = Learner.load("model")
    assert np.allclose(learner.predict_proba("table.csv"), proba, atol=1e-6)
    row = Predictor(learner).row({"picture": "3.png", "note": "the fine film 3", "size": 0.5})["label"]
    assert row.score.shape == (1, 2) and Predictor(learner).row({"size": 1.0})["label"].score.shape == (1, 2)


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_networks_that_go_on_learning(at: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    every = race.candidates
    raw = lambda *given: [m for m in every(*given) if m.expert.settings.get("kind") == "raw"]  # noqa: E731
    monkeypatch.setattr(race, "candidates", raw)  # classic experts would win
    asked = ["--encoder", f"image=pretrained:clip;mode={mode}", "--encoder", f"text=pretrained:clip;mode={mode}"]
    run("fit", "table.csv", "--target", "label", *asked, *QUICK, "--use", "picture", "--use", "note", "--out", "model")
    names = {e["name"] for e in json.loads(Path("model/report.json").read_text())["experts"]}
    assert names >= {f"picture.{mode}", f"note.{mode}", "fusion.raw"}
    (network,) = Path("model/networks").iterdir()
    assert (network / "model.safetensors").is_file() == (mode == "lora"), "weights stand in the artefact once"
    proba = Learner.load("model").predict_proba("table.csv")
    forget("clip")
    assert np.allclose(Learner.load("model").predict_proba("table.csv"), proba, atol=1e-6)


def test_a_network_that_cannot_read_the_input(at: Path) -> None:
    found = CliRunner().invoke(cli.app, ["fit", "table.csv", "--target", "label", "--encoder", "image=pretrained:bert", "--out", "model"])
    assert found.exit_code == 1 and "an encoder of image for input 'picture'" in found.stderr
    found = CliRunner().invoke(
        cli.app, ["fit", "table.csv", "--target", "label", "--encoder", "image=pretrained:no/where", "--out", "model"]
    )
    assert found.exit_code == 1 and "hf download no/where" in found.stderr


def test_sounds_and_clips(at: Path) -> None:
    random, lines = np.random.default_rng(0), ["sound,film,label"]
    for row in range(40):
        tone = 0.4 * np.sin(np.arange(2000) * (0.2 if row % 2 else 0.9)) + 0.05 * random.normal(size=2000)
        soundfile.write(f"{row}.wav", tone, 8000)
        Path(f"{row}.mp4").write_bytes(clip(moving("left" if row % 2 else "right", row)))
        lines.append(f"{row}.wav,{row}.mp4,{'slow' if row % 2 else 'fast'}")
    Path("media.csv").write_text("\n".join(lines))
    wav2vec2(at / "wav2vec2")
    videomae(at / "videomae")
    asked = ["--encoder", "audio=pretrained:wav2vec2", "--encoder", "video=pretrained:videomae"]
    run("fit", "media.csv", "--target", "label", *asked, *QUICK, "--out", "heard")
    report = json.loads(Path("heard/report.json").read_text())
    assert report["counts"]["inferred"] == 80 and {"sound.pretrained", "film.pretrained"} <= {e["name"] for e in report["experts"]}
    assert report["pretrained"]["sound"]["with"] < 0.6, "even a random network tells tones apart"
    proba = Learner.load("heard").predict_proba("media.csv")
    forget("wav2vec2", "videomae")
    row = Predictor(Learner.load("heard")).row({"sound": "3.wav", "film": "3.mp4"})["label"]
    assert np.allclose(row.score[0], proba[3], atol=1e-5)
