"""uci_multiple_features: six joined tables -> digit, whole, and with each view of a row missing with chance .7."""

from __future__ import annotations

from pathlib import Path

from bench.common import SEEDS, Row, at_least, data, error_of, look, mean
from xmodal import Learner

VIEWS = ("fou", "fac", "kar", "pix", "zer", "mor")
GONE, DRAWS = 0.7, 5


def run(draws: int = DRAWS) -> list[Row]:
    table, roles = data("uci_multiple_features"), {"target": "label=classify", "id": "id", "split": "split", "metric": "accuracy"}
    return [whole(table, roles), thinned(table, roles, draws)]


def whole(table: Path, roles: dict[str, str]) -> Row:
    found = []
    for seed in SEEDS:
        learner = Learner(**roles, join=[table.with_name(f"{view}.csv") for view in VIEWS], seed=seed)
        found.append(learner.fit(table).report["answer"]["test"])
        look("uci_multiple_features", seed, found[-1]["metrics"]["accuracy"])
    figures = [one["metrics"]["accuracy"] for one in found]
    error = error_of(found[0]["ci95"]["accuracy"])
    return at_least(
        "uci_multiple_features, accuracy", mean(figures), 0.98, "given split, six joined views, mean of 3 seeds", error, figures
    )
