"""A step of the training loop against a bare loop over the same model, optimiser and batches in memory."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.common import Row, at_most
from bench.tables import Opened, expert, opened
from xmodal.batch import Fetch
from xmodal.demo import draw
from xmodal.experts.networks import encoder_class
from xmodal.job import Training
from xmodal.training import RowSampler, Step, Supervised, paced, run_epoch, schedule

LAPS = 6


def measured(table: Opened, kind: str) -> tuple[float, float]:
    """CPU of ours over bare, the median of laps side by side, and the bare loop's ms a step."""
    training, task, rows = Training(), table.task.name, table.parts["train"]
    one = expert(table, {"kind": kind, "augment": 0.0})
    prepared = {key: table.data.prepared(key, encoder_class(name), {}, rows) for key, name in one.encoders.items()}
    one.parts, columns = ({key: pair[i] for key, pair in prepared.items()} for i in (0, 1))
    sampler, fetch = RowSampler(rows, {task: table.data.examples[task]}, training.batch), Fetch(columns)  # type: ignore[arg-type]
    model = one.build()
    step, parameters = Step(model, [Supervised()]), list(model.parameters())
    optimiser = torch.optim.AdamW(paced(step), training.rate, weight_decay=training.decay, fused=True)
    count = sampler.steps(0)
    batches = [fetch(sampler.plan(0, 0, i)) for i in range(count)]

    def bare() -> None:
        model.train()
        for batch in batches:
            examples = batch.examples[task]
            loss = nn.functional.cross_entropy(model(batch)[task]["score"], examples.y)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, training.clip)
            optimiser.step()
            optimiser.zero_grad()

    def ours(lap: int) -> None:
        rates = schedule(count * LAPS, training)
        run_epoch(step, (fetch(sampler.plan(0, lap, i)) for i in range(count)), optimiser, rates, training.clip)

    spent = []
    for lap in range(LAPS + 1):
        start = time.process_time()
        bare()
        middle = time.process_time()
        ours(lap)
        spent.append((time.process_time() - middle, middle - start))
    mine, theirs = np.median(spent[1:], 0)
    return float(mine / theirs), float(theirs / count * 1000)


def run() -> list[Row]:
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = draw(Path(folder), 2000, 0)
        for kind in ("raw", "descriptor"):
            table = opened(path, "label", ["picture", "sentence"], {"kind": kind})
            ratio, ms = measured(table, kind)
            protocol = f"demo table, batches of 64, median CPU of {LAPS} laps of 32 steps side by side, no augmentation"
            found.append(at_most(f"a step, {kind} fusion, against a bare loop", ratio, 1.10, protocol, {"bare_ms": round(ms, 2)}))
    return found
