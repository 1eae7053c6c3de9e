"""Lists of lists of lists: the column tells whether a stroke is its points or its coordinates."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodal import Learner
from xmodal.errors import MediaError
from xmodal.features import Store, build, build_row
from xmodal.features.extractors import CLASSIC
from xmodal.job import Input, Job
from xmodal.media import Media
from xmodal.modality import asked, readings
from xmodal.modality.strokes import CANONICAL, Drawing, Strokes
from xmodal.table import read_table

STROKES, NOWHERE = Strokes(), Media(())
BOTH = [[[0, 0], [1, 2]], [[3, 1], [4, 5]]]  # two points, or two x and two y
POINTS = [[[0, 0], [1, 2], [3, 4], [5, 6], [7, 7]]]
LISTS = [[[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]]
Strokes3 = list[list[list[float]]]


def turned(strokes: Strokes3) -> Strokes3:
    return [list(map(list, zip(*one, strict=True))) for one in strokes]


def read(cells: list[Any], nested: bool) -> Any:
    return STROKES.recognise(pa.chunked_array([pa.array(cells if nested else [json.dumps(c) for c in cells])]), NOWHERE)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(("one", "form"), [(POINTS, "points"), (LISTS, "coordinates")])
@pytest.mark.parametrize("place", [0, 150, 299])
def test_one_drawing_tells_for_the_whole_column(nested: bool, one: Strokes3, form: str, place: int) -> None:
    cells = [[[[i, 0], [1, 2]], [[3, 1], [4, 5]]] for i in range(300)]
    cells[place] = one
    guess = read(cells, nested)
    assert guess.reading.options == {"form": form} and not guess.notes
    (file,) = STROKES.files(BOTH, NOWHERE, guess.reading.options)
    want = [[0, 0, 0], [1, 2, 0], [3, 1, 1], [4, 5, 1]] if form == "points" else [[0, 1, 0], [0, 2, 0], [3, 4, 1], [1, 5, 1]]
    assert STROKES.open(file, NOWHERE).load()[:, [0, 1, 4]].tolist() == want


def test_the_most_count_and_where_none_tells_that_is_said() -> None:
    assert read([POINTS, LISTS, POINTS, BOTH], False).reading.options == {"form": "points"}
    assert read([POINTS, LISTS, LISTS, BOTH], False).reading.options == {"form": "coordinates"}
    guess = read([BOTH, *([[[[i, 0], [1, 2]]] for i in range(9)])], False)
    assert guess.reading.options == {"form": "points"} and "form=coordinates" in guess.notes[0]
    assert read([[{"x": [1, 2], "y": [i, 4]}] for i in range(9)], False).reading.options == {}
    assert asked("strokes:form=coordinates") == ("strokes", {"form": "coordinates"})
    table = read_table([{"d": json.dumps([[[i, 0], [1, 2]]]), "y": i % 2} for i in range(9)])
    found, _ = readings(table, Job(target=("y",), modality={"d": "strokes:form=coordinates"}), NOWHERE)
    assert found["d"].options == {"form": "coordinates"}


@given(
    st.lists(st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=1, max_size=6), min_size=1, max_size=4), st.booleans(), st.booleans()
)
def test_a_drawing_has_one_canonical_form(points: list[list[tuple[float, float]]], timed: bool, pressed: bool) -> None:
    count = itertools.count()
    full = [[[x, y, *([float(next(count))] if timed else []), *([0.5] if timed and pressed else [])] for x, y in one] for one in points]
    by_name = [dict(zip("xytp", columns, strict=False)) for columns in turned(full)]
    lines = "START\n" + "".join("".join(",".join(map(repr, [p[0], -p[1], *p[2:]])) + "\n" for p in one) + "BREAK\n" for one in full)
    arrays = np.array([np.array(one) for one in full] + [None], object)[:-1]
    cells = [full, json.dumps(full), f" {json.dumps(full, indent=1)}", arrays, by_name, json.dumps(by_name), lines, lines.encode()]
    files = {file for cell in cells for file in STROKES.files(cell, NOWHERE, {"form": "points"})}
    files |= {*STROKES.files(turned(full), NOWHERE, {"form": "coordinates"})}
    (file,) = files
    assert isinstance(file, bytes) and file.startswith(CANONICAL)
    drawing = STROKES.open(file, NOWHERE)
    assert np.array_equal(drawing.load()[:, :2], [[p[0], p[1]] for one in full for p in one])
    assert drawing.canonical == file == STROKES.files(file, NOWHERE)[0]


def test_cut_canonical_bytes_are_no_drawing() -> None:
    file = Drawing(json.dumps(POINTS).encode(), 100, "d").canonical
    for wrong in (file[:-1], CANONICAL, CANONICAL + np.full(5, np.inf).tobytes(), CANONICAL + np.zeros(5 * 101).tobytes()):
        with pytest.raises(MediaError, match=r"drawing|points|finite"):
            Drawing(wrong, 100, "d")
    good, wrong = json.dumps(POINTS).encode(), b"no drawing"
    assert STROKES.files([good, wrong, good], NOWHERE) == [file, wrong, file], "what is wrong with one of several costs that one"
    with pytest.raises(MediaError, match="not a drawing"):
        STROKES.files(wrong, NOWHERE)


def test_a_cell_that_alone_could_be_both_is_read_as_its_column(tmp_path: Path) -> None:
    cells = [BOTH, POINTS, LISTS]
    table = read_table([{"d": json.dumps(c), "y": i % 2} for i, c in enumerate(cells + [POINTS] * 3)])
    found, _ = readings(table, Job(target=("y",)), NOWHERE)
    item, extractors = {"main.d": Input("main.d", "strokes", ("d",))}, {"main.d": [CLASSIC["strokes"]]}
    columns, counts = build(table, found, item, extractors, NOWHERE, Store(tmp_path))
    assert columns["main.d"].state_B.tolist() == [0, 0, 2, 0, 0, 0]
    assert [(e.row, "coordinates" in e.reason) for e in counts.broken] == [(3, True)]
    for i, cell in enumerate(cells):
        one = build_row({"d": cell}, found, item, extractors, NOWHERE)["main.d"]
        assert one.state_B[0] == columns["main.d"].state_B[i]
        for name, array in one.dense.items():
            at = columns["main.d"].row_BK[i, 0]
            assert not len(array) or np.array_equal(array[0], columns["main.d"].dense[name][at])


def test_rows_are_known_again_in_every_container(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    drawings = [np.round(random.normal(size=(2, 5, 2)), 3).tolist() for _ in range(60)]
    frame = pd.DataFrame({"d": drawings, "y": ["a", "b"] * 30})
    text = frame.assign(d=[json.dumps(one) for one in drawings])
    text.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.sample(frac=1, random_state=0).to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    learner = Learner(target="y", training={"epochs": 1, "minimum": 1, "folds": 2}).fit(tmp_path / "t.csv")
    found: list[Any] = [learner.evaluate(tmp_path / name, "test") for name in ("t.csv", "t.parquet", "t.jsonl")]
    for one in found:
        assert (one["rows"], one["warnings"]) == (9, [])
        assert one["targets"]["y"]["metrics"] == pytest.approx(found[0]["targets"]["y"]["metrics"])
