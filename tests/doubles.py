"""A small table in memory: an image, a text and a plain input, each missing in some rows, and tasks over them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from xmodal.batch import Examples, View
from xmodal.experts.data import TableData
from xmodal.features.column import FeatureColumn
from xmodal.job import Input, Key, State
from xmodal.tasks import TASKS, Task

INPUTS: dict[Key, Input] = {
    "main.note": Input("main.note", "text", ("note",)),
    "main.pic": Input("main.pic", "image", ("pic",)),
    "main.table": Input("main.table", "table", ("a", "b", "c", "d"), ("number", "number", "category", "date")),
}
WORDS = ["red", "green", "blue", "lost", "found", "early", "late", "warm", "cold", "dry"]


def ragged(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    content = [t.encode() for t in texts]
    return np.frombuffer(b"".join(content), np.uint8), np.concatenate([[0], np.cumsum([len(c) for c in content])]).astype(np.int64)


def pointed(dense: dict[str, np.ndarray], rag: dict[str, tuple[np.ndarray, np.ndarray]], row_B: np.ndarray) -> FeatureColumn:
    state_B = np.where(row_B >= 0, State.PRESENT, State.MISSING).astype(np.int8)
    return FeatureColumn(dense, rag, row_B[:, None], state_B)


def text(texts: list[str]) -> FeatureColumn:
    return pointed({}, {"text": ragged(texts)}, np.arange(len(texts)))


def columns(rows: int, signal: np.ndarray, seed: int = 0) -> dict[Key, FeatureColumn]:
    """Each input tells something of `signal`. Cell 0 of the pictures is shared by two rows."""
    random = np.random.default_rng(seed)

    def place(cells: int, missing: float) -> np.ndarray:
        return np.where(random.random(rows) < missing, -1, np.arange(rows) % cells)

    texts = [" ".join([WORDS[int(abs(s) * 2) % 5], *random.choice(WORDS, 4)]) for s in signal]
    hog, colour = random.normal(size=(rows - 1, 12)), random.normal(size=(rows - 1, 6))
    hog[:, 0] += signal[:-1] * 2
    number = np.stack([signal + random.normal(size=rows), random.lognormal(size=rows)], 1)
    number[random.random(number.shape) < 0.2] = np.nan
    date = 1.6e9 + 3e7 * random.random((rows, 1))
    plain = {"number": number, "category": random.integers(0, 5, (rows, 1)).astype(np.uint64), "date": date}
    return {
        "main.note": pointed({}, {"text": ragged(texts)}, place(rows, 0.2)),
        "main.pic": pointed({"hog": hog.astype(np.float32), "colour": colour.astype(np.float32)}, {}, place(rows - 1, 0.2)),
        "main.table": pointed(plain, {}, place(rows, 0.1)),
        "main.other": pointed({"number": number}, {}, np.arange(rows)),
    }


def table(kind: str, rows: int = 80, classes: int = 3, seed: int = 0) -> tuple[Task, TableData]:
    """A fitted task and its data. The last row is unlabelled."""
    random = np.random.default_rng(seed + 1)
    signal = random.normal(size=rows)
    cut = np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))
    values = [f"c{c}" for c in cut] if kind == "classify" else list(3 + 2 * signal)
    labels = pa.array([*values[:-1], None])
    if kind == "multilabel":  # blank in a third of the rows; the second is there in all
        blank = random.random(rows) < 0.3
        blank[-1] = True
        flags = [signal > 0, np.ones(rows, bool), signal > 1]
        found = [
            pa.array([None if b else bool(v) for v, b in zip(flag, np.roll(blank, i) | blank, strict=True)]) for i, flag in enumerate(flags)
        ]
        labels = pa.StructArray.from_arrays(found, names=["up", "always", "high"], mask=pa.array(blank))
    task = TASKS[kind]("y", (View("main", frozenset(INPUTS)),)).fit(labels)
    y_R, weight_R = task.encode(labels)
    offset_R = None if kind == "regress" else y_R.new_zeros((rows, task.width)).float()
    return task, TableData(columns(rows, signal, seed), {"y": Examples((None,), y_R, weight_R, offset_R)}, seed)
