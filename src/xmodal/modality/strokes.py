"""Pen drawings: strokes of points, as text of `x,y[,time[,pressure]]` lines between START and BREAK (Omniglot's form), or as JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from xmodal.errors import MediaError
from xmodal.job import Json
from xmodal.media import Cell, Media, Raw, attempt, shown
from xmodal.modality.files import NONE, SAMPLE, Corruption, Files

NAMES = (("x",), ("y",), ("t", "time", "timestamp"), ("p", "pressure", "force"))  # of a point's coordinates
DO = "give strokes of [x, y], [x, y, time] or [x, y, time, pressure], or {x: […], y: […]}"
MOST = 20_000  # strokes of a drawing: each costs some microseconds
WIDTH = 300  # of what is drawn, in pixels
CANONICAL = b"xmodal strokes 1\n"  # then [P, 5], as `Drawing.load` gives them, float64
Stroke = np.ndarray  # [n, 4]: x, y, time, pressure; NaN where not given


class Drawing:
    """One opened drawing. Raises MediaError for what is none, holds no point, or more than `cap`."""

    def __init__(self, data: bytes, cap: int, name: str, form: str | None = None) -> None:
        self.data, self.name = data, name
        if data.count(b",") > 4 * cap:  # a point has no more commas in any form, so nothing larger is ever decoded
            raise MediaError(f"more than {cap:,} points", name, "thin it out")
        try:
            if data.startswith(CANONICAL):
                points_P5 = np.frombuffer(data[len(CANONICAL) :], "<f8").reshape(-1, 5)
                strokes = np.split(points_P5[:, :4], np.flatnonzero(np.diff(points_P5[:, 4])) + 1)
            elif b"START" in data or b"BREAK" in data:
                strokes = [one for one in lines(data) if len(one)]
            else:
                strokes = of_json(json.loads(data), form)
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as e:
            raise MediaError(f"not a drawing: {e}", name, DO) from e
        self.strokes = strokes
        count = sum(map(len, strokes))
        if not 0 < count <= cap:
            raise MediaError(f"{count:,} points, more than {cap:,}" if count else "no points", name, "thin it out" if count else "")
        with np.errstate(over="ignore", invalid="ignore"):
            if not np.isfinite(np.ptp(np.concatenate(strokes)[:, :2], 0)).all():
                raise MediaError("coordinates that are not finite", name, "remove these points")

    @property
    def canonical(self) -> bytes:
        """The same for the same drawing, in whatever form it was written."""
        return CANONICAL + (self.load() + 0.0).astype("<f8").tobytes()

    @cached_property
    def digest(self) -> str:
        """blake2b-128 of the bytes."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    def load(self) -> np.ndarray:
        """float64 [P, 5]: x, y (down, as on a screen), time, pressure (NaN where not given), number of the stroke."""
        stroke_P = np.repeat(np.arange(len(self.strokes)), list(map(len, self.strokes)))
        return np.column_stack([np.concatenate(self.strokes), stroke_P])

    def facts(self) -> list[str]:
        """For counts: whether it is a single point, and what there is besides places."""
        points_P5 = self.load()
        told = {"timed": ~np.isnan(points_P5[:, 2]).all(), "with pressure": ~np.isnan(points_P5[:, 3]).all(), "a dot": len(points_P5) == 1}
        return ["drawing", *(name for name, true in told.items() if true)]


def lines(data: bytes) -> list[Stroke]:
    """Omniglot's form (Lake et al. 2015), whose y points up. Raises ValueError."""
    strokes: list[list[list[float]]] = [[]]
    few(data.count(b"BREAK"))
    for line in data.decode().split("\n"):
        if line.strip() in ("START", "BREAK"):
            strokes.append([])
        elif line.strip():
            strokes[-1].append([float(value) for value in line.split(",")])
    return [points(one) * (1, -1, 1, 1) for one in strokes if one]


def few(strokes: int) -> None:
    """Raises ValueError for more than MOST."""
    if strokes > MOST:
        raise ValueError(f"more than {MOST:,} strokes")


def of_json(found: Any, form: str | None) -> list[Stroke]:
    """Strokes of points `[x, y, …]` or `{x, y, …}`, or of coordinates: `{x: […], y: […], …}` or `[[x, …], [y, …], …]` (Quick Draw).
    `form`: of lists, else the one that they have. Raises ValueError or TypeError."""
    found = [found] if isinstance(found, Mapping) else found  # a single stroke
    if not isinstance(found, list) or not all(isinstance(one, (list, Mapping)) for one in found):
        raise ValueError("no list of strokes")
    few(len(found))
    if any(isinstance(one, Mapping) for one in found):
        return [named(one) for one in found]
    strokes = [one for one in found if one]
    if any(isinstance(point, Mapping) for one in strokes for point in one):
        return [np.concatenate([named({name: [value] for name, value in point.items()}) for point in one]) for one in strokes]
    if not all(isinstance(point, list) for one in strokes for point in one):
        raise ValueError("no list of strokes of points")
    known = [form] if form else forms(strokes)
    if strokes and len(known) == 2:
        raise ValueError(f"{strokes[0]} may be points or coordinates")
    return [FORMS[known[0] if known else "points"](one) for one in strokes]


def forms(strokes: Any) -> list[str]:
    """Of which forms lists of lists of lists may be; none for other drawings."""
    lists = isinstance(strokes, list) and all(isinstance(one, list) and all(isinstance(p, list) for p in one) for one in strokes)
    lists = lists and any(strokes) and len(strokes) <= MOST
    return [name for name, form in FORMS.items() if fits(form, [one for one in strokes if one])] if lists else []


def fits(form: Callable[[Any], Stroke], strokes: Sequence[Any]) -> bool:
    """Whether all strokes are of this form; time does not run back."""
    try:
        return all((np.diff(form(one)[:, 2]) >= 0).all() or np.isnan(form(one)[:, 2]).all() for one in strokes)
    except (ValueError, TypeError):
        return False


def points(rows: Any) -> Stroke:
    """Of 2 to 4 coordinates a point."""
    found = np.array(rows, np.float64)
    if found.ndim != 2 or not 2 <= found.shape[1] <= 4:
        raise ValueError("a point has 2 to 4 coordinates")
    return np.pad(found, ((0, 0), (0, 4 - found.shape[1])), constant_values=np.nan)


def coordinates(columns: Any) -> Stroke:
    """Of a list of each coordinate."""
    if len({*map(len, columns)}) != 1:
        raise ValueError("the lists of x and of y differ in length")
    return points(np.array(columns, np.float64).T)


def named(stroke: Any) -> Stroke:
    """Of a list of each coordinate by its name."""
    held = [next((stroke[name] for name in names if stroke.get(name) is not None), None) for names in NAMES]
    if held[0] is None or held[1] is None:
        raise ValueError(f"no x and y but {', '.join(map(str, stroke))}")
    return coordinates([np.full(len(held[0]), np.nan) if values is None else values for values in held])


FORMS: Mapping[str, Callable[[Any], Stroke]] = {"points": points, "coordinates": coordinates}  # of a stroke that is a list of lists


class Strokes(Files):
    """Cells are drawings: paths, bytes, JSON, and nested lists."""

    kind: ClassVar[str] = "strokes"
    bounded: ClassVar[bool] = True
    noun: ClassVar[str] = "pen drawings"
    suffixes: ClassVar[tuple[str, ...]] = ()

    def files(self, cell: Cell, media: Media, options: Mapping[str, Json] = NONE) -> list[str | bytes]:
        """The drawings of a cell, each in its canonical form; what is none among several stays as it is, for `open` to say why. Raises
        MediaError."""
        found = self.found(cell, media, options)
        held = [attempt(self.open, file, media, options.get("form")) for file in found]
        if len(held) == 1 and isinstance(held[0], MediaError):
            raise held[0]
        return [file if isinstance(one, MediaError) else one.canonical for file, one in zip(found, held, strict=True)]

    def found(self, cell: Cell, media: Media, options: Mapping[str, Json]) -> list[str | bytes]:
        """The same as they are written; a drawing in the cell itself is one file. Raises MediaError."""
        if isinstance(cell, str) and (cell.lstrip().startswith(("[", "{")) or "\n" in cell.strip()):
            return [cell.encode(errors="replace")] if cell.strip() != "[]" else []
        parts = [cell] if isinstance(cell, Mapping) else cell
        if isinstance(parts, (list, tuple, np.ndarray)) and not all(isinstance(one, (str, bytes)) or held_file(one) for one in parts):
            return [json.dumps(cell, default=np.ndarray.tolist).encode()]
        return super().files(cell, media, options)

    def open(self, cell: Cell, media: Media, form: str | None = None) -> Drawing:
        """Raises MediaError for what is no drawing, or one of too many points."""
        with media.open(cell) as file:
            return Drawing(file.read(), media.caps.points, shown(cell), form)

    def written(self, cells: Iterable[Cell], media: Media, options: Mapping[str, Json]) -> tuple[dict[str, Json], tuple[str, ...]]:
        """The form of strokes of most drawings that can have only one. If each of the first may have both, all the others are looked at;
        if they may too, their strokes are taken for points, and that is said."""
        told, doubtful = Counter[str](), False
        for place, cell in enumerate(cells):
            if place >= SAMPLE and (told or not doubtful):
                break
            files = attempt(self.found, cell, media, options)
            for file in [] if isinstance(files, MediaError) else files:
                may = self.may_be(file, media)
                told.update(may if len(may) == 1 else ())
                doubtful |= len(may) == 2
        if told or not doubtful:
            return ({"form": told.most_common(1)[0][0]} if told else {}), ()
        note = "each stroke of each drawing may be a list of points or of coordinates: they are read as points"
        return {"form": "points"}, (f"{note}; --modality COL=strokes:form=coordinates reads them otherwise",)

    def may_be(self, file: str | bytes, media: Media) -> list[str]:
        """Of which forms its strokes may be."""
        with contextlib.suppress(MediaError, ValueError, RecursionError), media.open(file) as opened:
            data = opened.read()
            return forms(json.loads(data)) if data.count(b",") <= 4 * media.caps.points else []
        return []

    def draw(self, raw: Raw) -> str:
        """Its strokes as SVG."""
        points_P5 = normalised(raw.load())
        at_P2 = np.round((points_P5[:, :2] + 1.1) * (WIDTH / 2.2), 1)
        parts = np.split(at_P2, np.flatnonzero(np.diff(points_P5[:, 4])) + 1)
        d = "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in part[[*range(len(part)), -1]]) for part in parts)
        style = 'fill="none" stroke="black" stroke-width="4" stroke-linecap="round" stroke-linejoin="round"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {WIDTH}"><path {style} d="{d}"/></svg>'


def held_file(cell: Any) -> bool:
    """Whether it is a file as Hugging Face's data sets hold it."""
    return isinstance(cell, Mapping) and cell.keys() <= {"bytes", "path"}


def normalised(points_P5: np.ndarray) -> np.ndarray:
    """The box of the points centred, its larger side -1 to 1."""
    low, high = points_P5[:, :2].min(0), points_P5[:, :2].max(0)
    place_P2 = (points_P5[:, :2] - (low / 2 + high / 2)) / (max((high - low).max() / 2, np.finfo(float).tiny))
    return np.column_stack([place_P2, points_P5[:, 2:]])


def jitter(points_P5: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Every point moves by 1 % (severity 1) to 5 % of the larger side."""
    side = np.ptp(points_P5[:, :2], 0).max()
    noise_P2 = random.normal(size=(len(points_P5), 2)) * (0.01 * severity * side)
    return np.column_stack([points_P5[:, :2] + noise_P2, points_P5[:, 2:]])


def loss(points_P5: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A tenth (severity 1) to half of the points are gone, in three stretches; what was joined there is not any more."""
    count = len(points_P5)
    each = int(count * 0.1 * severity / 3)
    free = np.sort(random.integers(0, count - 3 * each + 1, 3)) + each * np.arange(3)  # starts that never overlap
    gone_P = np.zeros(count, bool)
    gone_P[(free[:, None] + np.arange(each)).ravel()] = True
    lifted_P = np.cumsum(np.diff(gone_P, prepend=gone_P[:1]) & ~gone_P)
    return np.column_stack([points_P5[:, :4], points_P5[:, 4] + lifted_P])[~gone_P]


Strokes.corruptions: Mapping[str, Corruption] = {"jitter": jitter, "loss": loss}  # type: ignore[misc]
