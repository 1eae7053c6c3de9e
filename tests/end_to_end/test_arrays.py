"""Vectors, sequences and joined tables, from the command line: read, learnt from, saved, predicted, and what is wrong with them said."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from xmodal import Learner, cli
from xmodal.errors import ConfigError, TableError

ROWS = 90
QUICK = [word for name in ("folds=2", "epochs=2", "minimum=1") for word in ("--set", f"training.{name}")]
ROLES = ("t.csv", "--target", "label", "--id", "key")


def write(path, lines):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    hot = np.arange(ROWS) % 2
    series = [(random.normal(size=(3 + i % 5, 2)) * (1 + 3 * hot[i])).round(3) for i in range(ROWS)]
    vector = (random.normal(size=(ROWS, 3)) + 1.5 * hot[:, None]).round(3)
    cells = [json.dumps(v.tolist()) if i % 11 else "" for i, v in enumerate(vector)]
    lists = [json.dumps(s.tolist()) if i % 13 else "" for i, s in enumerate(series)]
    lines = [[f"{i:03d}", cells[i], lists[i], "ab"[hot[i]]] for i in range(ROWS)]
    write(tmp_path / "t.csv", [["key", "emb", "steps", "label"], *lines])
    write(
        tmp_path / "a.b.csv", [["key", "f0", "f1", "word"], *([f"{i:03d}", hot[i] + i / 99, i % 7, "x"] for i in range(ROWS - 5, -1, -1))]
    )
    np.save(tmp_path / "pos.npy", vector.astype(np.float32) + 1)

    def go(*words, stdin=None):
        found = CliRunner().invoke(cli.app, list(words), input=stdin)
        return found.exit_code, found.stdout, found.stderr

    return go


JOINS = ("--join", "a.b.csv", "--join", "pos.npy")


def test_the_whole_way(run, tmp_path):
    code, out, err = run("fit", *ROLES, *JOINS, *QUICK, "--out", "m")
    assert code == 0, err
    assert "joined 'a.b': 4 of 90 rows have no row in a.b.csv" in err and "'word'" in err
    kinds = {r["column"]: r["modality"] for r in json.loads((tmp_path / "m/config.json").read_text())["readings"]}
    assert kinds == {"emb": "vector", "steps": "sequence", "a.b": "vector", "pos": "vector"}
    code, out, err = run("predict", "m", "t.csv", *JOINS, "--proba", "--out", "p.csv")
    assert code == 0, err
    with (tmp_path / "p.csv").open() as file:
        said = list(csv.DictReader(file))
    assert [line["key"] for line in said] == [f"{i:03d}" for i in range(ROWS)]  # byte for byte
    assert np.mean([line["label"] == "ab"[i % 2] for i, line in enumerate(said)]) > 0.9
    row = {**next(csv.DictReader((tmp_path / "t.csv").open())), "a.b": [0.0, 0], "pos": np.load("pos.npy")[0].tolist()}
    del row["key"], row["label"]
    code, out, err = run("predict", "m", "--proba", stdin=json.dumps(row))
    assert code == 0 and float(said[0]["probability_a"]) == pytest.approx(json.loads(out)["probability_a"], abs=1e-6)
    apart = {**row, "f0": 0.0, "f1": 0}
    del apart["a.b"]
    assert json.loads(run("predict", "m", "--proba", stdin=json.dumps(apart))[1]) == json.loads(out)
    code, _, err = run("predict", "m", "t.csv")
    assert code == 0 and "column 'a.b' is not in t.csv: all its cells count as missing" in err
    code, out, _ = run("predict", "m", stdin='{"emb": [1, 2], "steps": [[1, 2, 3]]}')
    assert code == 0 and json.loads(out)["unreadable"] == "emb;steps"
    code, out, _ = run("evaluate", "m", "t.csv", *JOINS, "--part", "test", "--json")
    assert code == 0 and json.loads(out)["targets"]["label"]["n"] > 5


def test_a_joined_table_is_used_where_it_is_named_and_else_said_to_be_left_out(run):
    code, out, err = run("config", *ROLES, *JOINS, "--use", "emb", "--use", "pos")
    assert code == 0, err
    assert '# "pos": vector' in out and '# "a.b"' not in out
    shown = json.loads(run("inspect", *ROLES, *JOINS, "--use", "emb", "--use", "pos", "--json")[1])
    assert [c["name"] for c in shown["columns"]] == ["emb", "pos"]
    assert any(f["says"] == "joined 'a.b' is left out: --use doesn't name it" for f in shown["findings"])


@pytest.mark.parametrize(
    ("column", "cell", "says"), [(1, "[1, 2]", "2 in row 5 and 3 in row 2"), (2, "[[1, 2, 3], [4, 5, 6]]", "2 in row 2 and 3 in row 5")]
)
def test_differing_widths_name_a_row_of_each(run, tmp_path, column, cell, says):
    lines = list(csv.reader((tmp_path / "t.csv").open()))
    lines[5][column] = cell
    write(tmp_path / "t.csv", lines)
    code, _, err = run("fit", *ROLES, *QUICK)
    assert code == 1 and says in err and "do:" in err


def test_wrong_joins(run, tmp_path):
    lines = list(csv.reader((tmp_path / "a.b.csv").open()))
    write(tmp_path / "twice.csv", [*lines, lines[3]])
    np.save(tmp_path / "short.npy", np.zeros((5, 2)))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    write(tmp_path / "words.csv", [["key", "word"], ["001", "x"]])
    for file, says in (
        ("twice.csv", "not each id once|rows 3 and"), ("short.npy", "90"), ("objects.npy", "objects.npy"), ("words.csv", "words.csv"),
        ("none.csv", "no such file"),
    ):  # fmt: skip
        code, _, err = run("fit", *ROLES, "--join", file, *QUICK)
        assert code == 1 and any(part in err for part in says.split("|")), (file, err)
    code, _, err = run("fit", "t.csv", "--target", "label", "--join", "a.b.csv", *QUICK)
    assert code == 1 and "--id" in err


def test_groups_of_columns_and_frames(run):
    import pandas as pd

    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(80, 6)), columns=[f"fou_{i}" for i in range(6)])
    frame["label"] = np.where(frame["fou_2"] + frame["fou_3"] > 0, "up", "down")
    roles = {
        "target": "label",
        "input": {"fou": "fou_*"},
        "modality": {"fou": "vector"},
        "training": {"folds": 2, "epochs": 2, "minimum": 1},
    }
    learner = Learner(**roles).fit(frame)
    assert [(i.name, i.modality) for i in learner.model.answer.inputs.values()] == [("fou", "vector")]
    assert (learner.predict(frame) == frame["label"]).mean() > 0.85
    whole = frame.assign(fou=list(frame[[f"fou_{i}" for i in range(6)]].to_numpy())).drop(columns=[f"fou_{i}" for i in range(6)])
    np.testing.assert_allclose(learner.predict_proba(whole), learner.predict_proba(frame), atol=1e-9)
    with pytest.raises((ConfigError, TableError), match="numbers"):
        Learner(target="label", modality={"word": "vector"}).fit(frame.assign(word=[f"word {i % 9}" for i in range(80)]))


def test_gaps_and_infinities_inside(run):
    import pandas as pd

    random = np.random.default_rng(2)
    x = random.normal(size=(60, 3))
    label = np.where(x[:, 0] > 0, "up", "down")
    x[::9, 1] = np.nan
    cells = [v.tolist() for v in x]
    cells[4], cells[5] = [np.inf, 0.0, 1.0], []
    learner = Learner(target="label", training={"folds": 2, "epochs": 2, "minimum": 1}).fit(pd.DataFrame({"v": cells, "label": label}))
    said = " ".join(learner.report["warnings"])
    assert "numbers are missing within its cells" in said and "row 5" in said
    (column,) = learner.report["inputs"].values()
    assert column["columns"]["v"] == [1, 1]  # the empty list is missing, infinity unreadable
