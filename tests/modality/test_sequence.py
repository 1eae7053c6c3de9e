from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bench.mutations import mutated
from xmodal.errors import MediaError, TableError
from xmodal.features import Store, build, build_row
from xmodal.features.extractors import CLASSIC, EXTRACTORS
from xmodal.job import Input, State
from xmodal.media import Caps, Media, attempt
from xmodal.modality import MODALITIES
from xmodal.modality.sequence import Sequence
from xmodal.table import Reading, read_table

NOWHERE = Media(())
SEQUENCE = Sequence()
RANDOM = np.random.default_rng(0)
SERIES = [RANDOM.normal(size=(t, 3)).round(4) for t in (1, 4, 9, 2, 30, 7, 3, 5)]
INPUTS = {"main.x": Input("main.x", "sequence", ("x",))}
READERS = {"main.x": (EXTRACTORS["steps"](), CLASSIC["sequence"])}


def npy(array: Any, version: tuple[int, int] | None = None) -> bytes:
    np.lib.format.write_array(file := io.BytesIO(), np.asarray(array), version, allow_pickle=True)
    return file.getvalue()


def load(cell: Any, media: Media = NOWHERE) -> np.ndarray:
    (file,) = SEQUENCE.files(cell, media)
    return SEQUENCE.open(file, media).load()


def guess(cells: Any, media: Media = NOWHERE) -> Any:
    return SEQUENCE.recognise(read_table({"x": cells}).column("x"), media)


def built(cells: Any, tmp_path: Path, width: int = 3, media: Media = NOWHERE) -> Any:
    reading = {"x": Reading("x", "sequence", {"width": width})}
    columns, counts = build(read_table({"x": cells}), reading, INPUTS, READERS, media, Store(tmp_path / "store"))
    return columns["main.x"], counts


def test_every_form_is_the_same_sequence(tmp_path: Path) -> None:
    for i, x in enumerate(SERIES):
        np.save(tmp_path / f"{i}.npy", x)
    media = Media((tmp_path,))
    columns: list[Any] = [
        [f"{i}.npy" for i in range(8)], [npy(x) for x in SERIES], SERIES, [x.tolist() for x in SERIES],
        [json.dumps(x.tolist()) for x in SERIES],
        [npy(np.asfortranarray(x)) for x in SERIES], [npy(x.astype(">f8"), (2, 0)) for x in SERIES],
        [{"bytes": npy(x), "path": None} for x in SERIES],
        pd.DataFrame({"x": [x.tolist() for x in SERIES]})["x"], [list(x) for x in SERIES],
    ]  # fmt: skip
    for cells in columns:
        found = guess(cells, media)
        assert found, cells[0]
        assert (found.reading.modality, found.reading.options["width"]) == ("sequence", 3)
        table = read_table({"x": cells})
        best = max((g for m in MODALITIES.values() if (g := m.recognise(table.column("x"), media))), key=lambda g: g.score)
        assert best.reading.modality == "sequence", cells[0]
        column, counts = built(cells, tmp_path, media=media)
        assert not counts.broken
        steps, ends = column.ragged["steps"]
        for row, x in enumerate(SERIES):
            cell = column.row_BK[row, 0]
            np.testing.assert_array_equal(steps[ends[cell] : ends[cell + 1]], x.astype(np.float32))
        one = build_row({"x": cells[4]}, {"x": replace(found.reading, column="x")}, INPUTS, READERS, media)["main.x"]
        np.testing.assert_array_equal(one.ragged["steps"][0], SERIES[4].astype(np.float32))
        np.testing.assert_array_equal(one.dense["summary"][0], column.dense["summary"][column.row_BK[4, 0]])


def test_types_and_one_value_a_step() -> None:
    assert load(npy(np.arange(4, dtype=np.int16))).tolist() == [[0], [1], [2], [3]]
    assert load(npy([[True, False]])).tolist() == [[1, 0]]
    assert load("[1, 2, 3]").tolist() == [[1], [2], [3]]
    assert SEQUENCE.files([], NOWHERE) == SEQUENCE.files("[]", NOWHERE) == SEQUENCE.files(None, NOWHERE) == []


@pytest.mark.parametrize(("cell", "why"), [
    (npy(np.array([{"a": 1}], object)), "pickled objects, which are never loaded"), (npy(np.eye(9))[:-8], "cut off"), (b"text", "no .npy"),
    (npy(np.zeros((2, 2, 2))), "no steps by values"), (npy(np.zeros((0, 3))), "no steps by values"), (npy(3.0), "no steps by values"),
    (npy([["a", "b"]]), "no steps by values"), (npy(np.ones((2, 2), complex)), "no steps by values"), (npy([[1, -np.inf]]), "infinite"),
    (npy([[1e300, 0]]), "infinite"), (npy([[np.nan, np.nan]]), "nothing but NaN"), ([[1, 2], [3]], "steps of 1 and of 2 values"),
    ([["1", "x"]], "that are not numbers"), (b"", "empty"), ("gone.npy", "no media root"),
])  # fmt: skip
def test_what_is_no_sequence_says_why(cell: Any, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        load(cell)


def test_a_header_that_lies_about_the_size_makes_nothing_large() -> None:
    lying = npy(np.eye(4)).replace(b"(4, 4)", b"(4000000000, 4)")
    with pytest.raises(MediaError):
        load(lying)
    with pytest.raises(MediaError, match="more than 64"):
        load(npy(np.eye(9)), Media((), Caps(bytes=64)))


def test_fifty_mutations_of_a_file() -> None:
    content, read = npy(SERIES[4]), 0
    for seed in range(50):
        try:
            raw = SEQUENCE.open(mutated(content, seed), NOWHERE)
            assert np.isfinite(raw.load()).any()
            assert SEQUENCE.draw(raw).startswith("<svg xmlns=")
            [attempt(e.one, raw) for e in READERS["main.x"]]
            read += 1
        except MediaError:
            pass
    assert 0 < read < 50


def test_rows_of_two_widths_name_a_row_of_each() -> None:
    """C52."""
    cells = [np.ones((t % 5 + 1, 74)) for t in range(60)] + [np.ones((t % 5 + 1, 43)) * t for t in range(30)]
    for form in (cells, [x.tolist() for x in cells]):
        with pytest.raises(TableError, match="43 in row 61 and 74 in row 1"):
            guess(form)
    with pytest.raises(TableError, match="1 in row 2 and 2 in row 1"):
        guess([[[1, 2]], [[1]], [[3, 4]]])


def test_what_is_wrong_is_masked_and_counted(tmp_path: Path) -> None:
    gap = SERIES[1].copy()
    gap[2, 1] = np.nan
    cells = [npy(SERIES[0]), npy(gap), None, npy(np.zeros((0, 3))), npy([[1, np.inf, 2]]), npy(np.eye(2)), npy(SERIES[2]), npy(gap)]
    column, counts = built(cells, tmp_path)
    assert column.state_B.tolist() == [0, 0, 1, 2, 2, 2, 0, 0]
    assert sorted(e.row for e in counts.broken) == [4, 5, 6]
    assert "2 values a step, where the fit had 3" in [e.reason for e in counts.broken]
    assert counts.notes == ["column 'x': 2 numbers are missing within its cells: the mean of training stands for them"]
    assert column.dense["summary"].shape == (len(column.dense["length"]), 34)
    reading = {"x": Reading("x", "sequence", {"width": 3})}
    for cell, state in zip(cells, column.state_B, strict=True):
        assert build_row({"x": cell}, reading, INPUTS, READERS, NOWHERE)["main.x"].state_B == [state]
    none, _ = built([None, None], tmp_path)
    assert none.state_B.tolist() == [State.MISSING] * 2
    assert none.cells == 0


def test_lists_of_no_steps_are_missing(tmp_path: Path) -> None:
    column, counts = built([SERIES[0].tolist(), [], SERIES[1].tolist()], tmp_path)
    assert column.state_B.tolist() == [0, 1, 0]
    assert not counts.broken


@pytest.mark.parametrize("cells", [
    [[0.1 * i, 0.2] for i in range(9)], [f"[{i}, 2]" for i in range(9)], [f"word {i}" for i in range(9)], [["a", "b"]] * 9, [1.5, 2.5],
    [b"\x89PNG" + bytes([i]) for i in range(9)], [{"a": i} for i in range(9)],
])  # fmt: skip
def test_vectors_and_others_are_no_sequences(cells: list[Any]) -> None:
    assert SEQUENCE.recognise(pa.chunked_array([pa.array(cells)]), NOWHERE) is None


def test_a_drawing_shows_every_value() -> None:
    svg = SEQUENCE.draw(SEQUENCE.open(npy([[0, 5.0, np.nan], [2, 5, np.nan], [1, 5, 3]]), NOWHERE))
    assert svg.count("<polyline") == 3
    assert "nan" not in svg
    assert 'points="0.0,94.0 96.0,2.0 192.0,48.0"' in svg
    assert "nan" not in SEQUENCE.draw(SEQUENCE.open(npy([[1.0]]), NOWHERE))
    assert len(SEQUENCE.draw(SEQUENCE.open(npy(np.zeros((100_000, 20))), NOWHERE))) < 40_000


def test_stretches_are_lost() -> None:
    x = np.ones((300, 2), np.float32)
    for severity in range(1, 6):
        lost = np.isnan(Sequence.corruptions["loss"](x, severity, np.random.default_rng(1)))
        assert lost[:, 0].sum() == 30 * severity
        assert (lost[:, 0] == lost[:, 1]).all()
        assert (np.diff(lost[:, 0].astype(int)) == 1).sum() + lost[0, 0] <= 3
    assert Sequence.corruptions["loss"](x[:1], 5, np.random.default_rng(0)).tolist() == [[1, 1]]
