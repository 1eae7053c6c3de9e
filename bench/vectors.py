"""uci_multiple_features: six joined tables -> digit, whole, and with each view of a row missing with chance .7."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.common import SEEDS, Row, at_least, data, error_of, look, mean
from xmodal import Learner
from xmodal.job import State
from xmodal.table import read_table

VIEWS = ("fou", "fac", "kar", "pix", "zer", "mor")
ROLES = {"target": "label", "kind": "classify", "id": "id", "split": "split", "metric": "accuracy"}
GONE, DRAWS = 0.7, 5


def run() -> list[Row]:
    table, found = data("uci_multiple_features"), []
    files = [table.with_name(f"{view}.csv") for view in VIEWS]
    for seed in SEEDS:
        found.append(Learner(**ROLES, join=files, seed=seed).fit(table).report["answer"]["test"])
        look("uci_multiple_features", seed, found[-1]["metrics"]["accuracy"])
    whole, error = [one["metrics"]["accuracy"] for one in found], error_of(found[0]["ci95"]["accuracy"])
    thin, scored = zip(*[thinned(table, files, draw) for draw in range(DRAWS)], strict=True)
    fewest = min(scored)  # the draws share their test rows: the error is one draw's
    protocol = f"each view of a row missing with chance {GONE}, rows with a view, mean of {DRAWS} draws"
    return [
        at_least("uci_multiple_features, accuracy", mean(whole), 0.98, "given split, six joined views, mean of 3 seeds", error, whole),
        at_least("uci_multiple_features, most views missing, accuracy", mean(thin), 0.92, protocol, (0.92 * 0.08 / fewest) ** 0.5, thin),
    ]


def thinned(table: Path, files: list[Path], draw: int) -> tuple[float, int]:
    """Accuracy on the test rows that have a view, and how many they are."""
    random = np.random.default_rng(draw)
    views = {file.stem: read_table(file).data for file in files}
    views = {name: view.filter(pa.array(random.random(len(view)) >= GONE)) for name, view in views.items()}
    learner, rows = Learner(**ROLES, join=views, seed=draw).fit(table), read_table(table).data
    said, (prediction, _) = learner.predict(table), learner.predictions(table)
    scored_R = (np.array(rows["split"].to_pylist()) == "test") & (prediction.state_RM == State.PRESENT).any(1)
    figure = float((said == np.array(rows["label"].to_pylist()))[scored_R].mean())
    look("uci_multiple_features, most views missing", draw, figure)
    return figure, int(scored_R.sum())
