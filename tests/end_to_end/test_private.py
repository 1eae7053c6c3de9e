"""What `--no-examples` promises: no cell of the table is in the model, in its report, or in what a fit says."""

import datetime
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from xmodal import Learner, cli
from xmodal.features.typed import hashed
from xmodal.identity import digests, id_words

ROWS = 65  # and 45 of them to train on, so that of 17 quantiles many would be cells
WORDS = [f"zq{w}" for w in ("note", "shop", "key", "group", "file", "twice")]
NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def drawn() -> pd.DataFrame:
    """Cells of every kind, most of which occur once; such words hold `zq`."""
    random = np.random.default_rng(3)
    label = np.arange(ROWS) % 2
    when = pd.Timestamp("1987-03-17T04:05:06") + pd.to_timedelta(np.sort(random.choice(10**8, ROWS, replace=False)), "s")
    rows = pd.DataFrame({
        "key": [f"zqkey{i:03d}" for i in range(ROWS)],
        "team": [f"zqgroup{i}" if i < 5 else f"team {i // 3}" for i in range(ROWS)],
        "size": label + random.normal(7000, 900, ROWS),
        "level": random.normal(50, 9, ROWS).round(6),
        "born": random.permutation(when).astype("datetime64[s]").astype(str),
        "seen": when.astype("datetime64[s]").astype(str),
        "shop": [f" zqshop{i} " if i < 9 else f"shop {i % 4}" for i in range(ROWS)],
        "note": [f"it is zqnote{i} zqtwice{i} zqtwice{i} at the {'lake' if w else 'sea'}" for i, w in enumerate(label)],
        "heavy": random.uniform(1, 2, ROWS).round(7),
        "value": label * 300 + random.normal(4000, 700, ROWS),
        "label": np.where(label, "yes", "no"),
        "steady": 5 + np.arange(ROWS) * 1e-14,
    })  # fmt: skip
    rows["thousand"] = [f"{i + 1},{i + 101}" for i in range(ROWS)]  # 1,101: one or a thousand
    rows["day"] = [f"{1 + i % 12:02d}/{1 + i % 11:02d}/{1900 + i}" for i in range(ROWS)]
    rows.loc[2, "level"] = 99999
    rows["point"] = [f"[{a:.5f}, {label[i] + b:.5f}, null]" for i, (a, b) in enumerate(random.normal(3000, 400, (ROWS, 2)))]
    rows["motion"] = [f"[[{a:.4f}, {b:.4f}], [{b + 1:.4f}, {a - 1:.4f}]]" for a, b in random.normal(600, 99, (ROWS, 2))]
    rows.loc[[6, 7], "point"], rows.loc[8, "motion"] = ["[3456.789, 1, 6543.21]", "[4567.891, 1e99, 2]"], "[[789.4561, 2.0], [567.8912]]"
    rows["few"] = [7654.321, 8765.4321] + [None] * (ROWS - 2)
    return rows


def numbers(rows: pd.DataFrame) -> set[float]:
    """Every number of the table, of a date its seconds."""
    found = {float(v) for name in ("size", "level", "heavy", "value", "few") for v in rows[name].dropna()}
    found |= {float(n) for name in ("point", "motion") for v in rows[name] for n in re.findall(r"[0-9]{3,}[.][0-9]+", v)}
    days = (pd.to_datetime(rows[name]) for name in ("born", "seen"))
    return found | {float(t.replace(tzinfo=datetime.UTC).timestamp()) for column in days for t in column}


def told(rows: pd.DataFrame, folder: Path, said: str) -> set[str]:
    """Cells in a model folder, in what stands beside it and in what was said."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    content = {str(p): p.read_bytes() for p in files} | {"said": said.encode()}
    cells, found = numbers(rows), set[str]()
    dates = [v.encode() for name in ("born", "seen", "day", "thousand") for v in rows[name]]
    for name, held in content.items():
        found |= {f"{name}: {w}" for w in WORDS if w.encode() in held.lower()}
        if not name.endswith(".safetensors"):
            found |= {f"{name}: {d!r}" for d in dates if d.replace(b" ", b"T") in held.replace(b" ", b"T")}
            found |= {f"{name}: {x}" for x in map(float, NUMBER.findall(held)) if x in cells}
    hashes = {int(h) for h in hashed([v.strip() for v in rows["shop"][:9]])} | {
        *digests([id_words(pa.chunked_array([rows["key"].tolist()]))[:, None]]).tolist()
    }
    exact, rounded = np.array(sorted(cells)), np.array(sorted(cells), np.float32)
    for path in (p for p in files if p.suffix == ".safetensors"):
        for name, array in load_file(path).items():
            some = {np.dtype(np.float64): exact, np.dtype(np.float32): rounded}.get(array.dtype, np.zeros(0))
            found |= {f"{path} {name}: {x}" for x in array[np.isin(array, some)].tolist()}
            found |= {f"{path} {name}: a hash" for x in np.ravel(array).tolist() if array.dtype == np.uint64 and x in hashes}
    return found


@pytest.mark.parametrize("target", ["label", "value"])
def test_no_cell_that_occurs_once_is_in_what_a_fit_leaves(tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    rows, run = drawn(), CliRunner()
    rows.to_csv("rows.csv", index=False)
    words = ["fit", "rows.csv", "--target", target, "--id", "key", "--group", "team", "--weight", "heavy", "--time", "seen"]
    words += [
        "--ignore",
        "value" if target == "label" else "label",
        "--encoder",
        "note=bilstm",
        "--encoder",
        "motion=recurrent",
        "--set",
        "training.epochs=2",
    ]
    words += ["--modality", "note=text", "--set", "training.minimum=1", "--set", "training.folds=2"]
    spoken = dict[bool, set[str]]()
    for kept in (True, False) if target == "label" else (False,):
        folder = tmp_path / str(kept)
        folder.mkdir()
        fit = run.invoke(cli.app, [*words, "--out", f"{folder}/model", "--examples" if kept else "--no-examples"])
        assert fit.exit_code == 0, fit.output
        assert run.invoke(cli.app, ["report", f"{folder}/model", "--out", f"{folder}/page.html"]).exit_code == 0
        spoken[kept] = told(rows, folder, fit.output)
        part = run.invoke(cli.app, ["evaluate", f"{folder}/model", "rows.csv", "--part", "test", "--json"])
        assert part.exit_code == 0 and '"part": "test"' in part.stdout
    assert len(spoken.get(True, range(99))) > 50, "nor could this test fail"
    assert not spoken[False], "\n".join(sorted(spoken[False]))
    answer = Learner.load(tmp_path / "False" / "model").model.answer
    forests = [m.expert.fitted().part("model").arrays["value"] for m in answer.members if m.expert.name == "forest"]
    assert forests
    if target == "value":  # nor a standardised one, in a leaf
        assert not np.isin(forests[0], answer.task.encode(pa.array(rows["value"]))[0].numpy()).any()


def test_parts_are_known_of_just_that_table(tmp_path):
    """Whoever holds the model can't check a guessed id against it."""
    rows = drawn()[["key", "size", "label"]]
    learner = Learner(target="label", id="key", examples=False, training={"epochs": 1, "minimum": 1, "folds": 2}).fit(rows)
    assert learner.evaluate(rows, part="test")["rows"] == learner.report["parts"]["test"]
    other = rows.assign(key=["another", *rows["key"][1:]])
    with pytest.raises(Exception, match="none among the 65 of the frame"):
        learner.evaluate(other, part="test")
