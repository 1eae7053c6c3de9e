"""HTML by one door: whatever is no element made here is text, and escaped; and one kind of drawing, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

WIDTH = 340  # of a drawing; its units are pixels on a phone
LINES = 150  # of a table
Line = Sequence[tuple[float, float]]


class Html(str):
    """Elements. What isn't one is escaped by `tag`."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. `class_` is class, `aria_label` is aria-label."""
    inner = "".join(c if isinstance(c, Html) else escape(str(c)) for c in children)
    said = "".join(f' {k.strip("_").replace("_", "-")}="{escape(str(v))}"' for k, v in attributes.items())
    return Html(f"<{name}{said}>" if name in ("img", "meta") else f"<{name}{said}>{inner}</{name}>")


def table(caption: str, header: Sequence[object], lines: Iterable[Sequence[object]]) -> Html:
    """The first cell heads its line. It scrolls by itself where it is wider than the page, by keyboard too."""
    every = list(lines)
    every = every[:LINES] + [(f"and {len(every) - LINES} more, in report.json",)] * (len(every) > LINES)
    cells = [[c if isinstance(c, Html) and c.startswith("<td") else tag("td", c) for c in line[1:]] for line in every]
    body = [tag("tr", tag("th", line[0], scope="row"), *rest) for line, rest in zip(every, cells, strict=True)]
    head = tag("thead", tag("tr", *(tag("th", h, scope="col") for h in header)))
    whole = tag("table", tag("caption", caption), head, tag("tbody", *body))
    return tag("div", whole, class_="wide", role="group", aria_label=caption, tabindex=0)


def cut(text: object, most: int) -> str:
    """At most so many characters."""
    return str(text) if len(str(text)) <= most else f"{str(text)[: most - 1]}…"


def number(value: float | None, sign: str = "") -> str:
    """A figure; a dash for none."""
    return "–" if value is None else f"{value:{sign}.4g}"


def ranged(value: float | None, ci95: Sequence[float | None] | None, sign: str = "") -> str:
    """A figure with its interval."""
    low, high = ci95 or (None, None)
    return number(value, sign) if value is None else f"{number(value, sign)} [{number(low, sign)}, {number(high, sign)}]"


def ticks(low: float, high: float) -> list[float]:
    """About four round numbers from `low` to `high`."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if step * m * 4 >= high - low)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def span(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the greatest, and a little more."""
    low, high = min(values), max(values)
    apart = high - low > max(1e-9 * max(abs(low), abs(high)), 1e-300)  # else all are one, but for rounding
    more = (high - low) * 0.04 if apart else max(abs(low), 1.0) * 0.1
    return low - more, high + more


def chart(title: str, about: str, axis: str, lines: Sequence[Line], data: Html, names: Sequence[str] = ()) -> Html:
    """Lines through points, dots where there is one, and the same numbers as a table. `names` stand at the left, at 0, -1, …
    where else the scale does. The line that `about` calls grey comes first."""
    height, left = (20 * len(names) + 46, 126) if names else (220, 46)
    points = [point for line in lines for point in line]
    (x0, x1), (y0, y1) = span([x for x, _ in points]), (0.6 - len(names), 0.6) if names else span([y for _, y in points])

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - x0) / (x1 - x0) * (WIDTH - 10 - left), (y - y0) / (y1 - y0) * (height - 42)
        return round(left + across, 1), round(height - 34 - up, 1)

    body = [tag("text", cut(axis, 45), x=(left + WIDTH - 10) / 2, y=height - 5, text_anchor="middle")]
    for tick in ticks(x0, x1):
        x, y = at(tick, y0)
        body += [tag("path", d=f"M{x} 8V{y}", class_="a"), tag("text", number(tick), x=x, y=y + 14, text_anchor="middle")]
    for tick, name in [(-float(i), cut(n, 19)) for i, n in enumerate(names)] or [(t, number(t)) for t in ticks(y0, y1)]:
        x, y = at(x0, tick)
        body += [tag("path", d=f"M{x} {y}H{WIDTH - 10}", class_="a"), tag("text", name, x=x - 6, y=y + 4, text_anchor="end")]
    for i, line in enumerate(lines):
        places, kind = [at(*point) for point in line], "a" if i == 0 and "grey" in about else "l"
        if len(places) == 1:
            body.append(tag("circle", cx=places[0][0], cy=places[0][1], r=4, class_="d"))
        else:
            body.append(tag("polyline", points=" ".join(f"{x},{y}" for x, y in places), class_=kind))
    drawn = tag("svg", tag("title", title), tag("desc", about), *body, viewBox=f"0 0 {WIDTH} {height}", role="img")
    more = tag("details", tag("summary", f"{title}: as a table"), data, **({"open": ""} if names else {}))
    return tag("figure", tag("figcaption", tag("strong", title), ": ", about), drawn, more)
