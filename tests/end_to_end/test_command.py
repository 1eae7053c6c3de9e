"""The command: the README's on a small demo table, and Ctrl-C."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xmodal import cli
from xmodal.demo import draw


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    draw(folder, 60, 0)
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def go(*words, stdin=None):
        found = CliRunner().invoke(cli.app, list(words), input=stdin)
        return found.exit_code, found.stdout, found.stderr

    return go


ROLES = ("--target", "label", "--id", "id", "--split", "split", "--use", "picture", "--use", "sentence")


def test_the_commands_of_the_readme(run, folder):
    code, out, err = run("fit", "table.csv", *ROLES, "--out", "model")
    assert code == 0, err
    assert "Verdict: " in out and "train" in err
    code, out, err = run("evaluate", "model", "table.csv", "--part", "test", "--json")
    found = json.loads(out)
    assert (
        code == 0
        and found["part"] == "test"
        and found["rows"] == 60
        and set(found["targets"]["label"]["metrics"]) >= {"roc_auc", "log_loss"}
    )
    code, out, err = run("predict", "model", "table.csv", "--proba")
    lines = (folder / "table.csv").read_text().splitlines()
    assert code == 0 and [x.split(",")[0].strip('"') for x in out.splitlines()] == [x.split(",")[0] for x in lines]
    code, out, err = run("predict", "model", stdin='{"sentence": "A frosty walk"}')
    assert code == 0 and json.loads(out)["label"] in ("fits", "clashes") and "column 'picture' is not in the rows" in err
    for again in ("model", "pictures"):
        code, out, err = run("fit", "table.csv", *ROLES, "--out", again)
        assert code == 1 and err.startswith("expected: ") and not out
    (folder / "model/config.json").write_bytes((folder / "model/config.json").read_bytes().replace(b"label", b"lebal", 1))
    code, out, err = run("predict", "model", "table.csv")
    assert code == 1 and "config.json" in err and "Traceback" not in err


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to a process there")
def test_interrupted_there_is_no_half_a_model(folder):
    words = [sys.executable, "-m", "xmodal", "fit", "table.csv", *ROLES, "--out", "half"]
    process = subprocess.Popen(words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stderr:
        if line.startswith("train"):
            break
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err and time.monotonic() - began < 30
    assert "--resume" in err and [p.name for p in folder.iterdir() if "half" in p.name] == [".half.resume"]


def test_the_python_of_the_readme(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    block = re.search(r"```python\n(.*?)```", (Path(__file__).parents[2] / "README.md").read_text("utf-8"), re.DOTALL)
    shutil.rmtree("model", ignore_errors=True)
    exec(block[1], {})
    assert "outcome" in capsys.readouterr().out
