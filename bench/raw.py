"""Raw experts alone, so that a dead half can't hide behind a good pool: a BiLSTM on titles, a CNN on digits."""

import numpy as np

from bench.common import SEEDS, Row, at_least, data, look, mean
from bench.tables import accuracy, expert, opened
from xmodal.job import Budget

CASES = (("fashion_products", "product_type", "title", 0.91), ("av_digits", "label", "image", 0.93))


def run() -> list[Row]:
    rows = []
    for name, target, column, wanted in CASES:
        settings = {"kind": "raw"}
        table = opened(data(name), target, [column], settings)
        figures = []
        for seed in SEEDS:
            one = expert(table, settings)
            one.fit(table.data, table.parts["train"], table.parts["val"], Budget(), seed)
            figures.append(accuracy(table, one, "test"))
            look(f"{name} {column} raw", seed, figures[-1])
        figure, count = mean(figures), len(table.parts["test"])
        protocol = f"given split, accuracy on {count} test rows, mean of {len(SEEDS)} seeds"
        error = float(np.sqrt(figure * (1 - figure) / count))
        rows.append(at_least(f"{name}: {column} -> {target}, raw expert alone", figure, wanted, protocol, error, figures))
    return rows
