"""The sentiment of a tweet with a photo: does the photo add to the words? Columns: id, image, text, label, split."""

import argparse
import os
from pathlib import Path

from xmodal import Learner
from xmodal.table import read_table

TABLE = Path(os.environ.get("XMODAL_DATA", "data"), "tweets_sentiment", "data.csv")


def main() -> None:
    """Out of fold, so that every row but the test rows is scored once."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("table", nargs="?", type=Path, default=TABLE)
    ask.add_argument("--rows", type=int, default=10**9)
    ask.add_argument("--folds", type=int, default=5)
    asked = ask.parse_args()
    rows = read_table(asked.table).part(0, asked.rows)
    found = Learner(target="label", id="id", split="split", use=["image", "text"]).crossval(rows, folds=asked.folds)
    for subset in found["subsets"]:
        print(" + ".join(subset["inputs"]), subset["metrics"], subset["ci95"])
    print("did mixing pay?", found["verdict"])


if __name__ == "__main__":
    main()
