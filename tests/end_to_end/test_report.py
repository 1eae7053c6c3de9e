"""The page of a fit: whole, by itself, readable by all, and silent about cells where asked."""

import hashlib
import html
import json
import re
import tomllib
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from xmodal import Learner, cli
from xmodal.errors import ConfigError
from xmodal.report import OUTCOMES, SECTIONS, Shown, page

QUICK = {"epochs": 2, "minimum": 1, "folds": 2}
EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


class Seen(HTMLParser):
    """Elements in order, with what is open around each; the text; whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, name, attributes):
        self.found.append((name, dict(attributes)))
        if name not in ("img", "meta"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attributes for found, attributes in self.found if found == name]


def checked(learner):
    """The page, after what must hold of every page."""
    text = page(learner.model)
    assert len(text.encode()) < 1_000_000 and "http:" not in text and "https:" not in text and "url(" not in text
    seen = Seen(text)
    assert seen.all("html") == [{"lang": "en"}] and not seen.all("script") and not seen.all("link")
    assert all(a.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,") for _, a in seen.found)
    assert not [a for _, a in seen.found if any(name.startswith("on") for name in a)]
    levels = [int(name[1]) for name, _ in seen.found if name in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    assert all(a.get("scope") in ("row", "col") for a in seen.all("th")) and all("alt" in a for a in seen.all("img"))
    assert all(a["role"] == "img" for a in seen.all("svg")) and text.count("<svg") == text.count("<title>") - 1 == text.count("<desc>")
    ids = [a["id"] for _, a in seen.found if "id" in a]
    assert len(set(ids)) == len(ids) and {a["href"][1:] for a in seen.all("a")} == set(ids)
    assert [n for n in SECTIONS if f"{n}</h2>" not in text] == [] and len(seen.all("h2")) == len(SECTIONS)
    return seen


def test_the_page_of_a_fit_on_classes(learner, tmp_path):
    learner.save(tmp_path / "model")
    again = Learner.load(tmp_path / "model")
    assert page(again.model) == page(learner.model)
    seen = checked(again)
    assert 1 <= len(seen.all("img")) <= 8 and "of the album" in seen.text and "Most wrong" in seen.text
    details, test = learner.report["details"], learner.report["parts"]["test"]
    assert details["part"] == "test" and details["rows"] == test == np.sum(details["confusion"]["counts"])
    assert sum(n for *_, n in details["calibration"]) == test and "extremes" not in details
    curves = {e["name"]: e["curves"] for e in learner.report["experts"]}
    assert (
        [len(c) for c in curves["fusion.descriptor"]]
        and curves["joint.linear"] == []
        and "descriptor fusion, all inputs: as a table" in seen.text
    )
    again.write_report(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text("utf-8") == page(again.model)


def test_examples_are_the_rows_most_right_and_most_wrong(learner, table):
    path, rows = table
    p_RC, shown = learner.predict_proba(path), learner.model.examples
    assert {e["side"] for e in shown} <= {"right", "wrong"} and len({e["row"] for e in shown}) == len(shown)
    for one in shown:
        row = rows.iloc[one["row"] - 1]
        cells = {column: (kind, content) for column, kind, content in one["cells"]}
        assert one["truth"] == row["label"] and cells["story"] == ("text", row["story"]) and cells["picture"][0] == "image"
        assert one["error"] == pytest.approx(1 - p_RC[one["row"] - 1, learner.classes.index(row["label"])], abs=1e-6)
        assert (one["said"] == one["truth"]) == (one["side"] == "right")


def test_the_page_of_a_fit_on_values(table):
    learner = Learner(target="value", id="key", ignore="label", training=QUICK).fit(table[0])
    seen = checked(learner)
    assert "Residuals" in seen.text and "Confusion" not in seen.text and "mean true value" in seen.text
    assert sum(learner.report["details"]["residuals"]["counts"]) == learner.report["parts"]["test"]
    errors = {side: [e["error"] for e in learner.model.examples if e["side"] == side] for side in ("right", "wrong")}
    assert len(errors["right"]) == len(errors["wrong"]) == 4 and max(errors["right"]) < min(errors["wrong"])


KINDS = ["one input", "no test rows", "many classes", "few rows", "the fusion alone", "a class in the test part alone"]


@pytest.mark.parametrize("kind", KINDS)
def test_pages_of_unusual_fits(table, kind):
    rows = table[1][["story", "size", "label"]]
    roles = {"target": "label", "training": QUICK}
    if kind == "one input":
        rows = rows[["size", "label"]]
    elif kind == "no test rows":
        rows, roles = rows.assign(part=["train"] * 70 + ["val"] * 20), roles | {"split": "part"}
    elif kind == "many classes":
        rows = pd.concat([rows.astype(object)] * 2).assign(label=[f"class {i % 25}" for i in range(180)])
    elif kind == "few rows":
        rows = rows[:5]
    elif kind == "the fusion alone":
        roles = roles | {"ship": "fusion"}
    else:
        rows, roles = rows.assign(part=["train"] * 60 + ["test"] * 30), roles | {"split": "part"}
        rows.loc[80:, "label"] = "unheard of"
    learner = Learner(**roles).fit(rows)
    seen, details = checked(learner), learner.report["details"]
    assert details["part"] == ("validation" if not learner.report["parts"]["test"] else "test")
    if kind == "many classes":
        assert len(details["confusion"]["classes"]) == 21 and "(other classes)" in seen.text
        assert np.sum(details["confusion"]["counts"]) == details["rows"]
    if kind == "a class in the test part alone":
        assert details["confusion"]["classes"][-1] is None and "true unheard of" in seen.text


def test_no_cell_and_no_name_is_markup(table):
    rows = table[1][["story", "size", "shop", "label"]].rename(columns={"story": EVIL, "size": f"size{EVIL}"})
    rows["label"] = np.where(rows["label"] == "yes", EVIL, "</td></table><script>")
    rows[EVIL] = rows[EVIL] + " " + EVIL
    learner = Learner(target="label", training=QUICK).fit(rows)
    assert checked(learner).text.count("<script>alert(1)</script>") > 5
    assert "<script" not in learner._repr_html_() + learner.evaluate(rows)._repr_html_() + learner.report["verdict"]._repr_html_()


def test_without_examples_no_cell_stands_in_the_folder(table, tmp_path):
    rows = pd.concat([table[1][["story", "size", "label", "shop", "picture"]].astype(object)] * 2, ignore_index=True)
    rows["note"] = "zqvx marker"  # the same in every row: left out, and told
    rows.loc[3, "size"] = "zqvx marker"
    rows.loc[5, "picture"] = "zqvx marker.png"
    rows.loc[7, "story"] = "zqvx marker of a story, told once"
    rows.loc[9, "shop"] = "zqvx marker"
    roles = {"target": "label", "training": QUICK, "media_root": table[0].parent, "modality": {"size": "number"}}
    folders = [Learner(**roles, examples=kept).fit(rows) for kept in (True, False)]
    for kept, learner in zip((True, False), folders, strict=True):
        learner.save(tmp_path / str(kept))
        learner.write_report(tmp_path / f"{kept}.html")
        files = [*(tmp_path / str(kept)).rglob("*"), tmp_path / f"{kept}.html"]
        found = [p.name for p in files if p.is_file() and b"zqvx" in p.read_bytes()]
        assert bool(found) == kept, found
        assert (tmp_path / str(kept) / "examples.json").is_file() == kept
    said = "\n".join(folders[1].report["warnings"])
    assert "column 'size', row 4" in said and "column 'note' is left out" in said and "'…'" in said


def test_gaps_and_costs_are_counted(table):
    rows = table[1][["picture", "size", "shop", "label"]].astype(object)
    rows.loc[:4, "size"], rows.loc[6, "size"], rows.loc[:2, "shop"] = None, "many", ""
    rows.loc[:1, "picture"], rows.loc[3, "picture"] = None, "gone.png"
    learner = Learner(target="label", training=QUICK, media_root=table[0].parent, modality={"size": "number"}).fit(rows)
    found = learner.report["inputs"]
    assert found["main.table"]["columns"] == {"size": [5, 1], "shop": [3, 0]} and found["main.picture"]["columns"] == {"picture": [2, 1]}
    assert all(one["bytes"] > 0 and one["seconds"] >= 0 for one in found.values())
    assert "5 (5.6%)" in checked(learner).text


def test_where_the_page_may_stand(learner, tmp_path):
    learner.save(tmp_path / "model")
    with pytest.raises(ConfigError, match="outside of model folders"):
        learner.write_report(tmp_path / "model" / "experts" / "page.html")
    for name in ("page.txt", "gone/page.html"):
        with pytest.raises(ConfigError, match=r"FILE\.html"):
            learner.write_report(tmp_path / name)
    Learner.load(tmp_path / "model")


def test_notebooks_show_learner_evaluation_and_verdict(learner, table):
    assert "has learnt nothing yet" in Learner(target="label")._repr_html_()
    verdict = learner.report["verdict"]
    start = OUTCOMES[verdict["outcome"]].split("{")[0]
    assert start in learner._repr_html_() and start in verdict._repr_html_() and "<svg" in learner._repr_html_()
    found = learner.evaluate(table[0], part="test")
    assert "roc_auc" in found._repr_html_() and isinstance(found, Shown) and json.loads(json.dumps(found)) == found


def test_the_same_can_be_fitted_again_from_the_page(learner, table, tmp_path):
    toml = "".join(html.unescape(part) for part in re.findall(r"<pre><code>(.*?)</code></pre>", page(learner.model), re.DOTALL)[1:])
    assert '"label"' in toml and "/" not in toml
    again = Learner(**tomllib.loads(toml)).fit(table[0])
    np.testing.assert_array_equal(again.predict_proba(table[0]), learner.predict_proba(table[0]))
    assert again.report["made"]["sha256"] == hashlib.sha256(table[0].read_bytes()).hexdigest()


def test_the_command_line(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    words = ["fit", str(table[0]), "--target", "label", "--use", "size", "--use", "shop", "--set", "training.epochs=2"]
    words += ["--set", "training.folds=2", "--out"]
    kept, none = run.invoke(cli.app, [*words, "a"]), run.invoke(cli.app, [*words, "b", "--no-examples"])
    assert "texts of a few rows" in kept.stdout and "--no-examples" in kept.stdout and "texts of" not in none.stdout
    found = run.invoke(cli.app, ["report", "a", "--out", "page.html"])
    assert found.exit_code == 0 and (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    inside = run.invoke(cli.app, ["report", "a", "--out", "a/page.html"])
    assert inside.exit_code == 1 and "write it beside the model" in inside.stderr
