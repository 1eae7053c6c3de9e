"""SIGKILL at seeded random moments of a fit, from extraction to save. After each kill the store must be whole and the model whole or
not there; the next run goes on, and whatever model ends a chain must equal the undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.common import Row, at_least, at_most
from xmodal import Learner, artefact
from xmodal.demo import draw
from xmodal.features import Store
from xmodal.table import read_table

ROLES = ("--target", "label", "--id", "id", "--split", "split", "--ignore", "mood")
QUICK = ("--set", "training.folds=2", "--set", "training.epochs=6")


def start(table: Path, model: Path) -> subprocess.Popen[bytes]:
    """A fit that goes on, in a process of its own, with a store beside the model."""
    words = (sys.executable, "-m", "xmodal", "fit", str(table), *ROLES, *QUICK, "--out", str(model), "--resume")
    environment = {**os.environ, "XMODAL_CACHE": str(model.parent / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def weights(model: Path) -> dict[str, bytes]:
    """Every array of a model folder."""
    return {str(p.relative_to(model)): p.read_bytes() for p in model.rglob("*.safetensors")}


def killed(count: int, fresh: bool) -> dict[str, int]:
    """Kill so often. `fresh`: each kill is followed by one undisturbed run; else kills follow each other until a model is there."""
    found = {"kills": 0, "models": 0, "same": 0, "broken_packs": 0, "wrong_rows": 0}
    draws = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        table = draw(Path(folder), 60, 0)
        rows = read_table(table).data.num_rows
        began = time.monotonic()
        start(table, Path(folder) / "whole" / "model").wait()
        lasts, wanted = time.monotonic() - began, weights(Path(folder) / "whole" / "model")
        model = Path(folder) / "killed" / "model"
        while found["kills"] < count:
            process = start(table, model)
            try:
                process.wait(draws.uniform(0.05, 1.05) * lasts)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                found["kills"] += 1
                found["broken_packs"] += len(Store(model.parent / "cache" / "features").verify())
                if fresh and not model.exists():
                    start(table, model).wait()
            if model.exists():
                artefact.load(model)
                found["models"] += 1
                found["same"] += weights(model) == wanted
                found["wrong_rows"] += abs(len(Learner.load(model).predict(table)) - rows)
                shutil.rmtree(model.parent)
    return found


def run() -> list[Row]:
    chains, single = killed(100, False), killed(20, True)
    harm = chains["broken_packs"] + chains["wrong_rows"] + single["broken_packs"] + single["wrong_rows"]
    return [
        at_most("100 SIGKILLs, damaged packs and wrong rows", harm, 0, "seeded random moments of a fit, each chain resumed", chains),
        at_least("their models with the undisturbed bits", chains["same"] / chains["models"], 1, "every model that ended a chain", chains),
        at_least("20 resumed fits with the undisturbed bits", single["same"] / single["models"], 1, "a kill, then one run", single),
    ]
