"""What intervals and sets promise at 90 %, on the test rows of 20 seeds of two drawn tables."""

import numpy as np
import pandas as pd

from bench.common import Row, at_least, at_most
from xmodal import Learner

ROWS, SEEDS = 600, 20


def drawn(seed: int) -> pd.DataFrame:
    """Two numbers and a word; `value` with noise that grows, `label` of three classes that overlap."""
    random = np.random.default_rng(seed)
    x, z, word = random.normal(size=ROWS), random.normal(size=ROWS), random.choice(["a", "b", "c"], ROWS)
    value = 2 * x + (word == "a") + random.normal(size=ROWS) * (0.5 + np.abs(z))
    label = np.array(["low", "middle", "high"])[np.digitize(value + random.normal(size=ROWS), [-1, 1])]
    return pd.DataFrame({"x": x, "z": z, "word": word, "value": value, "label": label})


def run() -> list[Row]:
    rows = []
    for target, other in (("value", "label"), ("label", "value")):
        found = [
            Learner(target=target, ignore=other, seed=s, training={"epochs": 3, "minimum": 1})
            .fit(drawn(s))
            .report["intervals"]["test_coverage"]
            for s in range(SEEDS)
        ]
        say = f"mean over {SEEDS} seeds, test rows of {ROWS}"
        rows += [
            at_least(f"coverage of {target}", float(np.mean(found)), 0.88, say),
            at_most(f"coverage of {target}, at most", float(np.mean(found)), 0.92, say, [round(f, 3) for f in found]),
        ]
    return rows
