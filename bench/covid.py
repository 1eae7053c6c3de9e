"""covid_cxr: X-ray, masked notes and what was measured -> covid; folds that never divide a patient."""

from bench.common import SEEDS, Row, at_least, data, error_of, look, mean, subset, target_of
from xmodal import Learner

BLOOD = ["leukocyte_count", "neutrophil_count", "lymphocyte_count"]
MEASURED = ["age", "sex", "view", "days_since_onset", "temperature", "pO2_saturation", *BLOOD]


def run() -> list[Row]:
    found = []
    for seed in SEEDS:
        use = ["image", "clinical_notes_masked", *MEASURED]
        found.append(Learner(target="covid", group="patient_id", use=use, seed=seed).crossval(data("covid_cxr"), folds=5))
        look("covid_cxr covid crossval", seed, target_of(found[-1])["metrics"]["roc_auc"])
    figures = [target_of(one)["metrics"]["roc_auc"] for one in found]
    error = error_of(target_of(found[0])["ci95"]["roc_auc"])
    protocol = f"5-fold crossval --group patient_id, all 489 rows, fold seeds {SEEDS}, mean AUC"
    rows = [at_least("covid_cxr covid, AUC", mean(figures), 0.92, protocol, error, figures)]
    for names in [line["inputs"] for line in found[0]["subsets"] if len(line["inputs"]) > 1]:
        best = [max(subset(one, name)["metrics"]["roc_auc"] for name in names) for one in found]
        gains = [subset(one, *names)["metrics"]["roc_auc"] - b for one, b in zip(found, best, strict=True)]
        rows.append(at_least(f"covid_cxr, {' + '.join(names)} over its best single input", mean(gains), 0, protocol, detail=gains))
    return rows
