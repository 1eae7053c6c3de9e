"""Numbers and dates as people write them; categories as they spell them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodal.errors import ConfigError
from xmodal.job import Job, State
from xmodal.media import Media
from xmodal.modality import readings
from xmodal.table import Reading, Table

NOWHERE = Media(())


def read(cells: Sequence[object], asked: str | None = None) -> tuple[Reading, list[float], list[str]]:
    """The reading of a column, its values, and what is said of it."""
    table = Table(pa.table({"c": pa.array(cells), "more": [f"{i % 7}" for i in range(len(cells))]}), "t.csv")
    found, said = readings(table, Job(use=("c", "more"), modality={"c": asked} if asked else {}), NOWHERE)
    return found["c"], found["c"].parse(table.column("c"))[0].to_pylist(), [s for s in said if "'c'" in s]


NUMBERS = [1234.5, -2.25, 1234567.0, 0.5, 12.0]
SPELLED = {
    "1,234.50 -2.25 1,234,567.00 0.5 12": ("number", ".", ","),
    "1.234,50 -2,25 1.234.567,00 0,5 12": ("number", ",", "."),
    "1234,50 -2,25 1234567,00 0,5 12": ("number", ",", ""),
    "1'234.50 -2.25 1'234'567.00 .5 +12": ("number", ".", "'"),
    "1\u00a0234,50 \u22122,25 1\u202f234\u202f567 0,5 12": ("number", ",", " "),
}


@pytest.mark.parametrize("text", SPELLED)
def test_marks_of_numbers(text: str) -> None:
    got, values, said = read(text.split(" ") * 2)
    assert (got.modality, got.options["decimal"], got.options["thousands"]) == SPELLED[text]
    assert values == NUMBERS * 2
    assert not said


@pytest.mark.parametrize(("cells", "value", "other", "asked"), [
    (["1,234", "5,678", "12"], 1234, 1.234, "decimal=,"), (["1.234", "5.678", "12"], 1.234, 1234, "decimal=,"),
])  # fmt: skip
def test_marks_that_may_be_either_are_said_with_the_option_that_sets_them(cells: list[str], value: float, other: float, asked: str) -> None:
    got, values, said = read(cells * 3)
    assert values[0] == value
    assert f"--modality c=number:{asked} reads it otherwise" in said[0]
    assert said[0].split(": ", 1)[1] in got.reason
    got, values, said = read(cells * 3, f"number:{asked}")
    assert values[0] == other
    assert got.reason.startswith("asked for by --modality")
    assert not said
    for clear in (["1,234", "5,6"], ["1,234,567", "1"], ["0,123", "1,234"], ["1.234", "5.67"]):
        assert not read(clear * 3)[2], clear


def test_signs_are_one_for_a_column_or_it_is_no_number() -> None:
    for cells, wanted in ((["12 %", "5%"], [12, 5]), (["€ 1,50", "2 €"], [1.5, 2]), (["-$1,234.5", "$2"], [-1234.5, 2])):
        assert read(cells * 3)[1][:2] == wanted, cells
    for cells in (["12 %", "0.5"], ["$1", "€2"], ["5 kg", "3 kg"]):
        assert read(cells * 3)[0].modality == "category", cells
    got = read(["12 %", "5%"] * 3)[0]
    assert [got.cell(c)[1] for c in ("7", 7, "7 %", "7 $", "%")] == [0, 0, 0, 2, 2]


@pytest.mark.parametrize(
    "form", ["{}年{}月{}日", "{}年{:02}月{:02}号", "{}년 {}월 {}일", "{}/{}/{}", "{}.{:02}.{:02}", "{}-{:02}-{:02} 00:00"]
)
def test_dates_of_east_asia_are_dates(form: str) -> None:
    days = [datetime.date(2023, 5, 7), datetime.date(1999, 12, 31), datetime.date(2024, 2, 29)]
    got, values, said = read([form.format(d.year, d.month, d.day) for d in days] * 9)
    wanted = [datetime.datetime(d.year, d.month, d.day, tzinfo=datetime.UTC).timestamp() for d in days]
    assert (got.modality, values[:3], said) == ("date", wanted, [])
    for strange in ("2023年5月", "2023年5-7日", "2023-5月7", "2023年13月1日", "2023/5/7日"):
        assert got.cell(strange)[1] == State.BROKEN


@pytest.mark.parametrize("form", ["%d %b %Y", "%d-%B-%Y", "%b %d, %Y", "%B. %d %Y", "%d-%b-%y", "%d %b %Y 00:00"])
def test_months_in_english_words_make_dates(form: str) -> None:
    days = [datetime.date(2023, 5, 7), datetime.date(1999, 12, 31), datetime.date(2024, 2, 29), datetime.date(2024, 9, 1)]
    words = [d.strftime(form).lstrip("0") for d in days]
    wanted = [datetime.datetime(d.year, d.month, d.day, tzinfo=datetime.UTC).timestamp() for d in days]
    for spelled in (words, [w.upper() for w in words]):
        got, values, said = read(spelled * 9)
        assert (got.modality, values[:4], said) == ("date", wanted, [])
    for strange in ("31 Feb 2024", "Mayor 1 2024", "Jan 2024", "1 Janu 2024", "May I, 2024"):
        assert got.cell(strange)[1] == State.BROKEN


def test_padded_cells_and_slips_make_names_and_slips_are_said() -> None:
    assert read(["01", "1", "001"] * 3)[0].modality == "category"
    got, _, said = read([str(i) for i in range(40)] + ["oops"])
    assert got.modality != "number"
    assert "98% of its different cells are numbers" in said[0] and "--modality c=number" in said[0]
    got, values, said = read([str(i) for i in range(40)] + ["oops"], "number")
    assert math.isnan(values[-1]) and got.cell("oops")[1] == 2


def test_gap_tokens_are_counted_and_the_option_changes_them() -> None:
    cells = ["NA", "?", "-", "", " ", "1.5", "2", "NA"]
    got, values, _ = read(cells)
    assert np.isnan(values).tolist() == [True] * 5 + [False, False, True]
    assert "'NA' counts as a gap (2 cells); '?' counts as a gap (1 cells)" in got.reason
    assert "--modality c=number:gaps= takes none" in got.reason
    assert read(cells, "number:gaps=")[0].cell("NA")[1] == 2
    got, _, said = read(["NA", "EU", "None", "null", ""] * 5)
    assert [got.cell(c)[1] for c in ("NA", "None", "null", "", "  ")] == [0, 0, 0, 1, 1]
    assert "'NA' (5 cells)" in said[0] and "--modality 'c=category:gaps=NA|None|null'" in said[0]
    got = read(["NA", "EU", "None", "null", ""] * 5, "category:gaps=NA|null")[0]
    assert [got.cell(c)[1] for c in ("NA", "None", "null", "")] == [1, 0, 1, 1]


def test_sentinels_are_said_and_stay() -> None:
    for cells, name in (
        ([-999.0, -999.0, *range(30)], "-999"), (["9999", *map(str, range(30))], "9999"),
        (["1900-01-01"] + [f"2020-01-{d:02}" for d in range(1, 29)], "1900-01-01"),
    ):  # fmt: skip
        got, values, said = read(cells)
        assert not np.isnan(values).any()
        assert f"{name!r} in " in said[0] and f":gaps={name}' reads it as a gap" in said[0]
        assert np.isnan(read(cells, f"{got.modality}:gaps={name}")[1]).sum() == sum(str(c).startswith(name) for c in cells)
    assert not read([99, *range(60, 99)])[2]  # an age
    got, values, _ = read(["0000-00-00", "2024-02-30", "2024-13-01"] + [f"2020-01-{d:02}" for d in range(1, 29)])
    assert np.isnan(values[:3]).all()
    assert got.parse(pa.chunked_array([["0000-00-00"]]))[1].tolist() == [2]  # unreadable, which names its row


def utc(*parts: int) -> float:
    return datetime.datetime(*parts, tzinfo=datetime.UTC).timestamp()  # type: ignore[misc,arg-type]


def test_one_order_of_day_and_month_from_all_cells() -> None:
    early = [f"{1 + i % 12:02}/{1 + i % 11:02}/2021" for i in range(999)]
    got, values, said = read([*early, "13/04/2021"])
    assert got.options["order"] == "day" and values[-1] == utc(2021, 4, 13) and values[1] == utc(2021, 2, 2) and not said
    assert values[11] == utc(2021, 1, 12)
    got, values, said = read([*early, "04/13/2021"])
    assert got.options["order"] == "month" and values[11] == utc(2021, 12, 1) and not said
    got, values, said = read(early)
    assert got.options["order"] == "day" and "--modality c=date:order=month" in said[0]
    assert Reading(**vars(got)).cell("02/03/2021")[0] == utc(2021, 3, 2)  # of one row, as of the column
    assert read(early, "date:order=month")[1][11] == utc(2021, 12, 1)
    assert read([*early, "13/04/2021", "04/13/2021", "14/04/2021"])[0].cell("04/13/2021")[1] == 2  # as most cells have it
    assert not read([e.replace("/", ".") for e in early])[2]


def test_dates_in_many_forms() -> None:
    cells = {"2024-03-01": (2024, 3, 1), "2024/3/1": (2024, 3, 1), "2024-03-01 04:05": (2024, 3, 1, 4, 5), "1.3.2024": (2024, 3, 1),
             "2024-03-01T04:05:06.5Z": (2024, 3, 1, 4, 5, 6, 500_000), "2024-03-01T04:05+05:30": (2024, 2, 29, 22, 35),
             "01.03.2024 11:30 PM": (2024, 3, 1, 23, 30), "1.3.2024 12:00 am": (2024, 3, 1)}  # fmt: skip
    assert read(list(cells) * 2)[1] == [utc(*parts) for parts in cells.values()] * 2


@pytest.mark.parametrize("cells", [
    ["09:41", "23:59:07", "0:00", "12:30:00.5"], ["9:41 AM", "11:59:07 pm", "12:00 am", "12:30:00.5 PM"],
    [datetime.time(9, 41), datetime.time(23, 59, 7), datetime.time(), datetime.time(12, 30, 0, 500_000)],
])  # fmt: skip
def test_times_of_day_are_dates_of_one_day(cells: list[object]) -> None:
    got, values, said = read([*cells, None])
    assert got.modality == "date" and not said and "times of day" in got.reason
    assert values[:4] == [9 * 3600 + 41 * 60, 23 * 3600 + 59 * 60 + 7, 0, 12 * 3600 + 30 * 60 + 0.5] and math.isnan(values[4])
    for again in ("09:41", "9:41:00 AM", datetime.time(9, 41)):
        assert Reading(**vars(got)).cell(again) == (values[0], State.PRESENT)
    assert {got.cell(wrong)[1] for wrong in ("24:00", "2024-01-01 09:41", datetime.datetime(2024, 1, 1), "9:61")} == {State.BROKEN}  # noqa: DTZ001


def test_times_beside_dates_are_no_dates() -> None:
    got, _, said = read([*(f"2024-01-{i:02}" for i in range(1, 31)), "09:41", "10:00"])
    assert got.modality != "date" and "94% of its different cells are dates, but not all" in said[0]
    assert read([f"{i:02}:30+02:00" for i in range(24)])[1][3] == 90 * 60
    got, _, said = read([f"{h}:{m}" for h in range(30, 60) for m in (10, 20)])  # durations, in one of two units
    assert got.modality != "date" and "durations in seconds" in said[0]


@given(st.integers(1930, 2029), st.lists(st.integers(0, 49), min_size=1, max_size=20), st.sampled_from(["day", "month", "year"]))
def test_years_of_two_digits_stand_together(first: int, more: list[int], order: str) -> None:
    more = [i for i in more if first + i <= 2049]
    dates = [datetime.date(first + i, m, d) for i in (0, *more) for m, d in ((3, 14), (12, 30))]
    form = {"day": "%d/%m/%y", "month": "%m/%d/%y", "year": "%y-%m-%d"}[order]
    got, values, said = read([d.strftime(form) for d in dates], f"date:order={order}")
    assert values == [utc(d.year, d.month, d.day) for d in dates] and not said
    assert got.options["order"] == order and got.cell(dates[0].strftime(form))[0] == values[0]


def test_births_stand_in_the_last_century_and_beside_whole_years_in_theirs() -> None:
    births = [f"{d:02}/03/{year % 100:02}" for year in range(1925, 2000) for d in (14, 27)]
    _, values, said = read(births)
    assert values[::2] == [utc(year, 3, 14) for year in range(1925, 2000)] and not said
    _, values, _ = read([*(f"14/03/{y}" for y in range(1830, 1880)), "14/03/55"])
    assert values[-1] == utc(1855, 3, 14)


def test_versions_and_ratios_are_no_dates_or_it_is_said() -> None:
    versions = [f"{a}.{b}.{c}" for a in range(1, 5) for b in range(3) for c in range(8, 12)]
    assert read(versions)[0].modality != "date"  # 1.0.8 is none
    got, _, said = read([v for v in versions if ".0." not in v and len(v) > 5])
    assert got.modality == "date" and "is read as 2010-01-01; --modality" in said[0]
    got, _, said = read(["0:10", "1:30", "2:05"] * 9)
    assert got.modality == "date" and "'0:10' is read as 00:10" in said[0]
    got, _, said = read(["0:10", "31:30", "2:05"] * 9)
    assert got.modality == "category"


def test_years_of_two_digits_need_no_option() -> None:
    got, values, said = read([f"{m}/{d}/24" for m in (3, 12) for d in range(1, 28)] + ["3/14/2023"])
    assert (got.options["order"], values[-1], values[0]) == ("month", utc(2023, 3, 14), utc(2024, 3, 1)) and not said
    assert got.cell("1/31/19")[0] == utc(2019, 1, 31) and "years of two digits from 1974 on" in got.reason
    assert "may be read as day or year" in read([f"{d}-03-{d + 2}" for d in range(10, 28)])[2][0]
    assert not read([f"{d}.03.{d + 2}" for d in range(10, 28)])[2]  # dots: the year is last
    assert read([f"3/{d}/2024" for d in range(10, 28)])[0].cell("3/14/24")[1] == State.BROKEN


def test_brackets_are_less_than_nothing_beside_other_numbers() -> None:
    for cells in (
        ["(12)", "(1,234.50)", "7", "1,000"],
        ["($12)", "$(1,234.50)", "$7", "$1,000"],
        ["(12%)", "(1,234.50)%", "7 %", "1,000%"],
    ):
        got, values, said = read(cells * 2)
        assert values[:4] == [-12, -1234.5, 7, 1000] and "(12) is -12" in got.reason and not said
    assert got.cell("(7)%")[0] == -7 and got.cell("(-7)%")[1] == got.cell("((7))%")[1] == got.cell("()%")[1] == State.BROKEN
    assert read(["(1)", "(2)", "(3)"] * 9)[0].modality == "category"
    assert read(["1", "2", "3"] * 9)[0].cell("(3)")[1] == State.BROKEN


def test_spans_of_time_are_seconds() -> None:
    got, values, _ = read([datetime.timedelta(minutes=i % 9, milliseconds=i) for i in range(40)])
    assert got.modality == "number" and values[11] == pytest.approx(120.011)


def test_quantities_in_no_known_form_are_said() -> None:
    assert "digits and marks" in read([f"{i}-{i + 10}" for i in range(40)])[2][0]
    job, table = Job(), Table(pa.table({"c": [f"{'$€'[i % 2]}{i}.50" for i in range(40)], "more": ["a", "b"] * 20}), "t.csv")
    assert "digits and marks" in readings(table, job, NOWHERE)[1][0]  # also where all are distinct, and so left out
    assert not read([f"{i:03}" for i in range(40)])[2] and not read(["1-2", "3-4"] * 30)[2]


def test_zones() -> None:
    cells = ["2024-03-31T01:30:00+01:00", "2024-03-31T00:30:00Z", "2024-03-31T00:30:00", "2024-03-31 02:30+02:00", ""] * 4
    _, values, said = read(cells)
    assert set(values[:4]) == {utc(2024, 3, 31, 0, 30)} and math.isnan(values[4])
    assert "4 of 16 times have no zone: they are read as UTC" in said[0]
    naive = pa.array(["2024-03-31T01:30:00", None]).cast(pa.timestamp("ns"))
    aware = naive.cast(pa.timestamp("ns", "Europe/Rome"))
    assert Reading("c", "date").parse(pa.chunked_array([aware]))[0][0].as_py() == utc(2024, 3, 31, 1, 30)
    assert Reading("c", "date").parse(pa.chunked_array([naive]))[0][0].as_py() == utc(2024, 3, 31, 1, 30)


def test_names_with_spaces_and_truth_values() -> None:
    got, values, said = read(["cat", "cat ", " dog", "dog"] * 4)
    assert values[:4] == ["cat", "cat", "dog", "dog"]
    assert "'cat' and 'cat ' both occur and are one" in said[0]
    got, values, _ = read(["true", "True", "FALSE", ""] * 4)
    assert values[0] == values[1] and values[3] is None
    for same in (("True", "true", "TRUE", True, 1, "1", 1.0), ("False", "false", False, 0, "0")):
        assert len({got.cell(c)[0] for c in same}) == 1
    assert read(["true", "maybe", "false"] * 4)[0].cell("True")[0] == "True"  # no column of truth values


def test_a_column_that_varies_by_rounding_alone_is_left_out() -> None:
    noise = [5 + (i % 3) * 1e-13 for i in range(40)]
    table = Table(pa.table({"flat": noise, "x": list(range(40))}), "t.csv")
    assert "flat" in readings(table, Job(), NOWHERE)[1][0]


@pytest.mark.parametrize(("wrong", "said"), [
    ("number:decimals=,", "did you mean 'decimal'"), ("number:decimal=;x", "'.', ','"), ("date:order=week", "'day', 'month', 'year'"),
    ("text:order=day", "'gaps'"), ("nummer", "did you mean 'number'"),
])  # fmt: skip
def test_options_of_a_reading_that_are_wrong(wrong: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(["1", "2"], wrong)


STYLES = st.sampled_from([(".", ""), (".", ","), (",", "."), (",", ""), (".", "'"), (",", " ")])


@given(st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=20, unique=True), STYLES)
def test_a_number_is_the_same_in_every_spelling(cents: list[int], style: tuple[str, str]) -> None:
    plain = [f"{c / 100:,.2f}" for c in cents]
    swap = str.maketrans({",": style[1], ".": style[0]})
    _, values, said = read([p.translate(swap) for p in plain])
    assert values == [float(p.replace(",", "")) for p in plain]
    assert not said or "far from" in said[0]


def test_a_missing_text_is_no_word() -> None:
    cells = ["one of many words", None, "", "   ", "null", "\t"] + [f"some other words, {i} of them" for i in range(60)]
    got, values, _ = read(cells)
    assert got.modality == "text"
    assert [got.cell(c)[1] for c in cells[:6]] == [0, 1, 1, 1, 0, 1]
    assert values[1:6] == [None, None, None, "null", None]
    assert "2 cells of spaces alone count as empty" in got.reason
