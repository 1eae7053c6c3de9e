"""CONTRIBUTING.md's code, as it stands there, installed as a package: found, checked, trained, saved, loaded."""

import csv
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
KINDS = {"fusions": "gated", "heads": "focal", "experts": "neighbours", "modalities": "molecule", "encoders": "geometry"}
QUICK = [word for name in ("epochs=2", "minimum=1", "folds=2") for word in ("--set", f"training.{name}")]
DRAW = """
import csv
from test_xmodal_example import chain

with open("table.csv", "w", newline="") as file:
    out = csv.writer(file)
    out.writerow(["clip", "note", "size", "label"])
    for row in range(80):
        low = row % 2
        open(f"{row}.xyz", "wb").write(chain(0.8 if low else 1.6, row))
        out.writerow(["" if row % 9 == 8 else f"{row}.xyz", f"clip number {row} of a long list", row % 7, "low" if low else "high"])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package and its metadata, as pip would leave them."""
    folder = tmp_path_factory.mktemp("plugin")
    files = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", TEXT, re.DOTALL)
    assert len(files) == len(re.findall("```python", TEXT)) == 7
    for name, content in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, "utf-8")
        own = [line for line in content.splitlines() if line.strip()]
        assert name.startswith("test_") or len(own) <= 40, f"{name} is no short example"
    (project,) = (tomllib.loads(block)["project"] for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL))
    info = folder / "xmodal_example-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in some.items()) for group, some in project["entry-points"].items()]
    (info / "entry_points.txt").write_text("\n".join(points))
    return folder


@pytest.fixture(scope="module")
def run(installed):
    """Runs Python in that folder, with the package on its path; gives what it printed."""

    def go(*words, stdin=None):
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{installed}", "PYTHONDONTWRITEBYTECODE": "1"}
        found = subprocess.run([sys.executable, *words], cwd=installed, env=env, input=stdin, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    return go


def test_they_pass_the_checks_that_ours_pass(run):
    assert "5 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_xmodal_example.py")


def test_the_list_shows_them(run):
    script = "from xmodal.cli import app\nfor kind in {!r}:\n    app(['list', kind], standalone_mode=False)"
    shown = run("-c", script.format(list(KINDS)))
    for name in KINDS.values():
        assert re.search(rf"^{name} +[A-Z]", shown, re.MULTILINE), name


def test_they_train_are_saved_loaded_and_predict(run, installed):
    run("-c", DRAW)
    roles = ("table.csv", "--target", "label", "--fusion", "gated", "--head", "focal", "--encoder", "molecule=geometry", *QUICK)
    run("-m", "xmodal", "fit", *roles, "--out", "model")
    report = json.loads((installed / "model/report.json").read_text())
    names = {e["name"]: e for e in report["experts"]}
    assert {"clip.linear", "clip.neighbours", "note.neighbours", "table.neighbours", "joint.neighbours", "fusion.descriptor"} <= set(names)
    assert names["joint.neighbours"]["inputs"] == ["clip", "note", "table"]
    assert names["clip.neighbours"]["validation"]["metrics"]["roc_auc"] > 0.9, "the pitch tells the label"
    saved = "".join(p.read_text("utf-8") for p in (installed / "model").rglob("*.json"))
    assert '"gated"' in saved and '"focal"' in saved and '"geometry"' in saved
    answers = list(csv.DictReader(run("-m", "xmodal", "predict", "model", "table.csv", "--proba").splitlines()))
    assert len(answers) == 80 and sum(a["label"] == ("low" if i % 2 else "high") for i, a in enumerate(answers)) > 70
    row = {"clip": "0.wav", "note": "clip number 0 of a long list", "size": 0}
    one = json.loads(run("-m", "xmodal", "predict", "model", "--proba", stdin=json.dumps(row)))
    assert one["probability_high"] == pytest.approx(float(answers[0]["probability_high"]), abs=1e-5)
