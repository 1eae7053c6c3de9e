from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.mutations import mutated
from xmodal.errors import MediaError
from xmodal.media import Caps, Media
from xmodal.modality import MODALITIES
from xmodal.modality.strokes import Drawing, Strokes, normalised

NOWHERE = Media(())
STROKES = Strokes()
L = [[[0, 0], [0, 5], [0, 10], [5, 10], [6, 11]], [[3, 1], [4, 2]]]
TIMED = [[[x, y, 7 * i] for i, (x, y) in enumerate(one)] for one in L]


def opened(data: Any, media: Media = NOWHERE) -> Drawing:
    return STROKES.open(data if isinstance(data, bytes) else json.dumps(data).encode(), media)


def omniglot(strokes: Any) -> bytes:
    return ("START\n" + "".join("".join(",".join(map(str, p)) + "\n" for p in one) + "BREAK\n" for one in strokes)).encode()


def test_every_form_is_the_same_drawing() -> None:
    want = [[*point, stroke] for stroke, one in enumerate(TIMED) for point in one]
    by_name = [{"x": [p[0] for p in one], "y": [p[1] for p in one], "t": [p[2] for p in one]} for one in TIMED]
    forms = [
        json.dumps(TIMED).encode(),
        json.dumps(by_name).encode(),
        json.dumps([list(map(list, zip(*one, strict=True))) for one in TIMED]).encode(),  # Quick Draw
        json.dumps([[dict(zip("yxt", (p[1], p[0], p[2]), strict=True)) for p in one] for one in TIMED]).encode(),
        omniglot([[[x, -y, t] for x, y, t in one] for one in TIMED]),
        omniglot([[[x, -y, t] for x, y, t in one] for one in TIMED]).replace(b"\n", b"\r\n"),
    ]
    for form in forms:
        got = opened(form).load()
        assert got.dtype == np.float64
        assert got[:, [0, 1, 2, 4]].tolist() == want, form
        assert np.isnan(got[:, 3]).all()
    assert np.isnan(opened(L).load()[:, 2:4]).all()
    pressed = opened([[[*p, 0.5] for p in one] for one in TIMED])
    assert (pressed.load()[:, 3] == 0.5).all()
    assert pressed.facts() == ["drawing", "timed", "with pressure"]


@pytest.mark.parametrize(("bad", "why"), [
    ([], "no points"), ([[]], "no points"), (b"START\nBREAK\n", "no points"), ([[1, 2], [3, 4]], "strokes"), ([1, 2, 3], "strokes"),
    ([[[1]]], "coordinates"), ([[[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]] * 3], "coordinates"), (b"START\n1,2\n3\nBREAK", "not a drawing"),
    (b"1,2\n3,4\n", "not a drawing"), (b"START\n1,2\nnan,4\nBREAK", "finite"), (b"START\n1,2\ninf,4\nBREAK", "finite"),
    (b"START\n1e308,2\n-1e308,4\nBREAK", "finite"), (b"[[[1,2],[NaN,3],[4,5],[4,6],[7,8]]]", "finite"), (b"\xff\xfeSTART", "not a drawing"),
    ([{"x": [1, 2], "z": [1, 2]}], "no x and y"), ([{"x": [1, 2], "y": [1]}], "length"), ([["a", "b"]], "strokes"),
    ([[["a", "b"], ["c", "d"]]], "not a drawing"), ([[[0, 9], [3, 4]]], "may be points or coordinates"), ("text", "strokes"),
])  # fmt: skip
def test_what_is_no_drawing_says_why(bad: Any, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        opened(bad)


def test_an_object_alone_is_a_single_stroke() -> None:
    stroke = {"x": [1, 2, 4], "y": [3, 5, 9]}
    for cells in ([stroke] * 9, [json.dumps(stroke)] * 9):
        guess = STROKES.recognise(pa.chunked_array([pa.array(cells)]), NOWHERE)
        assert guess and guess.reading.modality == "strokes"
    (file,) = {file for cell in (stroke, json.dumps(stroke), [stroke]) for file in STROKES.files(cell, NOWHERE)}
    assert STROKES.open(file, NOWHERE).load()[:, [0, 1, 4]].tolist() == [[1, 3, 0], [2, 5, 0], [4, 9, 0]]
    for other in ({"x": [1]}, {}, '{"strokes": []}'):
        with pytest.raises(MediaError):
            STROKES.files(other, NOWHERE)


def test_a_dot_and_negative_axes_are_drawings() -> None:
    assert opened([[[-3, -4]]]).facts() == ["drawing", "a dot"]
    assert normalised(opened([[[-3, -4]]]).load())[:, :2].tolist() == [[0, 0]]
    assert normalised(opened([[[-30, -4], [-10, -8], [-20, -8], [-10, -4], [-10, -4]]]).load())[:, :2].tolist() == [
        [-1, 0.2], [1, -0.2], [0, -0.2], [1, 0.2], [1, 0.2]]  # fmt: skip


@given(st.floats(0.001, 1000), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_place_and_size_do_not_count_and_the_aspect_does(size: float, right: float, down: float) -> None:
    found = opened(L).load()
    moved = found.copy()
    moved[:, :2] = found[:, :2] * size + (right, down)
    np.testing.assert_allclose(normalised(moved)[:, :2], normalised(found)[:, :2], atol=1e-6)
    assert np.ptp(normalised(found)[:, :2], 0) == pytest.approx([2 * 6 / 11, 2])


def test_more_points_than_the_cap_are_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Media((), Caps(points=6))
    with pytest.raises(MediaError, match="7 points, more than 6"):
        opened(L, few)
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail("decoded"))
    with pytest.raises(MediaError, match="more than 6 points"):
        opened(b"[[" + b"[0,0]," * 40 + b"[0,0]]]", few)


def test_a_million_points() -> None:
    with pytest.raises(MediaError, match="more than 1,000,000 points"):
        opened(b"START\n" + b"1,2,3,4,5\n" * 1_000_001)


def test_cells_are_recognised_wherever_the_drawing_stands(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    drawings = [[[[i, 0], [i, 5], [0, 10], [5, 10], [i, 11]], [[3, 1], [4, i]]] for i in range(12)]
    for i, one in enumerate(drawings):
        (tmp_path / "texts" / f"{i}.txt").write_bytes(omniglot(one))
        (tmp_path / f"{i}.json").write_text(json.dumps(one))
    by_name = [[{"x": [p[0] for p in s], "y": [p[1] for p in s]} for s in one] for one in drawings]
    columns: list[Any] = [
        [f"texts/{i}.txt" for i in range(12)], [f"{i}.json" for i in range(12)], [json.dumps(one) for one in drawings], drawings, by_name,
        [omniglot(one) for one in drawings], [omniglot(one).decode() for one in drawings], [json.dumps(one) for one in by_name],
        pd.DataFrame({"a": drawings})["a"].to_list(),
    ]  # fmt: skip
    media = Media((tmp_path,))
    for cells in columns:
        column = pa.chunked_array([pa.array(cells)])
        guess = STROKES.recognise(column, media)
        assert guess, cells[0]
        assert guess.reading.modality == "strokes"
        (file,) = STROKES.files(cells[3], media)
        assert np.abs(STROKES.open(file, media).load()[:, 1]).tolist() == [0, 5, 10, 10, 11, 1, 3]
        others = [name for name in ("image", "number", "date") if MODALITIES[name].recognise(column, media)]
        assert not others, others
    assert STROKES.files(np.array(drawings[0][:1]), media) == STROKES.files(drawings[0][:1], media)
    assert STROKES.files([], media) == STROKES.files("[]", media) == STROKES.files(None, media) == []


@pytest.mark.parametrize("cells", [
    [[0.1 * i, 0.2, 0.3] for i in range(20)], [[[0.1 * i, 0.2], [0.3, 0.4], [1.0, 2.0]] for i in range(20)],
    [f"[{i}, 2, 3]" for i in range(20)], [f"[[{i}, 2], [3, 4]]" for i in range(20)], [f"word {i}" for i in range(20)],
    [f"a long text\nof line {i}" for i in range(20)], [f'{{"x": {i}}}' for i in range(20)], [b"\x89PNG" + bytes([i]) for i in range(20)],
    [f"{i},2\n3,4" for i in range(20)], [["a", "b"] for _ in range(20)], [f"{i}.png" for i in range(20)],
])  # fmt: skip
def test_vectors_sequences_and_others_are_no_drawings(cells: list[Any]) -> None:
    assert STROKES.recognise(pa.chunked_array([pa.array(cells)]), NOWHERE) is None


@pytest.mark.parametrize("form", [json.dumps(TIMED).encode(), omniglot(TIMED * 4), json.dumps([{"x": [1, 2], "y": [3, 4]}]).encode()])
def test_fifty_mutations(form: bytes) -> None:
    for seed in range(50):
        try:
            drawing = opened(mutated(form, seed))
            assert len(drawing.load())
            STROKES.draw(drawing)
        except MediaError:
            pass


def test_svg_shows_every_stroke() -> None:
    svg = STROKES.draw(opened([*L, [[9, 9]]]))
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert svg.count("M") == 3
    assert "M9" not in STROKES.draw(opened([[[5, 5]]]))
    assert "M150 150L150 150" in STROKES.draw(opened([[[5, 5]]])), "a dot is a line of no length with round ends"


def test_corruptions_are_deterministic_and_monotone() -> None:
    angle = np.linspace(0, 6, 300)
    raw = opened([np.stack([np.cos(angle), np.sin(angle)], 1).tolist(), [[3, 1], [4, 2], [4, 4]]]).load()
    for name, corrupt in Strokes.corruptions.items():
        harm = []
        for severity in range(1, 6):
            got = corrupt(raw, severity, np.random.default_rng(0))
            assert np.array_equal(got, corrupt(raw, severity, np.random.default_rng(0)), equal_nan=True)
            assert got.shape[1] == 5
            assert len(got)
            harm.append(len(raw) - len(got) if name == "loss" else float(np.abs(got[:, :2] - raw[:, :2]).mean()))
        assert harm == sorted(harm)
        assert 0 < harm[0] < harm[-1]
        assert len(corrupt(opened([[[1, 1]]]).load(), 5, np.random.default_rng(0))) == 1
    lost = Strokes.corruptions["loss"](raw, 5, np.random.default_rng(1))
    assert abs(len(lost) - len(raw) / 2) <= 3
    lost = lost[(lost[:, :2] ** 2).sum(1) < 1.01]  # of the circle
    far = np.hypot(*np.diff(lost[:, :2], axis=0).T) > 0.1
    assert far.any()
    assert (np.diff(lost[:, 4])[far] > 0).all(), "no line crosses what is lost"


@pytest.mark.parametrize("cell", ['[{"x":[1,2],"y":[2,3]},[1,2]]', '[[{"x":1,"y":2},[3,4]]]', '[[[1,2],{"x":1,"y":1}]]'])
def test_objects_among_lists_are_no_drawing(cell):
    with pytest.raises(MediaError):
        Strokes().open(cell.encode(), Media(())).load()
