from __future__ import annotations

import datetime
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import feather, parquet

from xmodal.errors import ConfigError, TableError
from xmodal.job import State
from xmodal.table import BOX, Reading, canonical, delimited, read_table


def csv(folder: Path, content: str | bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("block", [1000, delimited.BLOCK])
def test_line_breaks_in_quotes_at_any_block_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(delimited, "BLOCK", block)
    path = csv(tmp_path, "text,k\n" + "".join(f'"line one\nline two {k}",{k}\n' for k in range(60_000)))
    data = read_table(path).data
    assert data.num_rows == 60_000
    assert data.column("text").to_pylist() == [f"line one\nline two {k}" for k in range(60_000)]


def test_a_cell_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BLOCK", 1000)
    cell = "word\n" * 1000
    assert read_table(csv(tmp_path, f'a,b\n1,"{cell}"\n2,x\n')).data.column("b").to_pylist() == [cell, "x"]


def test_csv_cells_stay_as_they_are(tmp_path: Path) -> None:
    data = read_table(csv(tmp_path, '\ufeffa,"b\nc", lead,Сумки\r\n007,NA,"say ""hi""",\r\n1.0,null, x ,5" tall\r\n')).data
    rows = [{"a": "007", "b\nc": "NA", " lead": 'say "hi"', "Сумки": ""}, {"a": "1.0", "b\nc": "null", " lead": " x ", "Сумки": '5" tall'}]
    assert data.to_pylist() == rows
    assert read_table(csv(tmp_path, "a\n1\n\n3")).data.column("a").to_pylist() == ["1", "", "3"]  # one column: an empty line is a cell


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "header"),
        ("\n1,2\n", "header"),
        ("a,b\n", "at least one row"),
        ("a,b,a\n1,2,3\n", "'a' 2 times"),
        ("a,b\n1,2\n3,4,5\n", r"2 cells in every row.*; got 3 in row 3 of .*t.csv .*: '3,4,5'; quote cells that hold ','"),
        ('a,b\n1,"2\n3"\n4\n', r"got 1 in row 3 of .*: '4'"),
        ("Sales, 2024\n\na,b,c\n1,2,3\n4,5,6\n", r"a name for each .*; got 'Sales, 2024' in .*most lines have 3 cells; delete the lines"),
        ("Sales\n" + "a;b;c\n1,5;2;3\n" * 9, "got 'Sales' in .*most lines have 3 cells"),
        ("x y\n1 2 3\nSales\na,b\n1,2\n", r"1 cells in every row.*got 2 in row 4 .*: 'a,b'.*titles above the header"),
        ('a,b\n1,"2\n3,4\n5,6\n', "closing quotation mark"),
        ("a,b\n1,Zürich\n".encode("cp1252"), "UTF-8"),
        (b"PK\x03\x04\xff\xfe", "an Excel workbook"),
        (b"\x1f\x8b\0", "unpack"),
    ],
)
def test_csv_that_cannot_be_read(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(TableError, match=said):
        read_table(csv(tmp_path, content))


def test_files_that_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"nonsense")
    (tmp_path / "t.arrow").write_bytes(b"nonsense")
    (tmp_path / "t.xlsx").touch()
    (tmp_path / "t.sql").touch()
    for name, said in {
        "t.parquet": "parquet",
        "t.arrow": "arrow",
        "t.xlsx": "Excel workbook",
        "t.sql": "of kind",
        "none.csv": "none.csv",
    }.items():
        with pytest.raises(TableError, match=said):
            read_table(tmp_path / name)
    for empty in (pa.table({"a": pa.array([], pa.string())}), pd.DataFrame({"a": []}), []):
        with pytest.raises(TableError, match="row"):
            read_table(empty)
    with pytest.raises(TableError, match="distinct column names"):
        read_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(ConfigError, match="'label'"):
        read_table([{"label": 1}]).column("lable")


def test_every_container_is_one_table(tmp_path: Path) -> None:
    n, flag, y, when = [1, None, 3], ["x", None, "y"], [True, False, None], ["2024-01-02", None, "2024-01-03T04:05:06"]
    stamps = [None if w is None else datetime.datetime.fromisoformat(w) for w in when]
    plain = pa.table({"n": n, "flag": flag, "y": y, "when": stamps})
    parquet.write_table(plain, tmp_path / "t.parquet")
    feather.write_feather(plain, tmp_path / "t.feather")
    nullable = pd.DataFrame({"n": pd.array(n, "Int64"), "flag": pd.array(flag, "string"), "y": pd.array(y, "boolean")})
    nullable["when"] = pd.to_datetime(pd.Series(when), format="ISO8601")
    objects = pd.DataFrame({"n": [1.0, np.nan, 3.0], "flag": flag, "y": y, "when": stamps}, dtype=object)
    objects.index = [5, 5, 0]
    rows = [dict(zip(("n", "flag", "y", "when"), r, strict=True)) for r in zip(n, flag, y, when, strict=True)]
    text = csv(tmp_path, "n,flag,y,when\n1,x,True,2024-01-02\n,,False,\n3.0,y,,2024-01-03 04:05:06Z\n")
    kinds = {"n": "number", "flag": "text", "y": "category", "when": "date"}
    made = []
    for source in (plain, tmp_path / "t.parquet", str(tmp_path / "t.feather"), nullable, objects, rows, text):
        data = read_table(source).data
        made.append({c: [part.tolist() for part in map(np.asarray, Reading(c, k).parse(data.column(c)))] for c, k in kinds.items()})
    assert all(repr(m) == repr(made[0]) for m in made)
    assert made[0]["y"] == [["True", "False", None], [0, 0, 1]]
    assert made[0]["when"][0][2] == datetime.datetime(2024, 1, 3, 4, 5, 6, tzinfo=datetime.UTC).timestamp()


def test_mixed_cells_keep_their_types_and_keys_may_differ() -> None:
    data = read_table([{"a": 1, "b": b"x"}, {"a": "z", "c": 2.0}]).data
    assert data.to_pylist() == [{"a": 1, "b": b"x", "c": None}, {"a": "z", "b": None, "c": 2.0}]


def test_class_names_are_canonical() -> None:
    coded = pa.array(["0", "1", None]).dictionary_encode()
    for values in (["0", "1", ""], ["0.0", "1.00", " "], [0, 1, None], [0.0, 1.0, math.nan], coded):
        assert canonical(pa.chunked_array([values])).to_pylist() == ["0", "1", None]
    kept = ["NA", "null", "007", "1.50", "-0", "x1.0", "1.0\n", "٣.0"]
    assert canonical(pa.chunked_array([kept])).to_pylist() == kept


CELLS = st.text(alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from("0123456789.-+eE:TZ \t\u00a0")) | st.sampled_from(
    [
        "",
        " ",
        "NA",
        "nan",
        "-",
        "007",
        "1.0",
        " 1e3 ",
        "1e999",
        "-inf",
        "2024-02-30",
        "2024-01-02T03:04:05+05:30",
        "2024-01-02 03:04",
        "٣",
        "1_0",
    ]
)


@given(st.lists(st.none() | CELLS, min_size=1, max_size=8), st.sampled_from(["number", "date", "category", "text", "image"]))
def test_a_cell_alone_reads_as_in_its_column(cells: list[str | None], modality: str) -> None:
    reading = Reading("c", modality)
    values, state = reading.parse(pa.chunked_array([pa.array(cells, pa.string())]))
    for cell, value, state_of in zip(cells, values.to_pylist(), state, strict=True):
        alone, alone_state = reading.cell(cell)
        assert alone_state == state_of
        if modality != "image" or alone_state == State.PRESENT:
            assert alone == value or (alone != alone and value != value), (alone, value)


def test_states_of_numbers_and_dates() -> None:
    column = pa.chunked_array([["1.5", "NA", "", "oops", "inf", "1e999", " 2 ", None, "007"]])
    value, state = Reading("n", "number").parse(column)
    assert state.tolist() == [0, 1, 1, 2, 2, 2, 0, 1, 0]
    np.testing.assert_array_equal(value.to_numpy(), [1.5, *[np.nan] * 5, 2, np.nan, 7])
    column = pa.chunked_array([["2024-01-02", "1970-01-01T01:00:00+01:00", "null", "02/01/2024", "2024-13-01"]])
    value, state = Reading("d", "date").parse(column)
    assert state.tolist() == [0, 0, 1, 2, 2]
    assert value[1].as_py() == 0


def test_gaps_of_every_library_are_one() -> None:
    gaps = [None, math.nan, np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), ""]
    for modality in ("number", "date", "category", "text", "image"):
        assert {Reading("c", modality).cell(gap)[1] for gap in gaps} == {State.MISSING}, modality
    assert read_table([{"a": 1}, {"a": "x"}, {"a": pd.NA}]).data.column("a").to_pylist() == [1, "x", None]
    assert Reading("c", "date").cell(np.datetime64("1970-01-02")) == (86400, State.PRESENT)
    assert Reading("c", "category").cell(np.float32(2)) == ("2", State.PRESENT)


@pytest.mark.parametrize("cell", [np.zeros((4, 4, 3), np.uint8), Image.new("RGB", (4, 4)), {1, 2}, object()])
@pytest.mark.parametrize("modality", ["number", "date", "category", "text", "image"])
def test_an_object_in_a_cell_is_an_error(cell: object, modality: str) -> None:
    if isinstance(cell, (np.ndarray, Image.Image)):  # a picture, where one is wanted
        assert read_table([{"c": "one"}, {"c": cell}]).data["c"].type == BOX
        if modality == "image":
            assert Reading("c", modality).cell(cell)[0].startswith(b"\x89PNG")
            return
    else:
        with pytest.raises(TableError, match="in column 'c'"):
            read_table([{"c": "one"}, {"c": cell}])
    with pytest.raises(TableError, match=rf"a path.*{type(cell).__name__} in column 'c'.*bytes of its file"):
        Reading("c", modality).cell(cell)


def test_a_column_that_is_not_there_is_missing() -> None:
    for modality in ("number", "date", "category", "text", "image"):
        assert Reading("c", modality).parse(pa.chunked_array([pa.nulls(3)]))[1].tolist() == [1, 1, 1], modality


def test_import_brings_neither_torch_nor_sklearn() -> None:
    code = "import sys, xmodal.table, xmodal.features.worker; print({'torch', 'sklearn', 'pandas', 'pyarrow.csv'} & set(sys.modules))"
    env = {"PYTHONPATH": str(Path(delimited.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True).stdout == "set()\n"


def test_bytes_beside_names_lists_and_pictures_keep_their_kind() -> None:
    def held(*cells: object) -> list[object]:
        return read_table([{"c": cell} for cell in cells]).data["c"].to_pylist()

    file, name = {"bytes": b"x", "path": None}, {"bytes": None, "path": "22.0"}
    assert held(b"x", None) == [b"x", None]
    assert held(b"x", "22.0", None) == [file, name, None]  # Arrow would make bytes of the name
    assert held(["22.0"], [b"x"], None) == [[name], [file], None]
    assert held("22.0", [b"x", "22.0"]) == [[name], [file, name]]
    assert held(Path("22.0"), {"bytes": b"x"}) == [name, file]
    assert held(Path("22.0"), None) == ["22.0", None]
    assert held([Image.new("L", (1, 1))], [])[1] == []
    assert held("a", {"other": 1}) == ["a", {"other": 1}]
