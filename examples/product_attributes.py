"""Type and colour of a product from its title and photo. Columns: id, image, title, product_type, colour, split."""

import argparse
import os
from pathlib import Path

import pyarrow.compute as pc

from xmodal import Learner
from xmodal.table import Table, read_table

TABLE = Path(os.environ.get("XMODAL_DATA", "data"), "fashion_products", "data.csv")


def main() -> None:
    """Test rows are taken out before anything else; validation rows score. One model a target."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("table", nargs="?", type=Path, default=TABLE)
    ask.add_argument("--rows", type=int, default=10**9)
    asked = ask.parse_args()
    given = read_table(asked.table).part(0, asked.rows)
    rows = Table(given.data.filter(pc.not_equal(given.data["split"], "test")), given.source)
    for target in ("product_type", "colour"):
        learner = Learner(target=target, id="id", split="split", use=["image", "title"]).fit(rows)
        scores = learner.evaluate(rows, part="val")["targets"][target]
        print(target, scores["n"], "validation rows:", scores["metrics"])
        for expert in learner.report["experts"]:
            print("  ", expert["name"], expert["family"], expert.get("validation", {}).get("metrics"))
        for title, guess in zip(rows.data["title"].to_pylist()[:3], learner.predict(rows)[:3], strict=True):
            print("  ", title, "->", guess)


if __name__ == "__main__":
    main()
