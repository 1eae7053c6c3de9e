"""A finding from an X-ray, notes and plain columns with many gaps. No diagnosis: an example of missing inputs.

Columns: image, patient_id, clinical_notes_masked, sex, age, view, days_since_onset, temperature, pO2_saturation, covid, split.
"""

import argparse
import os
from pathlib import Path

from xmodal import Learner
from xmodal.table import read_table

TABLE = Path(os.environ.get("XMODAL_DATA", "data"), "covid_cxr", "data.csv")
INPUTS = ["image", "clinical_notes_masked", "sex", "age", "view", "days_since_onset", "temperature", "pO2_saturation"]


def main() -> None:
    """Out of fold. All pictures of a patient stand in one fold, or the figures would be too good."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("table", nargs="?", type=Path, default=TABLE)
    ask.add_argument("--rows", type=int, default=10**9)
    ask.add_argument("--folds", type=int, default=5)
    asked = ask.parse_args()
    rows = read_table(asked.table).part(0, asked.rows)
    learner = Learner(target="covid", group="patient_id", split="split", use=INPUTS, metric="roc_auc")
    found = learner.crossval(rows, folds=asked.folds)
    for subset in found["subsets"]:
        print(" + ".join(subset["inputs"]), subset["metrics"], "gain over its best input:", subset.get("gain"), subset.get("gain_ci95"))
    print("weights of the experts:", found["weights"])
    print("did mixing pay?", found["verdict"])


if __name__ == "__main__":
    main()
