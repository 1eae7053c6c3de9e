"""Containers of tables."""

from __future__ import annotations

import json
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from xmodal.errors import MissingExtra, TableError
from xmodal.job import Job
from xmodal.media import Media
from xmodal.modality import readings
from xmodal.prepare import media_of
from xmodal.table import Reading, Table, read_table

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPE = "application/vnd.openxmlformats-"


def cell(place: str, value: str | float) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>' if isinstance(value, str) else f'<c r="{place}"><v>{value}</v></c>'


def workbook(path: Path, **sheets: list[list[str | float]]) -> Path:
    """A workbook of numbers and inline strings."""
    kind = f"{TYPE}officedocument.spreadsheetml"
    parts = {"workbook": f"{kind}.sheet.main+xml"} | {f"worksheets/sheet{i}": f"{kind}.worksheet+xml" for i in range(len(sheets))}
    types = "".join(f'<Override PartName="/xl/{part}.xml" ContentType="{of}"/>' for part, of in parts.items())
    rels = f'<Default Extension="rels" ContentType="{TYPE}package.relationships+xml"/>'
    links = "".join(f'<Relationship Id="r{i}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{i}.xml"/>' for i in range(len(sheets)))
    link = f'<Relationship Id="r" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
    names = "".join(f'<sheet name="{name}" sheetId="{i + 1}" r:id="r{i}"/>' for i, name in enumerate(sheets))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("[Content_Types].xml", f'<Types xmlns="{PACKAGE}/content-types">{rels}{types}</Types>')
        file.writestr("_rels/.rels", f'<Relationships xmlns="{PACKAGE}/relationships">{link}</Relationships>')
        file.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}/relationships">{links}</Relationships>')
        file.writestr("xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{names}</sheets></workbook>')
        for i, cells in enumerate(sheets.values()):
            rows = ["".join(cell(f"{'ABCD'[c]}{r}", v) for c, v in enumerate(row) if v != "") for r, row in enumerate(cells, 1)]
            made = "".join(f'<row r="{r}">{row}</row>' for r, row in enumerate(rows, 1))
            file.writestr(f"xl/worksheets/sheet{i}.xml", f'<worksheet xmlns="{MAIN}"><sheetData>{made}</sheetData></worksheet>')
    return path


CELLS = [["key", "n", "label"], ["007", 1, "a"], ["008", 2.5, "b"], ["009", "", "a"]]


@pytest.mark.parametrize("name", ["table.xlsx", "table.csv"])
def test_a_workbook_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = workbook(tmp_path / name, Data=CELLS, Empty=[])
    assert read_table(path).data.to_pylist() == [dict(zip(CELLS[0], (*row[:1], row[1] or None, row[2]), strict=True)) for row in CELLS[1:]]
    two = workbook(tmp_path / "two.xlsx", One=CELLS, Two=[["x"], [1]])
    with pytest.raises(TableError, match=r"one sheet; got 'One', 'Two' in .*--sheet"):
        read_table(two)
    assert read_table(two, sheet="Two").data.to_pylist() == [{"x": 1}]
    with pytest.raises(TableError, match="no sheet 'Tow' but 'One', 'Two'"):
        read_table(two, sheet="Tow")
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(MissingExtra, match=rf"{name} is an Excel workbook.*xmodal\[excel\]"):
        read_table(path)


def test_content_goes_before_the_suffix_and_stand_ins_are_named(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").data.to_pylist() == [{"a": 1}]
    for content, said in (
        (b"\x1f\x8bxx", "unpack"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com", "git lfs pull"),
    ):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(TableError, match=said):
            read_table(tmp_path / "t.csv")


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return path


def test_what_is_another_kind_of_file_is_called_by_its_name(tmp_path: Path) -> None:
    wrongs = {
        "a.csv": (b"SQLite format 3\0", "an SQLite database"), "b.csv": (b"\x89HDF\r\n", "an HDF5 file"),
        "c.csv": (b"\x80\x04\x95abc", "a pickle"), "d.csv": (b"\x89PNG\r\n\x1a\n", r"a picture \(PNG\)"), "e.csv": (b"%PDF-1.4", "a PDF"),
        "f.csv": (b"BZh91AY", "a compressed file"), "g.csv": (b"PAR1 then nothing", "a Parquet file; got a damaged one"),
        "h.parquet": (b"a,b\n1,2\n", "a Parquet file; got text in .*call it .csv"),
        "i.xlsx": (b"a;b\n1;2\n", "an Excel workbook; got text in .*call it .csv"),
        "j.arrow": (b"\1\2\0\xff", "an Arrow file; got neither that nor text"), "k.parquet": (b"", "got an empty file"),
    }  # fmt: skip
    for name, (content, said) in wrongs.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TableError, match=said) as error:
            read_table(tmp_path / name)
        assert "cells in every row" not in str(error.value)
    for name in ("l.csv", "m.xlsx"):
        with pytest.raises(TableError, match=r"a zip archive \(of 'pics/a.png', 'b.csv'\).*unpack it"):
            read_table(zipped(tmp_path / name, "pics/a.png", "b.csv"))


def test_json_lines_and_lists(tmp_path: Path) -> None:
    objects = [{"key": "007", "n": 1, "x": 1.10, "ok": True}, {"key": "008", "n": None, "big": 2**70}]
    wanted = [{"key": "007", "n": 1, "x": 1.1, "ok": True, "big": None}, {"key": "008", "n": None, "x": None, "ok": None, "big": 2**70}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, objects)) + "\n\n")
    (tmp_path / "t.json").write_text(json.dumps(objects, indent=1))
    assert read_table(tmp_path / "t.jsonl").data.to_pylist() == read_table(tmp_path / "t.json").data.to_pylist() == wanted
    for content, said in (
        ('{"a": 1}\n{"a": 2', r"""got '{"a": 2' in line 2 of .*t.jsonl, no JSON from character 8 on; write each row as {"COLUMN"""),
        ("{'a': 1}\n", "line 1 of .*no JSON from character 2 on"),
        ('{"a": 1}\n{"a": 1}{"a": 2}', "line 2 of .*from character 9 on"),
        ('[{"a": 1},\n {"a": }]', r"""'{"a": }]' in line 2 of .*from character 8 on"""),
        ('{"a": ' + "[" * 100_000, "in line 1 of .*recursion"),
        ('{"a": 1}\n3', "int as row 2 of .*t.jsonl"),
    ):
        (tmp_path / "t.jsonl").write_text(content)
        with pytest.raises(TableError, match=said):
            read_table(tmp_path / "t.jsonl")


def test_lines_of_json_in_other_encodings(tmp_path: Path) -> None:
    path, content = tmp_path / "t.jsonl", '{"a": "Zürich ist schön"}\n' * 3
    for encoding, asked in (("utf-16", None), ("utf-8-sig", None), ("cp1252", "cp1252")):
        path.write_bytes(content.encode(encoding))
        assert read_table(path, asked).data["a"].to_pylist() == ["Zürich ist schön"] * 3
    with pytest.raises(TableError, match=r"text in UTF-8; got another encoding .*cp1252.*--encoding"):
        read_table(path)


def test_a_folder_of_class_named_folders(tmp_path: Path) -> None:
    for name in ("cats/a.png", "cats/b.png", "dogs/deep/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3)).save(tmp_path / name)
    (tmp_path / "README.md").touch()
    (tmp_path / "cats" / ".hidden").touch()
    table = read_table(tmp_path)
    assert table.data.to_pylist() == [{"file": n, "label": n[:4]} for n in ("cats/a.png", "cats/b.png", "dogs/deep/c.png")]
    assert "1 files" in table.notes[0] and "left out" in table.notes[0]
    assert readings(table, Job(target=("label",)), media_of(Job(), table.source))[0]["file"].modality == "image"
    assert read_table(tmp_path / "dogs" / "deep").data.to_pylist() == [{"file": "c.png", "label": None}]  # to predict


def frames() -> dict[str, object]:
    plain = {"flag": ["x", None] * 20, "n": [1, None, 3, 4] * 10, "b": [True, False, None, True] * 10, "y": [0, 1] * 20,
             "size": ["1.50", "2.25"] * 20, "day": ["2024-01-02", "2024-02-03", None, "2024-03-04"] * 10}  # fmt: skip
    money = {**plain, "size": [Decimal(s) for s in plain["size"]]}
    nullable = pd.DataFrame({**money, "flag": pd.array(plain["flag"], "string"), "n": pd.array(plain["n"], "Int64"),
                             "b": pd.array(plain["b"], "boolean"), "y": pd.array(plain["y"], "Int64"),
                             "day": pd.to_datetime(plain["day"])})  # fmt: skip
    objects = pd.DataFrame({k: pd.Series(v, dtype=object if k != "n" else float) for k, v in money.items()}).set_axis([7] * 40)
    categories = nullable.astype({"flag": "category", "b": "category"})
    rows = [dict(zip(plain, cells, strict=True)) for cells in zip(*plain.values(), strict=True)]
    return {"nullable": nullable, "objects": objects, "categories": categories, "polars": pl.DataFrame(money),
            "arrow": pa.table(money), "columns": plain, "rows": rows, "generator": (r for r in rows)}  # fmt: skip


def test_every_container_gives_the_same_readings_and_values() -> None:
    made = {}
    for name, source in frames().items():
        table = read_table(source)
        got = readings(table, Job(target=("y",)), Media(()))[0]
        parsed = {c: r.parse(table.column(c)) for c, r in got.items()}
        options = {c: {k: v for k, v in r.options.items() if k != "spelled" or v} for c, r in got.items()}
        kinds = {c: r.modality for c, r in got.items()}
        made[name] = repr((kinds, options, {c: (v.to_pylist(), s.tolist()) for c, (v, s) in parsed.items()}))
    assert {k: v == made["nullable"] for k, v in made.items()} == dict.fromkeys(made, True)


def test_what_is_no_table() -> None:
    with pytest.raises(TableError, match="int as row 2"):
        read_table([{"a": 1}, 3])
    for wrong in (None, 5):
        with pytest.raises(TableError, match=f"rows as dicts; got {type(wrong).__name__}"):
            read_table(wrong)
    assert isinstance(read_table({"a": [1, 2]}), Table)


def test_one_row_as_a_dict_is_a_row_and_a_series_is_no_table() -> None:
    assert read_table({"x": 0.5, "word": "a"}).data.to_pylist() == [{"x": 0.5, "word": "a"}]
    assert read_table({"x": [0.5], "word": ("a",)}).data.num_rows == 1
    with pytest.raises(TableError, match="got Series"):
        read_table(pd.DataFrame({"x": [1]}).iloc[0])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no such file .*nope.csv'; check the path"):
        read_table(tmp_path / "nope.csv")


def test_what_systems_leave_in_a_folder_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("1.png", "Thumbs.db", ".DS_Store", "desktop.ini"):
        (tmp_path / "a" / name).touch()
    assert read_table(tmp_path).data.to_pylist() == [{"file": "a/1.png", "label": "a"}]


def test_numbers_in_json_are_numbers_whatever_the_marks_of_the_column(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"p": 7.125}\n')
    reading = Reading("p", "number", {"decimal": ",", "thousands": "."})
    assert reading.parse(read_table(tmp_path / "t.jsonl").data["p"])[0].to_pylist() == [7.125]
