from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xmodal import Learner
from xmodal.errors import ConfigError, TableError
from xmodal.modality.joined import joined, sources
from xmodal.table import Reading, read_table

RANDOM = np.random.default_rng(0)
IDS = ["007", "7", "07", "a b", "01e1", "10"]
VALUES = RANDOM.normal(size=(6, 3))
MAIN = read_table({"id": IDS, "y": [*"ababab"]})
QUICK = {"training": {"folds": 2, "epochs": 2, "minimum": 1}}


def view(ids: list[Any] = IDS, **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, **{f"v{i}": VALUES[: len(ids), i] for i in range(3)}, **more})


def join(source: Any, table: Any = MAIN, ids: tuple[str, ...] = ("id",), known: Any = None) -> Any:
    return joined(table, {"v": source}, ids, known, None)


def test_rows_are_matched_by_every_byte_of_their_ids(tmp_path: Path) -> None:
    order = RANDOM.permutation(6)
    view().iloc[order].to_csv(tmp_path / "v.csv", index=False)
    view().iloc[order].to_parquet(tmp_path / "v.parquet", index=False)
    for source in (view().iloc[order], tmp_path / "v.csv", str(tmp_path / "v.parquet"), view().iloc[order].to_dict("list")):
        table = join(source)
        np.testing.assert_allclose(np.array(table.data["v"].to_pylist(), float), VALUES)
        assert table.made == {"v": ("v0", "v1", "v2")}
        assert not table.notes


def test_numbers_are_ids_too() -> None:
    main = read_table({"id": [3, 1, 2], "y": [*"aba"]})
    for ids in ([1, 2, 3], [1.0, 2.0, 3.0], ["1", "2", "3"]):
        np.testing.assert_allclose(join(view(ids), main).data["v"].to_pylist(), VALUES[[2, 0, 1]])
    two = read_table({"id": ["a", "a", "b"], "t": [1, 2, 1], "y": [*"aba"]})
    table = join(view(["b", "a", "a"], t=[1, 2, 1]), two, ("id", "t"))
    np.testing.assert_allclose(table.data["v"].to_pylist(), VALUES[[2, 1, 0]])


def test_rows_without_a_partner_are_counted() -> None:
    table = join(view(["7", "10", "unknown", "else", ""]))
    assert [v is None for v in table.data["v"].to_pylist()] == [True, False, True, True, True, False]
    assert table.notes == ("joined 'v': 4 of 6 rows have no row in the frame, of whose rows 3 are not used",)
    with pytest.raises(TableError, match="none of 2 in the frame: 'x' there, '007' here"):
        join(view(["x", "y"]))
    with pytest.raises(TableError, match="none of 2 in the frame: none there, '007' here"):
        join(view(["", None]))
    known = {"v": Reading("v", "vector", {"width": 3, "columns": ["v0", "v1", "v2"]})}
    assert join(view(["x", "y"]), known=known).data["v"].null_count == 6, "no error where a model reads"


def test_an_id_twice_is_an_error_that_names_both_rows() -> None:
    with pytest.raises(TableError, match="'7' in rows 2 and 4 of the frame"):
        join(view(["007", "7", "07", "7"]))
    with pytest.raises(TableError, match="'a', '1' in rows 1 and 3"):
        join(view(["a", "b", "a"], t=[1, 1, 1]), read_table({"id": ["a"], "t": [1]}), ("id", "t"))
    main = read_table({"id": ["7", "7", "10"], "y": [*"aba"]})
    assert join(view(["7", "10"]), main).data["v"].to_pylist()[0] == join(view(["7", "10"]), main).data["v"].to_pylist()[1]


def test_the_ids_must_be_named_and_there() -> None:
    for ids in ((), ("y",), ("key",)):
        with pytest.raises(ConfigError, match="--id columns that both tables have"):
            join(view(), ids=ids)


def test_columns_of_words_are_left_out_and_said() -> None:
    table = join(view(word=[*"abcdef"], code=["01", "02", "03", "04", "05", "06"], price=["1.5", "2.5", "", "1.0", "0.2", "9.9"]))
    assert table.made["v"] == ("v0", "v1", "v2", "price")
    assert table.notes == ("joined 'v': columns of no numbers are left out: 'word', 'code'",)
    assert table.data["v"].to_pylist()[2][3] == ""
    with pytest.raises(TableError, match="decimal commas and points in the frame"):
        join(view(price=["1,5", "2,5", "", "1,0", "0,2", "9,9"]))
    with pytest.raises(TableError, match="columns of numbers"):
        join(pd.DataFrame({"id": IDS, "w": [*"abcdef"]}))


def test_a_model_finds_the_columns_of_its_fit_again() -> None:
    known = {"v": Reading("v", "vector", {"width": 3, "columns": ["v2", "v0", "v1"]})}
    np.testing.assert_allclose(join(view(new=range(6)), known=known).data["v"].to_pylist(), VALUES[:, [2, 0, 1]])
    table = join(view().drop(columns="v0"), known=known)
    assert table.data["v"].to_pylist()[0][1] is None
    assert table.notes == ("joined 'v': 1 columns are not in the frame, 'v0' for one: their numbers count as missing",)
    other = joined(MAIN, {"w": view()}, ("id",), known, None)
    assert "w" not in other.data.column_names
    assert "joined 'w' is no input of the model" in other.notes[0]


def test_arrays_are_joined_by_their_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VALUES.astype(np.float32))
    for source in (VALUES, tmp_path / "v.npy", str(tmp_path / "v.npy")):
        np.testing.assert_allclose(join(source, ids=()).data["v"].to_pylist(), VALUES, rtol=1e-6)
    np.save(tmp_path / "short.npy", VALUES[:5])
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}] * 6, object), allow_pickle=True)
    np.save(tmp_path / "flat.npy", VALUES[:, 0])
    (tmp_path / "cut.npy").write_bytes((tmp_path / "v.npy").read_bytes()[:-9])
    for name, said in (
        ("short", r"numbers of shape \(6, width\).*shape \(5, 3\)"),
        ("pickled", "pickled"),
        ("flat", "shape"),
        ("cut", "cut off"),
    ):
        with pytest.raises(TableError, match=said):
            join(tmp_path / f"{name}.npy", ids=())
    with pytest.raises(TableError):
        join(tmp_path / "gone.npy", ids=())


def test_what_is_joined_has_a_name_of_its_own() -> None:
    assert sources(["d/fou.csv", "fac.npy"], {}, ["id"]) == {"fou": "d/fou.csv", "fac": "fac.npy"}
    assert sources(["d/fou.csv"], {"x": VALUES}, ["id", "fou"]) == {"fou.csv": "d/fou.csv", "x": VALUES}
    assert list(sources(["a/v.csv", "b/v.parquet"], {}, [])) == ["v", "v.parquet"]
    for files, given, columns in (["a/v.csv", "b/v.csv", "c/v.csv"], {}, []), ([], {"id": VALUES}, ["id"]):
        with pytest.raises(ConfigError, match="a joined table of a new name"):
            sources(files, given, columns)


def test_padded_ids_join_by_what_stands_there(tmp_path: Path) -> None:
    """C02: 007 is a name, in both tables, in a path, and in what is written."""
    names = [f"{i:03}" for i in range(7, 47)]
    (tmp_path / "pics").mkdir()
    for i, name in enumerate(names):
        Image.new("RGB", (8, 8), (250, 0, 0) if i % 2 else (0, 0, 250)).save(tmp_path / "pics" / name, "PNG")
    pd.DataFrame({"img": names, "y": ["ab"[i % 2] for i in range(40)]}).to_csv(tmp_path / "main.csv", index=False)
    pd.DataFrame({"img": names[::-1], "n": range(40)}).to_csv(tmp_path / "view.csv", index=False)
    learner = Learner(target="y", id="img", join=[tmp_path / "view.csv"], media_root=[tmp_path / "pics"], **QUICK)
    table = learner.read(tmp_path / "main.csv", new=True)
    assert table.data["view"].to_pylist() == [[str(39 - i)] for i in range(40)]
    assert table.data["img"].to_pylist() == names
    assert not table.notes
    pd.DataFrame({"img": [str(int(n)) for n in names], "n": range(40)}).to_csv(tmp_path / "view.csv", index=False)
    with pytest.raises(TableError, match="'7' there, '007' here"):
        learner.read(tmp_path / "main.csv", new=True)


def test_names_with_dots(tmp_path: Path) -> None:
    """C18: a joined table whose name is that of a column, or has a dot."""
    label = np.arange(40) % 2
    main = pd.DataFrame({"id": range(40), "a.b": RANDOM.normal(size=40), "a": RANDOM.normal(size=40), "y": [*"pq"] * 20})
    main.to_csv(tmp_path / "main.csv", index=False)
    for stem in ("a.b", "c.d"):
        pd.DataFrame({"id": range(40), "x.y": RANDOM.normal(size=40) + 4 * label, "=": 1.0}).to_csv(tmp_path / f"{stem}.csv", index=False)
    learner = Learner(target="y", id="id", join=[tmp_path / "a.b.csv", tmp_path / "c.d.csv"], **QUICK).fit(tmp_path / "main.csv")
    names = {i.name: i.modality for i in learner.model.answer.inputs.values()}
    assert names == {"a.b.csv": "vector", "c.d": "vector", "table": "table"}
    assert len({*learner.model.answer.inputs}) == 3
    learner.save(tmp_path / "m")
    again = Learner.load(tmp_path / "m")
    again.join = {"a.b.csv": tmp_path / "a.b.csv", "c.d": tmp_path / "c.d.csv"}
    np.testing.assert_array_equal(again.predict_proba(tmp_path / "main.csv"), learner.predict_proba(tmp_path / "main.csv"))
    assert '"c.d"' in json.dumps(learner.report)
