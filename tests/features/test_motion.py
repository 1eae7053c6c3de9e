from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import shift
from tests.clips import clip, moving

from xmodal.features.extractors import CLASSIC, EXTRACTORS
from xmodal.features.extractors.descriptor import Descriptor
from xmodal.features.extractors.frames import Frames
from xmodal.features.extractors.motion import Motion, around, flow, path
from xmodal.media import Media
from xmodal.modality.video import Clip, Video


def opened(frames: list[np.ndarray]) -> Clip:
    return Video().open(clip(frames, "matroska"), Media(()))


@pytest.mark.parametrize("extractor", [Motion(), Motion(frames=6), Frames(), Frames(size=32, frames=5)])
def test_outputs_are_as_announced(extractor: Motion | Frames) -> None:
    assert EXTRACTORS[extractor.name] is type(extractor)
    made = extractor.one(opened(moving("left", 0)))
    assert {n: (a.shape[1:], a.dtype, len(a)) for n, a in extractor.empty.items()} == {n: (a.shape, a.dtype, 0) for n, a in made.items()}
    assert all(np.isfinite(array).all() for array in made.values())


def test_the_middle_frame_is_described_as_a_picture() -> None:
    class Middle:
        digest = ""

        def load(self, size: int) -> np.ndarray:
            return np.asarray(made.load(size=size, frames=16)[8])

    made = opened(moving("up", 1))
    picture, found = Descriptor().one(Middle()), Motion().one(made)
    np.testing.assert_allclose(found["hog"], picture["hog"], atol=1e-3)
    np.testing.assert_array_equal(found["colour"], picture["colour"])


def test_the_path_is_the_formula() -> None:
    random = np.random.default_rng(0)
    grey = random.random((4, 16, 16)).astype(np.float32)
    mean, place, wanted = grey.mean(0), np.linspace(-1, 1, 16), list[list[float]]()
    for frame in grey:
        total = sum(abs(frame[y, x] - mean[y, x]) for y in range(16) for x in range(16))
        centre = [
            sum(abs(frame[y, x] - mean[y, x]) * place[at] for y in range(16) for x in range(16) for at in [(y, x)[i]]) for i in (0, 1)
        ]
        wanted.append([c / total for c in centre])
    np.testing.assert_allclose(path(grey), np.array(wanted).T.ravel(), atol=1e-5)
    assert not path(np.ones((4, 16, 16), np.float32)).any()


@pytest.mark.parametrize("move", [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-0.5, 1.5)])
def test_flow_is_how_far_it_moves(move: tuple[float, float]) -> None:
    """A smooth picture that moves by so many pixels a frame; flow is in tiles of 4."""
    y, x = np.mgrid[:64, :64]
    ground = (np.sin(x / 7) + np.cos(y / 6) + np.sin((x + y) / 9)).astype(np.float32) / 6 + 0.5
    grey = np.stack([shift(ground, np.array(move) * t, order=1, mode="nearest") for t in range(5)])
    found_y, found_x, change = (part.reshape(4, 4)[1:3, 1:3] for part in flow(grey))
    np.testing.assert_allclose(4 * found_y, move[0], atol=0.3)
    np.testing.assert_allclose(4 * found_x, move[1], atol=0.3)
    assert (change > 0).all()


def test_what_moves_is_seen_the_same_wherever_it_is() -> None:
    def grey(at: int) -> np.ndarray:
        frames = np.zeros((16, 64, 64), np.float32)
        for t in range(16):
            frames[t, at : at + 8, 2 + 3 * t : 8 + 3 * t] = np.arange(48).reshape(8, 6) / 48
        return frames

    first, other = around(grey(10)), around(grey(40))
    assert first.shape == (32, 32)
    assert np.array_equal(first, other) and first.max() > 0.9
    assert np.array_equal(around(np.zeros((3, 64, 64), np.float32)), np.zeros((32, 32)))


def test_direction_stands_in_the_descriptor() -> None:
    """A linear rule that was fitted on some clips holds for others."""
    made = np.stack([CLASSIC["video"].one(opened(moving(("left", "right")[i % 2], i)))["motion"] for i in range(24)])
    y = np.arange(24) % 2 - 0.5
    weight = np.linalg.lstsq(made[:16], y[:16], rcond=None)[0]
    assert ((made[16:] @ weight > 0) == (y[16:] > 0)).all()
