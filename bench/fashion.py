"""fashion_products: photo and title -> type of product; colour."""

from bench.common import SEEDS, Row, at_least, data, error_of, look, mean
from xmodal import Learner


def run() -> list[Row]:
    rows = []
    for target, wanted in (("product_type", 0.93), ("colour", 0.945)):
        found = []
        for seed in SEEDS:
            roles = {"use": ["image", "title"], "split": "split", "metric": "accuracy", "seed": seed}
            found.append(Learner(target=target, **roles).fit(data("fashion_products")).report["answer"]["test"])
            look(f"fashion_products {target}", seed, found[-1]["metrics"]["accuracy"])
        figures = [one["metrics"]["accuracy"] for one in found]
        error = error_of(found[0]["ci95"]["accuracy"])
        rows.append(at_least(f"fashion_products {target}, accuracy", mean(figures), wanted, "given split, mean of 3 seeds", error, figures))
    return rows
