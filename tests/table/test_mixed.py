"""Columns whose cells are of several types: a cell is read the same whatever stands beside it."""

from __future__ import annotations

import datetime
import json
import math
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodal.errors import TargetError
from xmodal.job import Job, Json, State
from xmodal.prepare import open_again, open_new
from xmodal.table import Reading, read_table
from xmodal.table.reading import spelled

NUMBERS = (
    st.floats(allow_subnormal=False) | st.integers(-(2**70), 2**70) | st.decimals(-(10**6), 10**6, places=3) | st.just(np.float32(0.1))
)
ZONES = st.sampled_from([None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=5))])
DATES = st.dates(datetime.date(1900, 1, 1)) | st.datetimes(datetime.datetime(1900, 1, 1), timezones=ZONES)  # noqa: DTZ001
WORDS = st.sampled_from(["a", "1.50", "1,5", "1.234,5", "7", "007", "NA", "", "True", "2024-01-02", "2,5 €", "1e3"])
CELLS = st.none() | NUMBERS | DATES | st.booleans() | WORDS
READINGS: list[tuple[str, dict[str, Json]]] = [
    ("number", {}),
    ("number", {"decimal": ",", "thousands": "."}),
    ("number", {"decimal": ",", "thousands": "", "unit": "€"}),
    ("date", {"order": "day"}),
    ("category", {}),
    ("text", {}),
]


def parsed(reading: Reading, source: Any) -> list[tuple[Any, int]]:
    values, state_B = reading.parse(read_table(source).data["c"])
    return list(zip(values.to_pylist(), state_B.tolist(), strict=True))


@given(st.lists(CELLS, min_size=1, max_size=6), st.sampled_from(READINGS))
def test_a_cell_is_read_the_same_whatever_stands_beside_it(cells: list[Any], form: tuple[str, dict[str, Json]]) -> None:
    reading = Reading("c", *form)
    alone = [repr(parsed(reading, [{"c": cell}])[0]) for cell in cells]
    for source in ([{"c": cell} for cell in cells], pd.DataFrame({"c": pd.Series(cells, dtype=object)}), {"c": cells}):
        assert [*map(repr, parsed(reading, source))] == alone
    row = [(v, int(s)) for v, s in map(reading.cell, cells)]
    assert [*map(repr, row)] == alone


@given(st.lists(NUMBERS.filter(math.isfinite), min_size=1, max_size=4), WORDS)
def test_a_number_beside_a_word_is_that_number(cells: list[Any], word: str) -> None:
    reading = Reading("c", "number", {"decimal": ",", "thousands": "."})
    found = parsed(reading, [{"c": word}, *({"c": cell} for cell in cells)])[1:]
    assert found == [(float(cell), State.PRESENT) for cell in cells]


def test_what_arrow_would_change_stays() -> None:
    day, time = datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, 3)  # noqa: DTZ001
    east = time.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=5)))
    for cells, wanted in (
        ([day, time], ["2024-01-02", "2024-01-02T03:00:00"]),
        ([time, east], ["2024-01-02T03:00:00", "2024-01-02T03:00:00+05:00"]),
        ([day, 1], ["2024-01-02", 1]),
        ([1.5, True], [1.5, True]),
        ([np.True_, 1], [True, 1]),
        ([Decimal("2.50"), 0.1, Decimal(10**20)], [2.5, 0.1, 10**20]),
        (["a", math.nan, pd.NaT], ["a", None, None]),
        (["a", 0.5, None], ["a", 0.5, None]),
    ):
        found = read_table([{"c": cell} for cell in cells]).data["c"].to_pylist()
        assert [*map(repr, found)] == [*map(repr, wanted)]
    assert read_table({"c": (x for x in (1, 2))}).data["c"].type == pa.int64()


@pytest.mark.parametrize("fitted", [["1.50", "2.25"], [1.5, 2.25], [Decimal("1.50"), 2.25]])
def test_a_class_of_numbers_is_one_however_it_is_written(fitted: list[Any]) -> None:
    rows = [{"x": i % 7, "y": fitted[i % 2]} for i in range(40)]
    job = Job(target=("y",), kind="classify")
    opened = open_new(rows, job)
    names = [str(cell) if isinstance(cell, str) else f"{float(cell)}" for cell in fitted]
    for cells in (["1.50", "2.25"], [1.5, 2.25], ["1.5", "2.250"], [Decimal("1.5"), "2.25"]):
        again = open_again([{"x": 1, "y": cell} for cell in cells], job, opened.readings, opened.target, opened.inputs)
        assert again.labels.to_pylist() == names
    assert opened.target.cell("1.51")[0] == "1.51"


def test_numbers_that_are_written_in_two_ways_at_fit_are_two_names() -> None:
    versions = Reading("c", "category", {"spelled": spelled({"1.1": 2, "1.10": 3})})
    assert [versions.cell(c)[0] for c in ("1.1", "1.10", 1.1)] == ["1.1", "1.10", "1.1"]
    codes = Reading("c", "category", {"spelled": spelled({"007": 2, "7": 3})})
    assert [codes.cell(c)[0] for c in ("007", "7", 7.0)] == ["007", "7", "7"]
    truth = Reading("c", "category", {"spelled": spelled({"True": 1, "False": 1})})
    assert {truth.cell(c)[0] for c in (True, "true", "TRUE", 1, 1.0, "1", "1.0", np.True_)} == {"True"}


def test_a_nested_object_is_no_value() -> None:
    for kind in ("number", "date", "category", "text"):
        for cells in ([{"k": 1}, "a"], [{"k": 1}, {"k": "x"}], [{"k": 1}]):
            assert parsed(Reading("c", kind), [{"c": cell} for cell in cells])[0][1] == State.BROKEN
        assert Reading("c", kind).cell({"k": 1})[1] == State.BROKEN


def test_rows_without_any_cell_are_rows() -> None:
    assert [read_table(source).data.num_rows for source in ({}, [{}], [{}, {}])] == [1, 1, 2]
    table = read_table([{}] * 5)
    assert [table.part(at, 3).data.num_rows for at in (0, 3)] == [3, 2]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_buffers_are_bytes(kind: type) -> None:
    png = b"\x89PNG"
    assert read_table([{"c": kind(png)}]).data["c"].to_pylist() == [png]
    assert read_table([{"c": kind(png)}, {"c": "a.png"}]).data["c"].to_pylist() == [
        {"bytes": png, "path": None},
        {"bytes": None, "path": "a.png"},
    ]
    assert read_table([{"c": [kind(png)]}, {"c": "a.png"}]).data["c"].to_pylist()[0] == [{"bytes": png, "path": None}]
    assert Reading("c", "image").cell(kind(png)) == (png, State.PRESENT)
    assert Reading("c", "image").cell([kind(png)]) == ([png], State.PRESENT)
    assert read_table([{"c": {"bytes": kind(png)}}]).data["c"].to_pylist() == [{"bytes": png}]


def test_targets_of_mixed_cells_are_labels_and_never_objects() -> None:
    job = Job(target=("y",))
    opened = open_new([{"x": i % 7, "y": [1, "a", 1.0, True][i % 4]} for i in range(40)], job)
    assert opened.labels.to_pylist()[:4] == ["1", "a", "1", "True"]
    with pytest.raises(TargetError, match="a nested object in row 2 of the rows"):
        open_new([{"x": i, "y": {"k": 1} if i == 1 else "ab"[i % 2]} for i in range(40)], job)
    several = Job(target=("y",), kind="multilabel")
    labels = open_new([{"x": i % 7, "y": ["a;3", 3, "a", None][i % 4]} for i in range(40)], several).labels.to_pylist()
    assert labels[:4] == [{"3": True, "a": True}, {"3": True, "a": False}, {"3": False, "a": True}, None]


HALF = [{"t": "fine", "n\ud800": 1}, {"t": "a \ud83d", "n\ud800": 2}, {"t": "\udc00", "n\ud800": 3}]


@pytest.mark.parametrize("door", ["rows", "columns", "frame", "file", "mixed", "lists"])
def test_half_a_character_is_read_as_its_stand_in_and_said(door: str, tmp_path: Path) -> None:
    cells, want = [row["t"] for row in HALF], ["fine", "a \ufffd", "\ufffd"]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, HALF)))
    sources = {
        "rows": HALF, "columns": {"t": cells}, "frame": pd.DataFrame({"t": pd.Series(cells, dtype=object)}),
        "file": tmp_path / "t.jsonl", "mixed": {"t": [*cells, 4]}, "lists": {"t": [[c] for c in cells]},
    }  # fmt: skip
    table = read_table(sources[door])
    assert table.data["t"].to_pylist()[:3] == ([[w] for w in want] if door == "lists" else want)
    assert table.notes == ("column 't': 2 cells hold half a character, the first in row 2: read as U+FFFD",)
    assert table.data.column_names[1:] == (["n\ufffd"] if door in ("rows", "file") else [])
    assert Reading("t", "text").cell(cells[1]) == (want[1], State.PRESENT), "alone as in the column"


def test_both_halves_of_a_character_are_one() -> None:
    table = read_table({"t": ["\ud83d\ude00"]})
    assert table.data["t"].to_pylist() == ["\U0001f600"]


def test_files_whose_names_are_no_utf_8_are_rows(tmp_path: Path) -> None:
    for folder in (b"a", b"b\xff"):
        (tmp_path / os.fsdecode(folder)).mkdir()
        (tmp_path / os.fsdecode(folder + b"/x.txt")).write_text("x")
    assert read_table(tmp_path).data["label"].to_pylist() == ["a", "b\ufffd"]
