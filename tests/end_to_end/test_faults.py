"""What happens to a fit in a bad hour: kills, time limits, disks that refuse, forks, poor consoles."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xmodal import Learner, artefact
from xmodal.errors import ConfigError
from xmodal.features import Store

ROLES = ("--target", "label", "--id", "key", "--ignore", "value")
QUICK = ("--set", "training.epochs=6", "--set", "training.minimum=1", "--set", "training.folds=2")
posix = pytest.mark.skipif(os.name == "nt", reason="no such signals or forks there")


def start(folder: Path, cache: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """`xmodal` in a process of its own."""
    pipe = subprocess.PIPE
    environ = {**os.environ, "XMODAL_CACHE": str(cache), **environment}
    encoding = environment.get("PYTHONIOENCODING", "utf-8").replace("ascii", "utf-8")  # click takes ASCII for a mistake and writes UTF-8
    return subprocess.Popen([sys.executable, "-m", "xmodal", *words], cwd=folder, env=environ, stdout=pipe, stderr=pipe, encoding=encoding)


def weights(model: Path) -> dict[str, bytes]:
    """Every array of a model folder."""
    return {str(p.relative_to(model)): p.read_bytes() for p in sorted(model.rglob("*.safetensors"))}


@posix
@pytest.mark.slow
def test_killed_five_times_and_resumed_it_is_the_same_model(table, tmp_path):
    """At any moment, some time after a stage that is drawn has begun, however fast the machine is just then: the store is whole, the
    model whole or not there. In the end, bits are those of a fit that nobody disturbed."""
    path, rows = table
    whole = start(path.parent, tmp_path / "cache", "fit", "table.csv", *ROLES, *QUICK, "--out", str(tmp_path / "whole"))
    stages = [line for line in whole.communicate()[1].splitlines() if line.startswith(("train ", "refit "))]
    assert whole.returncode == 0 and len(stages) > 10
    draws, model, killed = random.Random(5), tmp_path / "model", 0
    words = ("fit", "table.csv", *ROLES, *QUICK, "--out", str(model), "--resume")
    for stage in ("features of picture", *draws.sample(stages[:-1], 4)):
        process = start(path.parent, tmp_path / "other", *words)
        while (line := process.stderr.readline().rstrip("\n")) and line != stage:
            pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draws.uniform(0, 0.5))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert Store(tmp_path / "other" / "features").verify() == []
        if model.exists():
            artefact.load(model)
            break
    if not model.exists():
        assert killed == 5
        _, err = (last := start(path.parent, tmp_path / "other", *words)).communicate()
        assert last.returncode == 0, err
    assert killed >= 1 and weights(model) == weights(tmp_path / "whole")
    assert not (tmp_path / ".model.resume").exists()
    assert len(Learner.load(model).predict(rows)) == len(rows)


@posix
@pytest.mark.parametrize("parts", [3, 20])
def test_killed_while_training_it_goes_on_with_the_same_bits(table, tmp_path, parts):
    learner = {"target": "label", "use": ["size", "shop", "story"], "training": {"epochs": 4, "minimum": 1, "folds": 2}}
    state, done = tmp_path / "state", []

    def until(stage: str, at: int, total: int) -> None:
        done.append(len(list(state.glob("*.part"))))
        if done[-1] >= parts:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Learner(**learner).fit(table[0], until, folder=state)
    found = Learner(**learner).fit(table[0], folder=state, resume=True)
    found.save(tmp_path / "found")
    Learner(**learner).fit(table[0], folder=tmp_path / "two").save(tmp_path / "whole")
    assert not state.exists() and weights(tmp_path / "found") == weights(tmp_path / "whole")


def test_another_job_or_table_is_not_resumed(table, tmp_path):
    def fit(rows: pd.DataFrame, seed: int) -> None:
        def stop(stage: str, at: int, total: int) -> None:
            if stage.startswith("train") and at:
                raise KeyboardInterrupt

        Learner(target="label", use=["size", "shop"], weight="heavy", seed=seed).fit(rows, stop, folder=tmp_path / "state", resume=True)

    rows = table[1].assign(heavy=1.0)
    with pytest.raises(KeyboardInterrupt):
        fit(rows, 0)
    with pytest.raises(ConfigError, match=r"another job than in .*start anew without --resume"):
        fit(rows, 1)
    for other in (rows.assign(size=rows["size"] + 1e-9), rows.assign(heavy=range(1, len(rows) + 1))):
        with pytest.raises(ConfigError, match="another table than in"):
            fit(other, 0)
    with pytest.raises(KeyboardInterrupt):
        fit(rows, 0)


def test_a_time_limit_leaves_out_what_does_not_fit_in(table, tmp_path):
    began = time.monotonic()
    learner = Learner(target="label", id="key", ignore="value", time_limit="8s").fit(table[0])
    assert time.monotonic() - began < 8 * 1.2
    skipped = learner.report["skipped"]
    assert skipped and any("time limit of 8s left out" in w for w in learner.report["warnings"])
    assert len(learner.predict(table[1])) == len(table[1])


@pytest.mark.parametrize("small", [2000, 10])
def test_with_no_time_at_all_one_input_is_learnt_and_saved(table, tmp_path, small):
    """On one fold of several, or by the validation rows."""
    roles = {"target": "label", "use": ["story", "size"], "id": "key", "training": {"small": small, "folds": 3}}
    learner = Learner(**roles, time_limit="0.01s").fit(table[0])
    assert [i.name for i in learner.model.answer.inputs.values()] == ["story"]
    skipped = learner.report["skipped"]
    assert "input table" in skipped and ("2 of 3 folds, and learning again from all rows" in skipped) == (small == 2000)
    assert any("time limit of 0.01s left out: " in w for w in learner.report["warnings"])
    learner.save(tmp_path / "model")
    again = Learner.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(table[1]), learner.predict_proba(table[1]))
    assert again.evaluate(table[0], "test")["rows"] == learner.report["parts"]["test"]
    with pytest.raises(ConfigError, match=r"each input in each fold; got none for table in fold 1 of 3"):
        Learner(**roles, time_limit="0.01s").crossval(table[0], 3)


def test_time_for_one_fold_learns_from_every_input(table, monkeypatch):
    """What is tried first takes long: the other laps are given up, not the other inputs."""
    from xmodal.race import Race

    clock, skew, learn = time.monotonic, [0.0], Race.learn

    def slow(self, entry, *rest):
        skew[0] += 100.0 * (entry.member.name == "story.linear")
        return learn(self, entry, *rest)

    monkeypatch.setattr(Race, "learn", slow)
    monkeypatch.setattr("xmodal.race.time.monotonic", lambda: clock() + skew[0])
    training = {"epochs": 2, "minimum": 1, "folds": 3}
    learner = Learner(target="label", use=["story", "size"], training=training, time_limit="400s").fit(table[0])
    assert [i.name for i in learner.model.answer.inputs.values()] == ["story", "table"]
    assert "2 of 3 folds, and learning again from all rows" in learner.report["skipped"]
    assert all(len(e["rounds"]) == 1 for e in learner.report["experts"] if e["name"] != "correction")
    assert len(learner.predict(table[1])) == len(table[1])


def test_features_that_take_too_long_are_left_out_and_go_on_from_the_store(table, tmp_path, monkeypatch):
    """Never as if their cells were missing."""
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path))
    clock = time.monotonic
    skew = [0.0]

    def progress(stage: str, done: int, total: int) -> None:
        skew[0] = 5000.0 * (stage.startswith("features") and done >= 40)

    monkeypatch.setattr("xmodal.learner.time.monotonic", lambda: clock() + skew[0])
    roles = {"target": "label", "time_limit": "1h", "training": {"epochs": 2, "minimum": 1, "folds": 2}}
    learner = Learner(**roles, use=["picture", "size"]).fit(table[0], progress)
    assert any(s.startswith("input picture (40 of 90 new cells done") for s in learner.report["skipped"])
    assert [i.name for i in learner.model.answer.inputs.values()] == ["table"]
    skew[0] = 0.0
    with pytest.raises(ConfigError, match=r"of 50 new cells done of input 'picture'.*goes on from there, or allow about \d+ seconds more"):
        Learner(**roles, use=["picture"]).fit(table[0], lambda *a: progress(a[0], 40, 50))


@pytest.mark.parametrize("text", ["soon", "", "10x", "0s", "-5s", "1m1h"])
def test_a_time_limit_that_is_none(text):
    with pytest.raises(ConfigError, match="a time limit like 90s, 10m or 1h30m"):
        Learner(target="label", time_limit=text)


def test_a_cache_that_cannot_be_written_is_said_and_done_without(table, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path / "file" / "cache"))
    roles = {"target": "label", "use": ["picture", "size"], "training": {"epochs": 2, "minimum": 1, "folds": 2}}
    learner = Learner(**roles).fit(table[0])
    assert any("cannot be written" in w and "for this run alone" in w for w in learner.report["warnings"])
    assert len(learner.predict(table[1])) == len(table[1])


def test_an_out_folder_that_cannot_be_written_is_refused_before_anything_is_learnt(table, tmp_path):
    (tmp_path / "file").touch()
    process = start(table[0].parent, tmp_path / "cache", "fit", "table.csv", *ROLES, "--out", str(tmp_path / "file" / "model"))
    _, err = process.communicate()
    assert process.returncode == 1 and "Not a directory" in err and "train" not in err and "expected: " in err


def test_a_full_disk_is_the_users_to_mend_and_resume_goes_on(table, tmp_path, monkeypatch, capsys):
    from xmodal import cli

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    learner = Learner(target="label", use=["size", "shop"], training={"epochs": 2, "minimum": 1, "folds": 2})
    learner.fit(table[0], folder=tmp_path / "state")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space") as error:
            learner.save(tmp_path / "model")
    assert cli.told(error.value)[0] == 1 and "No space left" in cli.told(error.value)[1]
    assert [p.name for p in tmp_path.iterdir()] == ["state"], "nothing half written"
    learner.save(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@posix
def test_loaded_in_the_parent_a_forked_child_predicts(learner, table, tmp_path):
    learner.save(tmp_path / "model")
    code = """
import os, sys, time
import pandas as pd, torch
from xmodal import Learner
torch.set_num_threads(2)
learner, rows = Learner.load(sys.argv[1]), pd.read_csv(sys.argv[2], dtype={"key": str})
torch.ones(999, 999) @ torch.ones(999, 999)
before = learner.predict_proba(rows)
child = os.fork()
if not child:
    os._exit(0 if abs(learner.predict_proba(rows) - before).max() < 1e-6 else 1)
for _ in range(300):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(.1)
os.kill(child, 9)
sys.exit("hangs")
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    words = [sys.executable, "-c", code, str(tmp_path / "model"), str(table[0])]
    found = subprocess.run(words, cwd=table[0].parent, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_a_script_without_a_main_guard(table, tmp_path):
    """Pictures enough for workers; the script runs once."""
    code = "import sys\nfrom xmodal import Learner\nprint('once')\nmany = {'epochs': 1, 'minimum': 1, 'folds': 2}\n"
    code += "Learner(target='label', use=['picture', 'size'], training=many).fit(sys.argv[1])\n"
    (tmp_path / "script.py").write_text(code)
    environment = {**os.environ, "XMODAL_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, str(tmp_path / "script.py"), str(table[0])]
    found = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "once\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_consoles_of_other_encodings_and_logs(table, tmp_path, encoding):
    rows = table[1][["size", "shop", "label"]].rename(columns={"size": "größe 大小", "shop": "😀"})
    rows.to_csv(tmp_path / "table.csv", index=False)
    words = ("crossval", "table.csv", "--target", "label", *QUICK, "--folds", "2", "--json")
    process = start(tmp_path, tmp_path / "cache", *words, PYTHONIOENCODING=encoding)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["part"] == "out_of_fold"
    assert "\r" not in err and len(err.splitlines()) <= 200
    found = start(tmp_path, tmp_path / "cache", "inspect", "table.csv", "--target", "label", PYTHONIOENCODING=encoding)
    out, err = found.communicate()
    assert found.returncode == 0 and "Traceback" not in err


def test_rows_of_broken_pictures_are_predicted_and_flagged(learner, table, tmp_path):
    """101 rows, 7 of them broken, the last one too."""
    rows = pd.concat([table[1], table[1][:11]], ignore_index=True)
    rows["picture"] = [str(table[0].parent / p) for p in rows["picture"]]
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    at = [0, 3, 15, 16, 31, 64, 100]
    rows.loc[at, "picture"] = "broken.png"
    learner.job = Learner(learner.job, media_root=[str(table[0].parent), str(tmp_path)]).job
    found, _ = learner.predictions(rows)
    assert len(found.score) == 101 and np.isfinite(found.score).all()
    column = [i.name for i in learner.model.answer.inputs.values()].index("picture")
    assert np.flatnonzero(found.state_RM[:, column] == 2).tolist() == at


def test_nothing_of_ours_uses_shared_memory():
    import xmodal

    for path in Path(xmodal.__file__).parent.rglob("*.py"):
        assert not {"multiprocessing", "shm", "DataLoader"} & set(path.read_text("utf-8").replace(".", " ").split()), path


def test_a_crossval_after_a_fit_takes_nothing_from_its_journal(table, tmp_path):
    roles = {"target": "label", "use": ["size", "shop"], "training": {"epochs": 2, "minimum": 1, "folds": 2}}
    learner = Learner(**roles).fit(table[0], folder=tmp_path / "state")
    before = sorted(p.name for p in (tmp_path / "state").iterdir())
    assert learner.crossval(table[0], 2) == Learner(**roles).crossval(table[0], 2)
    assert sorted(p.name for p in (tmp_path / "state").iterdir()) == before
