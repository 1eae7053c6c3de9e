"""One door for text, and drawings whose every point is on the paper."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xmodal.report.html import LINES, WIDTH, Html, chart, cut, span, table, tag, ticks

NUMBERS = st.floats(-1e9, 1e9, allow_nan=False)
DATA = table("t", ("a",), [])


@given(NUMBERS, st.floats(1e-6, 1e9))
@example(-476543289.9453174, 1e-06)  # apart by rounding alone
def test_ticks_are_few_and_inside(low, more):
    low, high = span([low, low + more])
    found = ticks(low, high)
    assert 1 <= len(found) <= 6 and all(low - 1e-6 * (high - low) <= t <= high + 1e-6 * (high - low) for t in found)


@given(st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5), min_size=1, max_size=5))
def test_every_point_is_on_the_paper(lines):
    shown = chart("title", "about", "axis", lines, DATA)
    dots = re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', shown)
    ends = [p.split(",") for points in re.findall(r'points="([^"]*)"', shown) for p in points.split()]
    assert len(dots) == sum(len(one) == 1 for one in lines) and len(dots) + len(ends) == sum(map(len, lines))
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= 220 for x, y in [*dots, *ends])


def test_names_stand_beside_their_marks():
    shown = chart("title", "about", "axis", [[(0.5, 0.0)], [(0.4, -1.0)], [(0.3, -1.0), (0.6, -1.0)]], DATA, ["first", "<second>"])
    place = {name: float(y) - 4 for y, name in re.findall(r'y="([\d.]+)" text-anchor="end">([^<]*)<', shown)}
    dots = [float(y) for y in re.findall(r'cy="([\d.]+)"', shown)]
    assert list(place) == ["first", "&lt;second&gt;"] and list(place.values()) == pytest.approx(dots)


def test_a_long_table_says_how_much_is_left_out():
    assert "and 7 more, in report.json" in table("t", ("a", "b"), [(i, i) for i in range(LINES + 7)])


@given(st.text(), st.text())
def test_the_door_lets_no_markup_in(text, value):
    shown = tag("p", text, tag("b", text), title=value)
    assert shown.count("<") == 4 and shown.count('"') == 2


def test_only_elements_pass_as_they_are():
    assert tag("p", Html("<i></i>"), "<i>", 3, class_="x", aria_label='"') == '<p class="x" aria-label="&quot;"><i></i>&lt;i&gt;3</p>'
    assert tag("img", alt="") == '<img alt="">'


@pytest.mark.parametrize(("text", "most", "shown"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("", 3, "")])
def test_cut(text, most, shown):
    assert cut(text, most) == shown
