"""Numbers and dates: every value must be one, or a gap."""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from xmodal.job import Json
from xmodal.media import Media
from xmodal.table import GAPS, Guess, distinct, text_of
from xmodal.table.reading import CLOCK, MEASURES, PADDED, SIGNS, TRUTH, century, dated

NUMERIC = re.compile(r"(?=.{1,40}$)[^A-Za-z]*[0-9][^A-Za-z]*(?:[eE][-+]?[0-9]+)?")
LIKELY: Mapping[str, Callable[[str], object]] = {"number": NUMERIC.fullmatch, "date": lambda t: dated(t) or CLOCK.fullmatch(t)}
MOSTLY = 0.9  # of the distinct cells: so many values make the others look like slips
# May be versions and ratios: 1.2.10, 0:10. A cell of a column that is surely a date, or a time of day.
DOUBTFUL = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{2}|[0-9]:[0-9]{2}")
SURE = re.compile(r"0[0-9][.:].*|.*\.0[0-9]\..*|.*[0-9]{4}.*|.*:.*:.*|.*[-/Mm].*")
UNITS = re.compile("[%‰€$£¥₩₹]")
# Decimal and thousands mark. Of two that read all cells the first is taken, and where they read them otherwise that is said.
STYLES = ((".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (",", "'"), (".", " "), (",", " "))
SENTINELS = {
    "number": {float(s + n * d) for s in ("", "-") for d in "9" for n in (2, 3, 4, 5, 6)} | {-9.0, -1.0},
    "date": {MEASURES["date"](d, {}) for d in ("1900-01-01", "1899-12-30", "1970-01-01", "1753-01-01", "0001-01-01", "9999-12-31")},
}
AGAIN = {"thousands": "thousands mark {!r}", "decimal": "decimal mark {!r}", "unit": "sign {}", "order": "{} first",
         "brackets": "(12) is -12", "since": "years of two digits from {} on", "clock": "times of day"}  # fmt: skip


def noise(x_U: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Gaussian, of up to the values' own deviation."""
    finite = x_U[np.isfinite(x_U)].clip(-1e150, 1e150)  # whose squares are finite too
    return x_U + random.normal(0, 0.2 * severity * (finite.std() if finite.size else 0), x_U.shape)


def unit(x_U: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Up to half of the values in another unit: a thousand times as large."""
    return np.where(random.random(x_U.shape) < 0.1 * severity, 1000 * x_U, x_U)


@dataclass(frozen=True)
class Measure:
    """A modality whose cells are values of a scale."""

    kind: Literal["number", "date"]
    family: ClassVar[Literal["plain"]] = "plain"

    @property
    def corruptions(self) -> Mapping[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]]:
        """Of numbers, a column at a time."""
        return {"noise": noise, "unit": unit} if self.kind == "number" else {}

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Decided from every value; what a frame calls categories is none."""
        guess = None if pa.types.is_dictionary(column.type) else self.read(column)
        return guess if guess and guess.score == 1 else None

    def read(self, column: pa.ChunkedArray, given: Mapping[str, Json] | None = None) -> Guess | None:
        """The reading that fits most values, whose share is the score. `given`: options that are not to be found."""
        cells, row = distinct(column)
        wanted: Any = (given or {}).get("gaps", list(GAPS))
        seen, gaps, strange = Counter[Any](), Counter[str](), 0
        for cell, n in zip(cells[:-1], np.bincount(row, minlength=len(cells)).tolist()[:-1], strict=True):
            text = cell.strip() if isinstance(cell, str) else text_of(cell) if isinstance(cell, datetime.time) else cell
            if (text if isinstance(text, str) else str(text_of(text))).lower() in wanted or text == "":
                gaps[str(text)] += n
            elif isinstance(text, str) or self.typed(text):
                seen[text] += n
            else:
                strange += 1
        del gaps[""]
        words = [cell for cell in seen if isinstance(cell, str)]
        likely = sum(LIKELY[self.kind](t) is not None for t in words)  # prose is spared the trials
        if given is None and (likely < MOSTLY * len(words) or (self.kind == "number" and any(map(PADDED.fullmatch, words)))):
            return None
        options, values, notes = self.form(words, given or {})
        fitting = {cell: v for cell, v in values.items() if v is not None}
        fitting |= {cell: MEASURES[self.kind](cell, {}) for cell in seen if not isinstance(cell, str)}
        shape = CLOCK.fullmatch if "clock" in options else dated
        strict = self.kind == "number" or options.keys() & {"clock", "since"}  # 1.2.10 and 0:10 may be other things than dates
        looks = len(fitting) if strict else sum(not isinstance(c, str) or bool(shape(c)) for c in seen)
        if not fitting or 2 * len(fitting) < looks:
            return None
        doubt = self.kind == "date" and given is None and not any(map(SURE.fullmatch, words))
        for example in [t for t in words if doubt and t in fitting and DOUBTFUL.fullmatch(t)][:1]:
            when = datetime.datetime.fromtimestamp(fitting[example], datetime.UTC)
            told = f"{when:%H:%M}" if "clock" in options else f"{when:%Y-%m-%d}"
            notes.append(f"{example!r} is read as {told}; --modality COL=category takes such cells for names")
        counts = Counter[float]()
        for cell, v in fitting.items():
            counts[v] += seen[cell]
        found = np.array(sorted(filter(math.isfinite, counts)))
        if len(found):
            options["range"] = [float(found[0]), float(found[-1])]
        if self.kind == "date":
            naive = sum(seen[cell] for cell in fitting if not zone(cell))
            notes += [f"{naive} of {counts.total()} times have no zone: they are read as UTC"] if 0 < naive < counts.total() else []
        for end in (found[:2], found[::-1][:2]) if len(found) > 3 else ():
            if end[0] in SENTINELS[self.kind] and abs(end[0] - end[1]) > np.ptp(found[found != end[0]]):
                names = [c if isinstance(c, str) else str(text_of(c)) for c, v in fitting.items() if v == end[0]]
                notes.append(f"{names[0]!r} in {counts[end[0]]} cells lies far from all others and is read as a value; "
                             f"--modality {f'COL={self.kind}:gaps=' + '|'.join(names)!r} reads it as a gap")  # fmt: skip
        quantity = "; each once: taken for a quantity, not an id" if counts.total() == len(row) == len(counts) else ""
        how = "".join(f"; {AGAIN[k].format(v)}" for k, v in options.items() if k in AGAIN and v and (k, v) != ("decimal", "."))
        taken = "".join(f"; {token!r} counts as a gap ({n} cells)" for token, n in gaps.items())
        keep = f" (--modality COL={self.kind}:gaps= takes none)" if gaps else ""
        reason = f"{len(fitting)} distinct {self.kind}s{how}{quantity}{taken}{keep}{''.join(f'; {n}' for n in notes)}"
        return Guess.of(looks / (len(seen) + strange), self.kind, reason, {"gaps": wanted, **options}, tuple(notes))

    def typed(self, cell: Any) -> bool:
        """Whether a cell that isn't text is one; a truth value isn't."""
        if self.kind == "date":
            return isinstance(cell, datetime.date)
        return isinstance(cell, datetime.timedelta) or (hasattr(cell, "__float__") and not isinstance(cell, bool))

    def form(self, texts: Sequence[str], given: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, float | None], list[str]]:
        """The options under which most texts are values, these values, and what to say where others would do as well."""
        forms = orders(texts)
        if "order" not in given:
            forms.append({"clock": True})
        if self.kind == "number":
            marks = {*"".join(texts).translate(SIGNS)}
            unit = next((u for u in sorted(marks) if UNITS.fullmatch(u) and all(t.count(u) == 1 for t in texts)), "")
            styles = [s for s in STYLES if s == STYLES[0] or "decimal" in given or (marks >= {*s[1]} and (s[0] == "." or marks & {*s}))]
            some = 0 < sum("(" in t for t in texts) < len(texts)  # in all they may be marks of another kind
            forms = [{"decimal": d, "thousands": t, "unit": unit} | ({"brackets": True} if some else {}) for d, t in styles]
        forms = [f for f in forms if all(f[k] == v for k, v in given.items() if k in f)] or [dict(given)]
        notes: list[str] = []
        options, values = forms[0], {t: value(self.kind, t, forms[0]) for t in texts}
        fits = sum(v is not None for v in values.values())
        for form in forms[1:]:
            other: dict[str, float | None] = {}
            for t in texts:
                other[t] = value(self.kind, t, form)
                if other[t] is None and fits == len(texts):
                    break
            count = sum(v is not None for v in other.values())
            if count > fits:
                options, values, fits, notes = form, other, count, []
            elif count == fits == len(texts) and not notes and not given.keys() & form.keys():
                key = "order" if self.kind == "date" else "decimal"
                for name in [t for t in texts if other[t] != values[t]][:1]:
                    one, two = (options[key], form[key]) if self.kind == "date" else (f"'{values[name]}'", f"'{other[name]}'")
                    notes.append(f"{name!r}, like every cell, may be read as {one} or {two}: it is read as {one}; "
                                 f"--modality COL={self.kind}:{key}={form[key]} reads it otherwise")  # fmt: skip
        if self.kind == "date" and "clock" not in options and not any((m := dated(t)) and m["a"] for t in texts):
            options = {}
        return dict(options), values, notes


def orders(texts: Sequence[str]) -> list[dict[str, Json]]:
    """The orders that dates may have, with the century of their years if those have two digits."""
    every = [m for m in map(dated, texts) if m]
    found = [m for m in every if m["a"]]
    whole = [int(year) for m in every if len(year := m["y"] or m["year"]) == 4]
    forms: list[dict[str, Json]] = []
    for order, place in {"day": "year", "month": "year", "year": "a"}.items():
        short = [int(m[place]) for m in found if len(m[place]) == 2]
        if order != "year" or (short and len(short) == len(found) and all(m["t"] != "." for m in found)):
            forms.append({"order": order, "since": century(short, whole)} if short else {"order": order})
    return forms


def zone(cell: str | datetime.date) -> object:
    """Of a date, if it has one."""
    when = dated(cell) if isinstance(cell, str) else None
    return when["zone"] if when else getattr(cell, "tzinfo", None)


def value(kind: str, text: str, options: Mapping[str, Any]) -> float | None:
    """What the text says, unless it is padded or a word."""
    try:
        return None if text.lower() in TRUTH or (kind == "number" and PADDED.fullmatch(text)) else MEASURES[kind](text, options)
    except (ValueError, OverflowError):
        return None
