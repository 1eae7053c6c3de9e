"""Rows are known again in any container, in any order."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from xmodal import Learner
from xmodal.errors import ConfigError
from xmodal.features import Store, build
from xmodal.features.column import FeatureColumn
from xmodal.features.extractors import CLASSIC
from xmodal.features.typed import vectors
from xmodal.identity import keys, looked_up, name_of, settled
from xmodal.job import Input
from xmodal.media import Media
from xmodal.table import Reading, read_table

FAST = {"epochs": 2, "minimum": 1, "folds": 2}


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    """Numbers that text spells in several ways, dates, names, texts and pictures, each missing somewhere."""
    folder, random = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(random.integers(0, 255, (12, 12, 3)).astype(np.uint8)).save(folder / f"{i}.png")
    rows = pd.DataFrame({
        "size": [None if i % 9 == 0 else (i % 23) / 10 for i in range(90)], "weight": np.float32(random.normal(size=90)),
        "day": [pd.Timestamp(2024, 1, 1 + i % 31, 12) for i in range(90)],
        "kind": [["a", "b", None][i % 3] for i in range(90)], "on": [i % 2 == 0 for i in range(90)],
        "story": [None if i % 7 == 0 else f"the story of the number {i % 11} of all" for i in range(90)],
        "picture": [None if i % 5 == 0 else f"{i % 8}.png" for i in range(90)],
        "label": ["x", "y"] * 45, "key": [i / 100 for i in range(90)],
    })  # fmt: skip
    return rows, folder


def containers(rows: pd.DataFrame, folder: Path, name: str = "rows") -> dict[str, Any]:
    """The same rows as CSV (0.10 for 0.1, dates with a T), Parquet (pictures inside), JSON Lines and a frame."""
    csv, parquet, jsonl = (folder / f"{name}.{kind}" for kind in ("csv", "parquet", "jsonl"))
    written = rows.assign(
        day=rows["day"].dt.strftime("%Y-%m-%dT%H:%M"), size=[None if v != v else f"{v:.2f}" for v in rows["size"]],
        key=[f"{v:.3f}" for v in rows["key"]],
    )  # fmt: skip
    written.to_csv(csv, index=False)
    held = [None if pd.isna(p) else (folder / p).read_bytes() for p in rows["picture"]]
    pa.parquet.write_table(pa.Table.from_pandas(rows.assign(picture=held), preserve_index=False), parquet)
    rows.assign(day=rows["day"].astype(str)).to_json(jsonl, orient="records", lines=True, double_precision=15)
    return {"csv": csv, "parquet": parquet, "jsonl": jsonl, "frame": rows}


@pytest.mark.parametrize(("first", "roles"), [("csv", {"ignore": "key"}), ("parquet", {"id": "key"})])
def test_the_same_rows_in_any_container_and_order(frame: tuple[pd.DataFrame, Path], first: str, roles: dict[str, Any]) -> None:
    rows, folder = frame
    learner = Learner("label", training=FAST, media_root=str(folder), **roles)
    told = containers(rows, folder)
    learner.fit(told[first])
    wanted = learner.evaluate(told[first], "test")["targets"]["label"]["metrics"]  # type: ignore[index,call-overload]
    for name, source in [*told.items(), *containers(rows.sample(frac=1, random_state=1), folder, "shuffled").items()]:
        found: Any = learner.evaluate(source, "test")
        assert found["rows"] == learner.report["parts"]["test"], name  # type: ignore[index,call-overload]
        assert not [w for w in found["warnings"] if "not in the split" in w], name
        assert found["targets"]["label"]["metrics"] == pytest.approx(wanted, abs=1e-6), name


def test_rows_that_the_fit_never_saw_are_counted(frame: tuple[pd.DataFrame, Path]) -> None:
    rows = frame[0][["size", "weight", "kind", "label"]]
    learner = Learner("label", training=FAST).fit(rows)
    other = rows.assign(weight=[w + 10 * (i < 7) for i, w in enumerate(rows["weight"])])
    found = learner.evaluate(other, "train")
    assert any("7 of the 90 rows of the frame are not in the split that was saved" in w for w in found["warnings"])  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"rows of the split that the fit saved; got none among the 90 of the frame; give the table"):
        learner.evaluate(rows.assign(weight=100.0), "test")


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=30), st.randoms()
)
def test_a_row_keeps_its_part_whatever_the_order(rows: list[tuple[int, int, int, int]], random: Any) -> None:
    """Id, cell, label and part of each row: any two rows of one id, cell and label may change places, others may not."""

    def named(some: list[tuple[int, int, int, int]]) -> np.ndarray:
        plain = {"number": np.array([[r[1] / 3] for r in some]), "category": np.zeros((len(some), 0)), "date": np.zeros((len(some), 0))}
        column = FeatureColumn(plain, {}, np.arange(len(some))[:, None], np.zeros(len(some), np.int8))
        return keys([pa.chunked_array([pa.array([r[0] for r in some])])], {"main.table": column}, np.array([r[2] for r in some]))

    part = np.array([r[3] for r in rows])
    first = named(rows)
    kept = settled(first, part)
    again = [*rows]
    random.shuffle(again)
    found = looked_up(named(again), kept, part)
    assert sorted((*r[:3], p) for r, p in zip(again, found, strict=True)) == sorted(rows)
    assert (looked_up(named([(7, 0, 0, 0)]), kept, part) == -1).all()


@pytest.mark.parametrize(
    "same",
    [
        ("0.10", 0.1, "1e-1"), ("7", 7, 7.0, " 7 "), ("2024-01-31", datetime.date(2024, 1, 31), "2024-01-31 00:00:00"),
        (None, "", " ", float("nan")), ("007",), ("a1",), ("1e99999999999999999999",), ("12345678901234567890123", 12345678901234567890123),
        (12345678901234567,), (12345678901234568,),
    ],
)  # fmt: skip
def test_an_id_is_one_in_every_way_of_writing(same: tuple[Any, ...]) -> None:
    assert len({name_of(cell) for cell in same}) == 1
    others = {"7", "0.1", "1", 8, "b", 12345678901234569} - {*same, 7 if "7" in same else 0, *(["0.1"] if 0.1 in same else [])}
    assert name_of(same[0]) not in {name_of(cell) for cell in others}


def test_vectors_and_series_are_known_again(tmp_path):
    """By their numbers, whatever they stand in; a cell of another width takes no other's name."""
    x_UD = np.random.default_rng(0).normal(size=(4, 2)).round(3).astype(np.float32)
    state_B = np.array([0, 1, 0, 0, 0], np.int8)
    found = keys([], {"main.x": vectors(x_UD.ravel(), state_B, 2)}, np.zeros(5))
    assert len({*found[0].tolist()}) == 5
    order = [4, 1, 3, 0, 2]
    turned = vectors(x_UD[[3, 2, 0, 1]].ravel(), state_B[order], 2)
    np.testing.assert_array_equal(keys([], {"main.x": turned}, np.zeros(5)), found[:, order])
    lists = [[[1.0, 2.0]], [[1.0]], [[3.0, 4.0], [5.0, 6.0]], None]
    inputs, reading = {"main.x": Input("main.x", "sequence", ("x",))}, {"x": Reading("x", "sequence", {"width": 2})}
    readers = {"main.x": (CLASSIC["sequence"],)}
    ways = [build(read_table({"x": cells}), reading, inputs, readers, Media(()), Store(tmp_path))[0]
            for cells in (lists, [json.dumps(one) if one else "" for one in lists])]  # fmt: skip
    first, second = (keys([], columns, np.zeros(4)) for columns in ways)
    np.testing.assert_array_equal(first, second)
    assert len({*first[0].tolist()}) == 3, "the unreadable and the missing one say the same: nothing"
