"""What is made of pen drawings, against plain loops."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from xmodal.features.extractors import CLASSIC, EXTRACTORS
from xmodal.features.extractors.curves import Curves, directions, path, turns
from xmodal.features.extractors.pen import Pen, pressure, resampled, speed
from xmodal.modality.strokes import Drawing, normalised

RANDOM = np.random.default_rng(0)


def drawing(*strokes: list[tuple[float, ...]]) -> Drawing:
    text = "".join("".join(",".join(map(repr, map(float, point))) + "\n" for point in one) + "BREAK\n" for one in strokes)
    return Drawing(text.encode(), 1000, "")


SQUARE = drawing([(0, 0, 0), (0, -10, 10), (10, -10, 20), (10, 0, 40)], [(5, -5, 50)], [(0, 0, 60), (10, -10, 100)])


def walked(strokes: list[np.ndarray], step: float) -> list[list[float]]:
    """Points at even distances, a stroke and a piece of it at a time."""
    out = []
    for number, one in enumerate(strokes):
        pieces = [math.dist(one[i], one[i + 1]) for i in range(len(one) - 1)]
        count = math.ceil(sum(pieces) / step)
        for k in range(count + 1):
            left, i = sum(pieces) * k / max(count, 1), 0
            while i < len(pieces) - 1 and left > pieces[i]:
                left, i = left - pieces[i], i + 1
            share = left / pieces[i] if pieces and pieces[i] else 0
            place = one[i] if not pieces else one[i] + share * (one[i + 1] - one[i])
            out.append([*place.tolist(), float(number)])
    return out


@pytest.mark.parametrize("step", [0.1, 0.37, 5.0])
def test_points_stand_at_even_distances_along_each_stroke(step: float) -> None:
    strokes = [RANDOM.normal(size=(n, 2)) for n in (7, 1, 2, 12)]
    points = np.column_stack([np.concatenate(strokes), np.zeros((22, 2)), np.repeat(range(4), (7, 1, 2, 12))])
    np.testing.assert_allclose(resampled(points, step, 10**6)[:, [0, 1, 4]], walked(strokes, step), atol=1e-9)
    assert len(resampled(points, 0.001, 50)) <= 50
    many = np.column_stack([RANDOM.normal(size=(500, 2)), np.zeros((500, 2)), np.arange(500)])
    few = resampled(many, 0.1, 50)
    assert len(few) == 50
    assert few[[0, -1]].tolist() == many[[0, -1]].tolist()


def test_lifts_speed_and_pressure() -> None:
    pen = Pen(step=0.5).one(SQUARE)["pen"]
    assert pen.dtype == np.float32
    assert np.flatnonzero(pen[:, 2]).tolist() == [12, 13, 20]  # 3 sides of length 2, a dot, a diagonal of 2.83
    speeds = [0.2] * 8 + [0.1] * 4  # the last side took twice the time; the diagonal 40
    every = np.log(speeds + [8**0.5 / 40] * 6)
    want = every - np.median(every)
    np.testing.assert_allclose(pen[[*range(1, 13), *range(15, 21)], 3], want, atol=1e-4)
    assert not pen[[0, 13, 14], 3].any(), "no speed across a lift"
    assert not pen[:, 4].any(), "no pressure is known"
    assert not speed(np.full((3, 5), np.nan)).any()
    np.testing.assert_allclose(pressure(np.array([1.0, 3, np.nan])), [-1.2247, 1.2247, 0], atol=1e-4)
    assert not pressure(np.array([2.0, 2, 2])).any()


def test_directions_are_votes_shared_by_the_nearest() -> None:
    points, grid, bins = resampled(normalised(SQUARE.load()), 0.3, 1000), 4, 6
    votes = np.zeros((grid, grid, bins))
    for a, b in pairwise(points):
        if a[4] != b[4]:
            continue
        y, x = (min(max(((a[i] + b[i]) / 2 + 1) / 2 * grid - 0.5, 0), grid - 1) for i in (1, 0))
        t = math.atan2(b[1] - a[1], b[0] - a[0]) / (2 * math.pi) * bins
        for i in range(grid):
            for j in range(grid):
                for k in range(bins):
                    round_k = abs((t - k + bins / 2) % bins - bins / 2)
                    votes[i, j, k] += math.dist(a[:2], b[:2]) * math.prod(max(1 - d, 0) for d in (abs(y - i), abs(x - j), round_k))
    np.testing.assert_allclose(directions(points, grid, bins).reshape(grid, grid, bins), np.sqrt(votes), atol=1e-6)


def test_turns_and_path() -> None:
    right = turns(normalised(drawing([(0, 0), (0, -10), (10, -10)]).load()))
    assert right.sum() == 1
    assert right.nonzero()[1].tolist() == [0], "a sharp turn to the left, seen on a screen"
    points = resampled(normalised(SQUARE.load()), 0.1, 1000)
    found = path(points, 10)
    assert found[[0, -1], :2].tolist() == points[[0, -1], :2].tolist()
    assert found[:, 2].sum() == 1 or found[:, 2].sum() == 2


@pytest.mark.parametrize("raw", [SQUARE, drawing([(3, 4)]), drawing([(3, 4), (3, 4)], [(3, 4)]), drawing([(0, 0), (1e6, 0)])])
def test_outputs_are_as_announced_and_finite(raw: Drawing) -> None:
    for extractor in (CLASSIC["strokes"], Curves(grid=4, bins=6), EXTRACTORS["pen"](), Pen(step=0.5)):
        made = extractor.one(raw)
        assert made.keys() == extractor.empty.keys()
        for name, none in extractor.empty.items():
            kept = made[name].shape[1:] if name in extractor.ragged else made[name].shape
            assert (kept, made[name].dtype) == (none.shape[1:], none.dtype)
            assert np.isfinite(made[name]).all()
            assert np.abs(made[name]).max() < 100
