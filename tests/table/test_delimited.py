"""Dialects and encodings of delimited text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodal.errors import ConfigError, TableError
from xmodal.table import read_table
from xmodal.table.delimited import read_delimited


def rows(folder: Path, content: str | bytes, name: str = "t.csv", encoding: str | None = None) -> list[dict[str, str]]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(folder / name, encoding).data.to_pylist()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("Datum;Temp;y\n1.2.2024;28,7;a\n2.2.2024;28,8;b\n", [["1.2.2024", "28,7", "a"], ["2.2.2024", "28,8", "b"]]),
        ("a\tb, c\n1\tx, y\n2\tz, w\n", [["1", "x, y"], ["2", "z, w"]]),
        ("a|b\n1|x, y\n2|z\n", [["1", "x, y"], ["2", "z"]]),
        ("price, net;y\n28,7;a\n29,1;b\n", [["28,7", "a"], ["29,1", "b"]]),
        ('a;b\n"1;2";3\n"x\ny;";4\n', [["1;2", "3"], ["x\ny;", "4"]]),
        ("sep=;\na;b\n1,2;3\n", [["1,2", "3"]]),
        ("a,b\r1,2\r3,4\r", [["1", "2"], ["3", "4"]]),
        ("word\nhello\nword\n", [["hello"], ["word"]]),  # of one column, a cell may be spelled as the header is
        ('title,y\n5" screen,a\n"7"" screen",b\n6" tall,b\n', [['5" screen', "a"], ['7" screen', "b"], ['6" tall', "b"]]),
        ('title;y\n"Great" film;a\n"so, so";b\n', [['"Great" film', "a"], ["so, so", "b"]]),
        ("pics,y\na;b;c,1\nd;e;f,2\n", [["a;b;c", "1"], ["d;e;f", "2"]]),
        ("pic\na.png;b.png\nc.png;d.png\n", [["a.png;b.png"], ["c.png;d.png"]]),
        ('a,b\n"x" ,1\n"",""\n', [["x ", "1"], ["", ""]]),
    ],
)
def test_the_dialect_is_found(tmp_path: Path, content: str, wanted: list[list[str]]) -> None:
    assert [list(r.values()) for r in rows(tmp_path, content, "t.txt")] == wanted


def test_the_separator_is_found_from_the_whole_file(tmp_path: Path) -> None:
    lines = ["1,2;x"] * 500 + ["3;y"] * 600
    assert rows(tmp_path, "a, b;c\n" + "\n".join(lines))[-1] == {"a, b": "3", "c": "y"}


@pytest.mark.parametrize("later", ["row {i},a", 'row {i},"a"', '"row {i}",a'])
def test_a_quotation_mark_that_is_never_closed_is_named_by_its_line(tmp_path: Path, later: str) -> None:
    lines = ["text,label", *(later.format(i=i) for i in range(50))]
    lines[3] = '"' + lines[3].replace('"', "")
    with pytest.raises(TableError, match=r"closing quotation mark.*opens in line 4 of .*t\.csv"):
        rows(tmp_path, "\n".join(lines))


def test_a_header_that_repeats_is_no_row_and_names_that_lack_are_given(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,,\n1,2,3\na,,\n4,5,6\n")
    table = read_table(tmp_path / "t.csv")
    assert table.data.to_pylist() == [{"a": "1", "unnamed": "2", "unnamed_2": "3"}, {"a": "4", "unnamed": "5", "unnamed_2": "6"}]
    assert "1 lines" in table.notes[0] and "repeat its header" in table.notes[0]
    assert "column 2" in table.notes[1] and "'unnamed'" in table.notes[1]
    assert read_table([{"": 1, "unnamed": 2}]).data.column_names == ["unnamed_2", "unnamed"]
    with pytest.raises(TableError, match="'a' 2 times"):
        rows(tmp_path, "a,,a\n1,2,3\n")


CELLS = st.lists(st.lists(st.text(st.sampled_from('ab"\n,;\t| ')), min_size=2, max_size=2), min_size=1, max_size=6)


@given(CELLS, st.sampled_from(",;\t|"))
def test_what_a_csv_writer_writes_is_read_back(cells: list[list[str]], separator: str) -> None:
    line = separator.join
    text = "\n".join([line(("one", "two")), *(line('"' + c.replace('"', '""') + '"' for c in row) for row in cells)])
    data, _ = read_delimited(Path("t.csv"), text.encode(), None)
    assert [list(r.values()) for r in data.to_pylist()] == cells


TEXTS = {
    "cp1252": "id,ort\n1,Zürich\n2,Köln\n3,Müller GmbH\n",
    "shift_jis": "id,n\n1,商品\n2,良い\n",
    "euc_kr": "id,n\n1,상품\n2,좋다\n",
    "euc_jp": "id,n\n1,これはテストです\n",
    "koi8_r": "id,n\n1,Москва\n2,Санкт-Петербург\n",
    "cp1251": "id,n\n1,МОСКВА\n2,привет мир\n",
    "cp1253": "id,n\n1,ΑΘΗΝΑ\n2,Πολύ καλή ταινία\n",
    "big5": "id,n\n1,台北市\n2,這是我們的\n",
    "utf-16-le": "id\tn\n1\tx\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_another_encoding_is_an_error_that_names_it_and_never_chinese(tmp_path: Path, name: str) -> None:
    content = TEXTS[name].encode(name)
    with pytest.raises(TableError, match=rf"bytes fit .*{name}.*--encoding"):
        rows(tmp_path, content)
    assert [list(r.values()) for r in rows(tmp_path, content, encoding=name)] == [list(r.values()) for r in rows(tmp_path, TEXTS[name])]


@pytest.mark.parametrize(
    "text",
    [
        "编号,城市\n1,北京\n2,上海\n",
        "商品,颜色\n衬衫,紫色\n裙子,粉色\n",
        "a,b\n1,这是一个很好的电影\n",
        "x,词\n1,螺丝\n2,性别\n3,肺炎，咳嗽三天\n4,葡萄牙语\n",
    ],
)
def test_chinese_and_marks_are_read_by_themselves(tmp_path: Path, text: str) -> None:
    wanted = rows(tmp_path, text)
    for encoding in ("gb18030", "utf-8-sig", "utf-16"):
        assert rows(tmp_path, text.encode(encoding)) == wanted
        assert rows(tmp_path, text.encode(encoding), encoding=None if encoding != "utf-16" else "cp1252") == wanted  # a mark wins


def test_utf16_of_a_spreadsheet(tmp_path: Path) -> None:
    text = "a\tlabel\r\n" + "x y\tb\r\n" * 30
    for name in ("t.txt", "t.csv"):
        for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
            assert rows(tmp_path, mark + text.encode(encoding), name) == [{"a": "x y", "label": "b"}] * 30


def test_encodings_that_are_wrong(tmp_path: Path) -> None:
    content = TEXTS["cp1252"].encode("cp1252")
    with pytest.raises(ConfigError, match="did you mean 'cp1252'"):
        rows(tmp_path, content, encoding="cp12522")
    with pytest.raises(TableError, match=r"text in ascii.*--encoding"):
        rows(tmp_path, content, encoding="ascii")
    assert rows(tmp_path, TEXTS["cp1252"], encoding="cp1252")[0]["ort"] == "Zürich"  # UTF-8 that is none by chance
