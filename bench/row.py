"""One row on a loaded model: a 64-pixel picture and a sentence."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.common import Row, at_most
from xmodal import Learner, Predictor
from xmodal.demo import draw
from xmodal.experts.data import TableData
from xmodal.features import build_row
from xmodal.table import read_table

ROWS = 200


def median_ms(action: Callable[[int], object]) -> float:
    """CPU of one call, after 20 to warm up."""
    spent = []
    for i in range(ROWS + 20):
        start = time.process_time()
        action(i % ROWS)
        spent.append(time.process_time() - start)
    return float(np.median(spent[20:]) * 1000)


def run() -> list[Row]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = draw(folder, 2000, 0)
        Learner(target="label", split="split", use=["picture", "sentence"], media_root=[folder]).fit(table).save(folder / "model")
        learner = Learner.load(folder / "model")
        predictor = Predictor(learner, folder)
        cells = read_table(table).data.select(["picture", "sentence"]).slice(2000, ROWS).to_pylist()
        whole = median_ms(lambda i: predictor.row(cells[i]))
        answer = learner.model.answer
        ready = [
            TableData(build_row(row, learner.model.readings, answer.inputs, predictor.extractors, predictor.media), {}) for row in cells
        ]
        one = np.zeros(1, np.int64)
        apart = median_ms(lambda i: [member.expert.predict(ready[i], one) for member in answer.members])
        names = [member.name for member in answer.members]
    protocol = f"demo table, picture and sentence, model loaded, median CPU of {ROWS} rows, one thread"
    return [
        at_most("one row, CPU ms", whole, 10.0, protocol, {"experts": names}),
        at_most("one row over its experts on ready arrays, CPU ms", whole - apart, 1.5, protocol, {"experts_ms": round(apart, 3)}),
    ]
