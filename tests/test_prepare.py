"""Targets: how they are read, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest

from xmodal.errors import ConfigError, TargetError
from xmodal.job import Job
from xmodal.prepare import Opened, open_again, open_new
from xmodal.table import Table
from xmodal.tasks import Classify, Regress


def opened(cells: Sequence[object], kind: str | None = None, name: str = "y") -> Opened:
    table = Table(pa.table({"x": [float(i) for i in range(len(cells))], name: pa.array(cells)}), "t.csv")
    return open_new(table, Job(target=(name,), kind=kind))


def again(first: Opened, cells: Sequence[object]) -> list[object]:
    table = Table(pa.table({"y": pa.array(cells)}), "new.csv")
    return list(open_again(table, Job(target=("y",)), first.readings, first.target, first.inputs).labels.to_pylist())


def test_words_that_spell_gaps_are_classes() -> None:
    got = opened(["NA", "EU", "None", "null", ""] * 5)
    assert got.labels.to_pylist()[:5] == ["NA", "EU", "None", "null", None]
    assert any("'NA' (5 cells)" in n for n in got.notes)
    got = opened(["NA", "1"] * 10)
    assert got.labels.unique().to_pylist() == ["NA", "1"]
    assert "'NA' (10 cells) too: empty them if they mean no label" in got.notes[0]


def test_gap_words_among_numbers_are_never_guessed() -> None:
    cells = ["NA", *(f"{i}.5" for i in range(30))]
    for kind in (None, "regress"):
        with pytest.raises(TargetError, match=r"finite numbers in target 'y'; got 'NA' in row 1 of t.csv; correct or empty"):
            opened(cells, kind)


def test_numbers_of_any_spelling_are_a_target() -> None:
    got = opened([f"1.{100 + i},50" for i in range(30)] + [""])
    assert got.target.modality == "number"
    assert got.labels.to_pylist()[1] == 1101.5 and got.labels.to_pylist()[-1] is None
    assert again(got, ["1.100,50", ""]) + again(got, [1100.5, None]) == [1100.5, None] * 2
    assert any("'2.001' or '2001.0'" in n for n in opened([f"2.{i:03}" for i in range(1, 40)]).notes)


def test_a_class_has_one_name_whatever_the_file() -> None:
    for cells in (["0", "1"] * 9, ["0.0", "1.0"] * 9, [0, 1] * 9, [0.0, 1.0, None] * 9):
        got = opened(cells)
        assert got.labels.drop_null().unique().to_pylist() == ["0", "1"]
        assert again(got, ["0", "1", "", None, "1.0", " 1"]) == ["0", "1", None, None, "1", "1"]
        assert again(got, [True, False]) == ["1", "0"]
    for spelled in (["true", "false"], ["True", "False"]):
        got = opened(spelled * 9)
        assert again(got, [True, False]) == again(got, ["TRUE", "0"]) == spelled
    assert opened(["01", "1", "001"] * 5).labels.unique().to_pylist() == ["01", "1", "001"]
    big = [str(2**62 + i % 2) for i in range(8)]
    assert opened(list(map(int, big))).labels.to_pylist() == opened(big).labels.to_pylist() == big


def test_spaces_around_a_class_do_not_count_and_its_name_is_that_of_training() -> None:
    got = opened(["cat ", "dog "] * 9)
    assert got.labels.unique().to_pylist() == ["cat ", "dog "]
    assert again(got, ["cat", " dog", "bird"]) == ["cat ", "dog ", "bird"]
    got = opened(["cat ", "cat", "cat", "dog"] * 5)
    assert got.labels.unique().to_pylist() == ["cat", "dog"]
    assert any("target 'y': 'cat' and 'cat ' both occur and are one" in n for n in got.notes)


@pytest.mark.parametrize("name", ["label.x", "x=1", "fou_*", "[a]", "'q\"", "Сумки", "🙂", ""])
def test_a_target_of_any_name(name: str) -> None:
    table = Table(pa.table({name: ["yes=1", "no"] * 9, "x": list(range(18))}), "t.csv")
    got = open_new(table, Job(target=(name or "unnamed",)))
    assert got.labels.unique().to_pylist() == ["yes=1", "no"]


@pytest.mark.parametrize(("middle", "deviation"), [(1e5, 3e4), (1e6, 1e-9), (0.0, 1e-30), (1e12, 1e11)])
def test_scale_of_values_is_no_hindrance(middle: float, deviation: float) -> None:
    task = Regress("y", ())
    y = pa.array([middle + deviation * (i % 7 - 3) for i in range(70)])
    fitted = task.fit(y)
    z = fitted.encode(y)[0]
    assert abs(float(z.mean())) < 0.2 and 0.8 < float(z.std()) < 1.2
    back = fitted.unpool(z.double().numpy()[:, None])
    assert abs(back - y.to_numpy()).max() <= 0.25 * deviation


def test_a_class_that_is_the_only_one() -> None:
    with pytest.raises(TargetError, match="only 'cat '"):
        Classify("y", ()).fit(opened(["cat ", "cat"] * 9 + ["cat "]).labels)


def test_lists_as_a_target_are_labels_and_that_is_said() -> None:
    opened = open_new(Table(pa.table({"x": [1.0, 2.0, 3.0], "y": [["red"], [], ["red", "blue"]]}), "here"), Job(target=("y",)))
    assert opened.target.modality == "labels" and opened.labels.to_pylist()[2] == {"blue": True, "red": True}
    assert any("read as several labels" in note for note in opened.notes)


def test_a_target_has_no_other_role() -> None:
    with pytest.raises(ConfigError, match="no other role; got 'y'"):
        open_new(Table(pa.table({"x": [1.0, 2.0], "y": ["a", "b"]}), "here"), Job(target=("y",), id=("y",)))


def test_a_class_a_row_is_warned_of() -> None:
    table = Table(pa.table({"x": [float(i) for i in range(30)], "y": [i + 0.25 for i in range(30)]}), "here")
    notes = open_new(table, Job(target=("y",), kind="classify")).notes
    assert any("30 classes in 30 rows; --target y=regress" in note for note in notes)
