from __future__ import annotations

import csv
import json
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodal import Learner, evaluate
from xmodal.errors import ConfigError
from xmodal.features import Store, build
from xmodal.features.corrupt import SEVERITIES, Corruption, Worse, called, corrupted, known
from xmodal.features.extractors import CLASSIC, EXTRACTORS
from xmodal.features.typed import vectors
from xmodal.job import Input
from xmodal.media import Media
from xmodal.modality import MODALITIES
from xmodal.modality.text import UNIT
from xmodal.table import Reading, read_table

TEXT = "We met on a sunny day 我们在河边 " * 8
RANDOM = np.random.default_rng(0)
LOADED = {  # of each modality something that its cells hand out
    "image": (RANDOM.random((40, 50, 3)) * 255).astype(np.uint8),
    "text": TEXT,
    "number": RANDOM.normal(10, 2, 400),
    "vector": RANDOM.normal(10, 2, 400).astype(np.float32),
    "sequence": RANDOM.normal(10, 2, (300, 40)).astype(np.float32),
    "audio": (0.3 * np.sin(np.arange(4000) / 9)).astype(np.float32),
    "strokes": np.column_stack([*RANDOM.normal(size=(2, 200)).cumsum(1), *np.zeros((2, 200)), np.arange(200) // 50]),
    "video": (RANDOM.random((40, 6, 5, 3)) * 255).astype(np.uint8),
}
EVERY = [(kind, name) for kind, one in MODALITIES.items() for name in getattr(one, "corruptions", {})]
DRAWLESS = {"blur", "clipping"}  # which need no chance
SEEDS = [(3, seed) for seed in range(6)]


def apart(a: str | np.ndarray, b: str | np.ndarray) -> float:
    """How far what was made is from what was there."""
    if isinstance(a, str) and isinstance(b, str):
        return 1 - SequenceMatcher(None, UNIT.findall(a), UNIT.findall(b), autojunk=False).ratio()
    if len(a) != len(b):  # points of a drawing that are gone
        return float(abs(len(a) - len(b)))
    return float(np.abs(np.asarray(a, float) - np.nan_to_num(np.asarray(b, float))).mean())


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_more_severe_is_further_from_what_was_there(kind, name):
    x = LOADED[kind]
    far = [np.mean([apart(x, Corruption(kind, name, s, seed)(x, "cell")) for seed in range(20)]) for s in SEVERITIES]
    assert far[0] > 0 and far == sorted(far)
    once, twice = (Corruption(kind, name, 3)(x, "cell") for _ in range(2))
    assert (once == twice if isinstance(x, str) else np.array_equal(once, twice, equal_nan=True)) and type(once) is type(x)
    by_severity, by_seed = ([Corruption(kind, name, *one)(x, "cell") for one in ones] for ones in ([(s,) for s in SEVERITIES], SEEDS))
    different = [len({m if isinstance(m, str) else m.tobytes() for m in made}) for made in (by_severity, by_seed)]
    assert different[0] == 5 and (different[1] > 1) == (name not in DRAWLESS)
    if isinstance(x, np.ndarray):
        assert once.shape[1:] == x.shape[1:] and once.dtype == x.dtype and (len(once) == len(x) or (kind, name) == ("strokes", "loss"))


@given(st.text(max_size=60), st.sampled_from(["drop", "typos", "shuffle"]), st.sampled_from([*SEVERITIES]))
def test_any_text_can_be_made_worse(text, name, severity):
    made = Corruption("text", name, severity)(text, text)
    if name == "shuffle":
        assert sorted(UNIT.findall(text)) == sorted(UNIT.findall(made)) or sorted(text) == sorted(made)
    if name == "drop":
        assert len(made) <= len(text)


def test_cells_are_corrupted_apart_and_their_digest_stays():
    class Cell:
        digest = "a"

        def load(self, size: int | None = None) -> np.ndarray:
            assert size == 40
            return LOADED["image"]

    noisy = Corruption("image", "noise", 2)
    first, second = Worse(Cell(), noisy), Cell()
    second.digest = "b"
    assert first.digest == "a"
    assert (first.load(size=40) != Worse(second, noisy).load(size=40)).any()
    np.testing.assert_array_equal(first.load(size=40), noisy(LOADED["image"], "a"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("kind", "name"), [e for e in EVERY if e[0] in ("number", "vector", "sequence")])
def test_numbers_stay_within_their_type(kind, name):
    most = np.finfo(LOADED[kind].dtype).max
    x = np.full((40, 3) if kind == "sequence" else 40, most) * np.where(np.arange(3 if kind == "sequence" else 40) % 2, 1, -1)
    x.flat[0] = np.nan
    made = Corruption(kind, name, 5)(x.astype(LOADED[kind].dtype), "cell")
    assert made.dtype == LOADED[kind].dtype and not np.isinf(made).any() and np.isnan(made.flat[0])


def test_vectors_are_corrupted_a_cell_at_a_time():
    x_UD = RANDOM.normal(size=(5, 3)).astype(np.float32)
    column = vectors(x_UD.ravel(), np.array([0, 1, 0, 0, 2, 0, 0], np.int8), 3)
    unit = Corruption("vector", "unit", 5)
    worse = corrupted(column, unit)
    assert worse.dense["vector"].dtype == np.float32 and (worse.dense["vector"] != x_UD).any()
    np.testing.assert_array_equal(worse.row_BK, column.row_BK)
    for row, at in ((3, 2), (0, 0), (6, 4)):  # alone and among others alike
        alone = corrupted(vectors(x_UD[at], np.zeros(1, np.int8), 3), unit).dense["vector"]
        np.testing.assert_array_equal(worse.dense["vector"][column.row_BK[row, 0]], alone[0])
    none = corrupted(vectors(np.zeros(0), np.ones(2, np.int8), 3), unit)
    assert none.dense["vector"].shape == (0, 3)


def test_series_in_files_go_through_worse(tmp_path):
    np.save(tmp_path / "a.npy", RANDOM.normal(size=(50, 2)))
    item, reading = {"main.x": Input("main.x", "sequence", ("x",))}, {"x": Reading("x", "sequence", {"width": 2})}
    readers = {"main.x": (EXTRACTORS["steps"](), CLASSIC["sequence"])}
    clean, worse = (
        build(read_table({"x": ["a.npy", None]}), reading, item, readers, Media((tmp_path,)), Store(tmp_path / str(i)), corruption=c)[0]
        for i, c in enumerate((None, Corruption.of(item["main.x"], "loss:4", 0)))
    )
    assert clean["main.x"].dense["gaps"].tolist() == [0] and worse["main.x"].dense["gaps"].tolist() == [40]
    assert worse["main.x"].state_B.tolist() == [0, 1]


def test_what_is_asked_for_is_checked():
    picture = Input("main.picture", "image", ("picture",))
    assert Corruption.of(picture, "blur", 0).severity == 3
    for text, says in ("blurr", "did you mean 'blur'"), ("blur:6", "severity from 1 to 5"):
        with pytest.raises(ConfigError, match=says):
            Corruption.of(picture, text, 0)
    assert not known(Input("main.table", "table", ("a",), ("category",)))
    assert called(Input("main.table", "table", ("a", "b"), ("category", "number"))) == {"table", "number"}
    assert called(Input("main.plain", "table", ("a",), ("category",))) == {"plain", "table"}


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    """Of pictures that tell the label by brightness and sentences that tell nothing."""
    from PIL import Image

    folder, random = tmp_path_factory.mktemp("worse"), np.random.default_rng(0)
    with (folder / "table.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["picture", "size", "label"])
        for row in range(120):
            level = 200 if row % 2 else 50
            Image.fromarray((level + random.normal(0, 9, (24, 24, 3))).clip(0, 255).astype(np.uint8)).save(folder / f"{row}.png")
            out.writerow([f"{row}.png", random.normal() + row % 2, "light" if row % 2 else "dark"])
    settings = {"training": {"folds": 2, "epochs": 2, "minimum": 1}}
    return Learner(target="label", media_root=[folder], **settings).fit(folder / "table.csv"), folder / "table.csv"


def test_an_answer_is_scored_under_corruptions(learner, tmp_path, monkeypatch):
    fitted, table = learner
    weights = evaluate.draw_weights  # of intervals, which are drawn for each severity
    monkeypatch.setattr(evaluate, "draw_weights", lambda groups, seed: weights(groups, seed, 20))
    clean, worse = (
        fitted.evaluate(table, corrupt=c)["targets"]["label"]["metrics"] for c in (None, {"image": "occlusion:5", "table": "noise:5"})
    )
    assert clean["log_loss"] < worse["log_loss"]
    assert fitted.evaluate(table, corrupt={"number": "unit:5"})["targets"] == fitted.evaluate(table, corrupt={"table": "unit:5"})["targets"]
    found = fitted.evaluate(table, corrupt="all")
    lines = found["corruptions"]
    assert {(line["input"], line["corruption"]) for line in lines} == {
        *(("picture", n) for n in ("blur", "noise", "crop", "occlusion")), ("table", "noise"), ("table", "unit")
    }  # fmt: skip
    assert [line["severity"] for line in lines[:6]] == [0, *SEVERITIES]
    assert len({json.dumps(line["metrics"]) for line in lines if not line["severity"]}) == 1
    fitted.write_report(tmp_path / "report.html", found)
    page = (tmp_path / "report.html").read_text()
    assert "picture made worse" in page and "occlusion" in page
    with pytest.raises(ConfigError, match="did you mean 'picture'"):
        fitted.evaluate(table, corrupt={"pictur": "blur"})


def test_nothing_corrupted_is_stored(learner, tmp_path, monkeypatch):
    fitted, table = learner
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path))
    fitted.evaluate(table)
    before = sorted(p.relative_to(tmp_path) for p in Path(tmp_path).rglob("*.npy"))
    fitted.evaluate(table, corrupt={"picture": "noise:1"})
    assert sorted(p.relative_to(tmp_path) for p in Path(tmp_path).rglob("*.npy")) == before
