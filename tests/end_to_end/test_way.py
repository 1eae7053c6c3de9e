"""Train, save, load, predict: the whole way, by table and by row."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from xmodal import Learner, cli
from xmodal.errors import ArtefactError, ConfigError, TargetError
from xmodal.learner import Predictor


def test_report_is_whole(learner):
    report = learner.report
    assert set(report) >= {"experts", "weights", "verdict", "subsets", "warnings", "counts", "parts"}
    assert report["verdict"]["outcome"] in ("pays", "does_not_pay", "undecided")
    names = {e["name"] for e in report["experts"]}
    assert len(report["subsets"]) == 7 and names >= {"picture.linear", "story.linear", "table.linear", "joint.forest"}
    assert sum(report["parts"].values()) == 90
    json.loads(json.dumps(report, allow_nan=False))


def test_saved_and_loaded_says_the_same(learner, table, tmp_path):
    path, rows = table
    learner.save(tmp_path / "model")
    again = Learner.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(path), learner.predict_proba(path))
    assert again.evaluate(path, part="test") == learner.evaluate(path, part="test")
    assert again.classes == ["no", "yes"] and (again.predict(path) == rows["label"]).mean() > 0.7
    assert not list(tmp_path.rglob("*.pkl"))


def test_a_row_alone_equals_the_row_in_the_table(learner, table):
    path, rows = table
    whole = learner.predict_proba(path)
    predictor = Predictor(learner, path.parent)
    for row in (0, 7):
        cells = rows.iloc[row].to_dict()
        assert predictor.row(cells)["label"].score[0] == pytest.approx(whole[row], abs=1e-6)


def test_nothing_present_is_the_prior(learner, table):
    nothing = pd.DataFrame({"picture": [None, ""], "story": [None, "  "], "size": [np.nan, np.nan], "shop": [None, ""]})
    score = learner.predict_proba(nothing)
    assert np.isfinite(score).all() and score[0] == pytest.approx(score[1])
    assert learner.predict_proba(table[1][["story"]][:3]).shape == (3, 2)  # columns that are gone are missing


def test_regression(table):
    path, _ = table
    learner = Learner(target="value", id="key", ignore="label", training={"epochs": 4, "minimum": 1, "folds": 3}).fit(path)
    found = learner.evaluate(path)["targets"]["value"]
    assert found["task"] == "regress" and found["metrics"]["r2"] > 0.3 and next(iter(found["metrics"])) == "r2"


def test_crossval(table):
    path, _ = table
    found = Learner(target="label", id="key", ignore="value", training={"epochs": 3, "minimum": 1, "folds": 2}).crossval(path, folds=3)
    assert found["part"] == "out_of_fold" and found["rows"] == 90 and found["targets"]["label"]["n"] == 90
    assert len(found["subsets"]) == 7 and "gain" in found["verdict"]


def test_a_second_fit_decodes_nothing(learner, table):
    again = Learner(learner.job).fit(table[0])
    assert again.report["counts"]["decoded"] == 0 and again.report["counts"]["extracted"] == 0
    np.testing.assert_array_equal(again.predict_proba(table[0]), learner.predict_proba(table[0]))


def test_damage_is_found(learner, tmp_path):
    learner.save(tmp_path / "m")
    weights = next((tmp_path / "m" / "experts").rglob("model.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtefactError, match=r"model\.safetensors"):
        Learner.load(tmp_path / "m")
    weights.unlink()
    with pytest.raises(ArtefactError, match=r"model\.safetensors"):
        Learner.load(tmp_path / "m")
    with pytest.raises(ArtefactError, match="fit --out"):
        Learner.load(tmp_path)


def test_a_newer_format_is_named(learner, tmp_path):
    learner.save(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"format": 99, "version": "9.9"}))
    with pytest.raises(ArtefactError, match=r"install xmodal 9\.9"):
        Learner.load(tmp_path / "m")


def test_folders_are_not_overwritten(learner, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        learner.save(tmp_path / "notes", force=True)
    learner.save(tmp_path / "m")
    with pytest.raises(ConfigError, match="--force"):
        learner.save(tmp_path / "m")
    learner.save(tmp_path / "m", force=True)
    assert (tmp_path / "notes" / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("roles", "error", "says"),
    [
        ({"target": "lable"}, ConfigError, "did you mean 'label'"),
        ({"target": "label", "metric": "acuracy"}, ConfigError, "did you mean 'accuracy'"),
        ({"target": "label", "fusion": "transfromer"}, ConfigError, "did you mean 'transformer'"),
        ({"target": "label", "encoder": {"picture": "cnnn"}}, ConfigError, "did you mean 'cnn'"),
        ({"target": "label", "grup": "key"}, ConfigError, "did you mean 'group'"),
        ({"target": "label", "group": "kee"}, ConfigError, "did you mean 'key'"),
        ({"target": "story", "kind": "regress"}, TargetError, "row 1"),
        ({}, TargetError, "--target"),
    ],
)
def test_unknown_names(table, roles, error, says):
    with pytest.raises(error, match=says):
        Learner(**roles).fit(table[0])


def test_without_test_rows_there_is_no_verdict(table):
    rows = table[1][["story", "size", "label"]].assign(part=["train"] * 70 + ["val"] * 20)
    learner = Learner(target="label", split="part", training={"epochs": 3, "minimum": 1, "folds": 2}).fit(rows)
    assert learner.report["verdict"]["outcome"] == "no_rows" and learner.report["subsets"] == []
    assert len(learner.predict(rows)) == 90


@pytest.mark.parametrize("rows", [5, 60])
def test_few_rows_and_a_large_batch(table, rows):
    some = table[1][["story", "size", "label"]][:rows]
    learner = Learner(target="label", training={"epochs": 2, "minimum": 1, "folds": 2, "batch": 512}).fit(some)
    assert np.isfinite(learner.predict_proba(some)).all()
    value = Learner(target="size", use=["story", "label"], training={"epochs": 2, "minimum": 1, "folds": 2, "batch": 512}).fit(some)
    assert np.isfinite(value.predict(some)).all()


def test_a_class_in_the_test_part_alone_counts_as_wrong_and_is_said(table):
    rows = table[1][["story", "size", "label"]].assign(part=["train"] * 60 + ["test"] * 30)
    rows.loc[80:, "label"] = "unheard of"
    learner = Learner(target="label", split="part", training={"epochs": 2, "minimum": 1, "folds": 2}).fit(rows)
    found = learner.evaluate(rows, part="test")
    assert found["targets"]["label"]["metrics"]["accuracy"] <= 20 / 30 and found["targets"]["label"]["metrics"]["log_loss"] is None
    assert any("'unheard of'" in w for w in found["warnings"]) and any("log_loss" in w for w in found["warnings"])


def test_empty_labels_are_not_learnt_from_nor_scored(table):
    rows = table[1][["story", "size", "label"]].copy()
    rows.loc[:9, "label"] = ""
    learner = Learner(target="label", training={"epochs": 2, "minimum": 1, "folds": 2}).fit(rows)
    assert any("10 rows have no label" in w for w in learner.report["warnings"])
    found = learner.evaluate(rows)
    assert found["targets"]["label"]["n"] == 80 and any("10 of 90 rows have no label" in w for w in found["warnings"])
    with pytest.raises(TargetError, match="give labelled rows"):
        learner.evaluate(rows[["story", "size"]])


@pytest.mark.parametrize(("values", "says"), [(["a"] * 90, "at least two classes"), ([""] * 90, "only empty cells")])
def test_a_target_that_says_nothing(table, values, says):
    with pytest.raises(TargetError, match=says):
        Learner(target="label").fit(table[1][["story", "size"]].assign(label=values))


def test_infinite_numbers_are_missing_and_an_infinite_target_is_an_error(table):
    rows = table[1][["story", "size", "label"]].copy()
    rows.loc[3, "size"] = np.inf
    rows.loc[4, "size"] = np.nan
    learner = Learner(target="label", training={"epochs": 2, "minimum": 1, "folds": 2}).fit(rows)
    assert np.isfinite(learner.predict_proba(rows)).all() and any("row 4" in w for w in learner.report["warnings"])
    with pytest.raises(TargetError, match="row 4"):
        Learner(target="size", kind="regress").fit(rows)


QUICK = {"epochs": 2, "minimum": 1, "folds": 2}


def test_rows_without_a_value_teach_a_regression_nothing(table):
    rows = table[1][["story", "size", "value"]].copy()
    rows.loc[::2, "value"] = np.nan
    report = Learner(target="value", training=QUICK).fit(rows).report
    assert sum(report["parts"].values()) == 45 and any("45 rows have no label" in w for w in report["warnings"])


def test_a_part_is_found_again_whatever_repeats(table):
    rows = table[1][["shop", "size", "label"]].assign(size=1.0, patient=np.arange(90) // 3)
    for roles in ({"ignore": "patient"}, {"id": "patient"}):  # equal rows; ids that are not unique
        learner = Learner(target="label", training=QUICK, **roles).fit(rows)
        assert learner.evaluate(rows, part="test")["rows"] == learner.report["parts"]["test"]


def test_a_table_of_test_rows_alone_can_be_scored(table):
    rows = table[1][["story", "size", "label"]].assign(part=["train"] * 60 + ["test"] * 30)
    learner = Learner(target="label", split="part", training=QUICK).fit(rows)
    assert learner.evaluate(rows[60:], part="test") == learner.evaluate(rows, part="test")


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        ({"encoder": {"story": "cnn"}}, "an encoder of text"),
        ({"fusion": "transfromer", "use": "size"}, "did you mean 'transformer'"),
        ({"device": "gpu"}, "device auto, cpu or cuda"),
        ({"seed": -1}, "a seed from 0"),
        ({"training": {"epoch": 3}}, "did you mean 'epochs'"),
    ],
)
def test_wrong_choices_are_told_before_anything_is_trained(table, roles, says):
    with pytest.raises(ConfigError, match=says):
        Learner(target="label", **roles).fit(table[0])


def test_a_column_that_is_almost_empty(table):
    rows = table[1][["size", "label"]].assign(rare=np.where(np.arange(90) == 4, 3.0, np.nan), day=["2024-01-02"] + [""] * 89)
    learner = Learner(target="label", training=QUICK).fit(rows)
    assert np.isfinite(learner.predict_proba(rows)).all()


def test_a_long_table_is_predicted_in_parts(learner, table, monkeypatch):
    path, rows = table
    broken = rows.assign(picture=[p if i != 70 else "gone.png" for i, p in enumerate(rows["picture"])])
    broken.to_csv(path.with_name("broken.csv"), index=False)
    whole, notes = learner.predictions(path.with_name("broken.csv"))
    monkeypatch.setattr("xmodal.learner.BLOCK", 32)
    parts, said = learner.predictions(path.with_name("broken.csv"))
    np.testing.assert_allclose(parts.score, whole.score, atol=1e-6)
    assert (parts.state_RM == whole.state_RM).all() and said == notes and "row 71" in said[0]


def test_a_frame_keeps_its_index_and_is_never_matched_on_it(learner, table):
    rows = table[1].sample(frac=1, random_state=0)
    said = learner.predict(rows)
    assert said.index.equals(rows.index) and said.name == "label"
    assert said.tolist() == learner.predict(rows.reset_index(drop=True)).tolist()


def test_vectors_of_rows(learner, table, tmp_path):
    path, rows = table
    learner.save(tmp_path / "model")
    x_RD = learner.embed(path)
    assert x_RD.shape == (90, 64) and np.isfinite(x_RD).all() and len(np.unique(x_RD.round(3), axis=0)) > 40
    command = ["embed", str(tmp_path / "model"), str(path), "--media-root", str(path.parent), "--out"]
    for name in ("z.npy", "z.parquet"):
        assert CliRunner().invoke(cli.app, [*command, str(tmp_path / name)]).exit_code == 0
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), x_RD, atol=1e-5)
    found = pd.read_parquet(tmp_path / "z.parquet")
    assert found["key"].tolist() == rows["key"].tolist() and np.allclose(np.stack(found["embedding"]), x_RD, atol=1e-5)
    assert CliRunner().invoke(cli.app, [*command, "z.csv"]).exit_code == 1


def test_what_a_row_lacks_is_said_by_embed_and_named_by_predict(learner, table, tmp_path):
    path, rows = table
    learner.save(tmp_path / "model")
    (path.parent / "bad.png").write_bytes(b"none")
    worse = rows.assign(size=rows["size"].astype(object), picture=["bad.png"] * 50 + [None] * 3 + rows["picture"].tolist()[53:])
    worse.loc[7, "size"] = "oops"
    worse.to_csv(path.with_name("worse.csv"), index=False)
    end = [str(tmp_path / "model"), str(path.with_name("worse.csv")), "--media-root", str(path.parent), "--out"]
    for command, name in (("predict", "p.csv"), ("embed", "z.npy")):
        said = CliRunner().invoke(cli.app, [command, *end, str(tmp_path / name)]).stderr
        assert "got 50 unreadable in column 'picture': row 1: file 'bad.png'" in said and "column 'size', row 8: 'oops'" in said
        assert ("column 'picture': 3 of 90 cells are missing" in said) == (command == "embed")
    flagged = pd.read_csv(tmp_path / "p.csv")["unreadable"].fillna("").tolist()
    assert flagged == [*["picture"] * 7, "picture;size", *["picture"] * 42, *[""] * 40]


def test_the_deep_fusion_alone_can_be_shipped(learner, table, tmp_path):
    path, rows = table
    roles = {"id": "key", "ignore": "value", "training": {"epochs": 4, "minimum": 1, "folds": 3}}
    alone = Learner(target="label", ship="fusion", **roles).fit(path)
    assert [m.name for m in alone.model.answer.members] == ["fusion.descriptor"] == [*alone.report["weights"]]
    assert len(alone.report["subsets"]) == 7 and alone.report["verdict"]["best_single"] == learner.report["verdict"]["best_single"]
    alone.save(tmp_path / "m")
    again = Learner.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_proba(path), alone.predict_proba(path))
    said = again.predict_proba(rows[["story"]])
    assert len(np.unique(said[:, 0].round(4))) > 2, "it answers from one input too"
    none = again.predict_proba(rows[["story"]].assign(story=None))
    assert np.ptp(none, axis=0).max() == 0 and np.isfinite(none).all()
    with pytest.raises(ConfigError, match="only classic experts"):
        Learner(target="label", ship="fusion", use="size", **roles | {"ignore": ()}).fit(path)
