from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from xmodal import Learner
from xmodal.errors import ConfigError, TableError
from xmodal.features import build, build_row
from xmodal.job import Input, State
from xmodal.media import Media
from xmodal.modality import MODALITIES
from xmodal.modality.vector import Vector, regrouped
from xmodal.table import Reading, Table, read_table

NOWHERE = Media(())
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 5)).round(3)


def read(cells: Any) -> Any:
    found = Vector().recognise(read_table({"x": cells}).column("x"), NOWHERE)
    return found and found.reading


def built(table: Table, width: int, **options: Any) -> Any:
    inputs = {"main.x": Input("main.x", "vector", ("x",))}
    columns, counts = build(table, {"x": Reading("x", "vector", {"width": width, **options})}, inputs, {}, NOWHERE)
    return columns["main.x"], counts


@pytest.mark.parametrize("cells", [
    X.tolist(), [json.dumps(row.tolist()) for row in X], [row.astype(np.float32) for row in X], list(X), [tuple(row) for row in X],
    [[str(v) for v in row] for row in X], [[f"{v:.3f}".replace(".", ",") for v in row] for row in X],
    [None, *X[1:].tolist()], ["", *(json.dumps(row.tolist()) for row in X[1:])],
])  # fmt: skip
def test_every_form_is_the_same_vector(cells: list[Any]) -> None:
    reading = read(cells)
    assert (reading.modality, reading.options["width"]) == ("vector", 5)
    column, _ = built(read_table({"x": cells}), **reading.options)
    there = np.flatnonzero(column.state_B == State.PRESENT)
    assert len(there) >= 11
    np.testing.assert_allclose(column.dense["vector"][column.row_BK[there, 0]], X[there], rtol=1e-6)
    others = {n for n, m in MODALITIES.items() if m.recognise(read_table({"x": cells}).column("x"), NOWHERE)}
    assert others <= {"vector", "text"}


@pytest.mark.parametrize("cells", [
    [f"word {i}" for i in range(9)], [["a", "b"]] * 9, [[[1, 2], [3, 4]]] * 9, [{"a": 1}] * 9,
    [1.0, 2.0], ["[1, 2", "[3, 4"], [["1", "x"]] * 3,
    [["007", "012"]] * 9, [[None, None]] * 3, [[], []], ["[1, 2]", "word"],
])  # fmt: skip
def test_what_is_no_column_of_vectors(cells: list[Any]) -> None:
    assert read(cells) is None


def test_widths_that_differ_name_a_row_of_each() -> None:
    with pytest.raises(TableError, match="3 in row 4 and 5 in row 1"):
        read([*X[:3].tolist(), [1, 2, 3], *X[4:].tolist()])
    with pytest.raises(TableError, match="2 in row 3 and 3 in row 1"):
        read(["[1, 2, 3]", None, "[1, 2]"])
    with pytest.raises(ConfigError, match="lists of numbers"):
        Learner(target="y", modality={"x": "vector"}).fit({"x": ["a b", "c d"] * 20, "y": ["p", "q"] * 20})


def test_bad_cells_are_masked_and_counted() -> None:
    cells = [*X[:4].tolist(), None, [], [1, None, 3, 4, None], [1, 2, float("inf"), 4, 5], [1, 2, 3], [None] * 5]
    column, counts = built(read_table({"x": cells}), 5)
    assert column.state_B.tolist() == [0, 0, 0, 0, 1, 1, 0, 2, 2, 1]
    assert [(e.row, e.reason) for e in counts.broken] == [(8, "not 5 numbers"), (9, "not 5 numbers")]
    assert counts.notes == ["column 'x': 2 numbers are missing within its cells: the mean of training stands for them"]
    reading = {"x": Reading("x", "vector", {"width": 5})}
    for cell, state in zip(cells, column.state_B, strict=True):  # a row alone is read alike
        one = build_row({"x": cell}, reading, {"main.x": Input("main.x", "vector", ("x",))}, {}, NOWHERE)["main.x"]
        assert one.state_B == [state]
        if state == State.PRESENT:
            want = column.dense["vector"][column.row_BK[cells.index(cell), 0]]
            assert np.array_equal(one.dense["vector"][0], want, equal_nan=True)


def test_corruptions_of_a_column_at_most_change_values() -> None:
    x = np.ones(50_000, np.float32)
    off = [float((Vector.corruptions["noise"](x, s, np.random.default_rng(0)) - 1).std()) for s in range(1, 6)]
    np.testing.assert_allclose(off, np.arange(1, 6) / 10, rtol=0.02)
    worse = [Vector.corruptions["unit"](x, s, np.random.default_rng(0)) for s in range(1, 6)]
    np.testing.assert_allclose([(one != 1).mean() for one in worse], np.arange(1, 6) / 10, atol=0.01)
    assert set(np.unique(worse[4])) == {np.float32(0.1), np.float32(1), np.float32(1000)}


def frame(rows: int = 60) -> pd.DataFrame:
    """`a_0 … a_3` tell the label, `b_0, b_1` nothing."""
    label = np.arange(rows) % 2
    made = {f"a_{i}": RANDOM.normal(size=rows) + 3 * label * (i == 1) for i in range(4)} | {
        f"b_{i}": RANDOM.normal(size=rows) for i in range(2)
    }
    return pd.DataFrame(made).assign(label=np.where(label, "yes", "no"))


QUICK = {"training": {"folds": 2, "epochs": 2, "minimum": 1}}


def test_columns_become_one_vector_by_name(tmp_path: Any) -> None:
    rows = frame()
    learner = Learner(target="label", input={"fou": "a_*"}, modality={"fou": "vector"}, **QUICK).fit(rows)
    assert {i.name: i.modality for i in learner.model.answer.inputs.values()} == {"fou": "vector", "table": "table"}
    assert learner.model.readings["fou"].options["columns"] == ["a_0", "a_1", "a_2", "a_3"]
    learner.save(tmp_path / "m")
    again = Learner.load(tmp_path / "m")
    want = again.predict_proba(rows)
    np.testing.assert_array_equal(want, learner.predict_proba(rows))
    turned = rows[rows.columns[::-1]]
    np.testing.assert_array_equal(again.predict_proba(turned), want)
    gap = again.predict_proba(rows.assign(a_2=None))
    np.testing.assert_array_equal(again.predict_proba(rows.drop(columns="a_2")), gap)
    assert np.abs(gap - want).max() > 0.01, "a column that is gone is a gap in each vector"
    assert (again.predict(rows) == rows["label"]).mean() > 0.9
    listed = rows.assign(fou=rows[["a_0", "a_1", "a_2", "a_3"]].to_numpy().tolist()).drop(columns=["a_0", "a_1", "a_2", "a_3"])
    np.testing.assert_allclose(again.predict_proba(listed), want, rtol=1e-6)
    for name, pattern, said in ("fou", "c_*", "no column"), ("b_0", "a_*", "a column of that name"):
        wrong = Learner(target="label", input={name: pattern}, modality={name: "vector"}, **QUICK)
        with pytest.raises(ConfigError, match=said):
            wrong.fit(rows)


def test_what_is_there_already_is_left_alone() -> None:
    table = read_table({"fou": X.tolist(), "a_0": [1.0] * 12})
    assert regrouped(table, {"fou": Reading("fou", "vector", {"width": 5, "columns": ["a_0"]})}) is table
    assert pa.types.is_list(table.data["fou"].type)
