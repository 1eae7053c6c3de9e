from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from xmodal.features.extractors import CLASSIC, EXTRACTORS
from xmodal.features.extractors.audio import LogMel, Mfcc, slopes
from xmodal.media import Media
from xmodal.modality.audio import SECONDS, Audio, Sound
from xmodal.modality.spectrum import log_mel


def opened(x: np.ndarray, rate: int = 16_000) -> Sound:
    soundfile.write(file := io.BytesIO(), x, rate, format="WAV")
    return Audio().open(file.getvalue(), Media(()))


X = np.random.default_rng(0).normal(0, 0.1, 9000) * np.linspace(0, 1, 9000) ** 4


def test_coefficients_are_the_formula() -> None:
    sound = opened(X)
    x_LF = log_mel(sound.load(), 40).astype(float)
    x_LF = np.maximum(x_LF, x_LF.max() - 8.0)
    count, basis = len(x_LF), np.array([[np.cos(np.pi * k * (2 * f + 1) / 80) for f in range(40)] for k in range(13)])
    c_LK = x_LF @ basis.T * np.sqrt(2 / 40)
    c_LK[:, 0] /= np.sqrt(2)
    slope_LK = np.array([np.polyfit(range(-2, 3), [c_LK[min(max(i + d, 0), count - 1)] for d in range(-2, 3)], 1)[0] for i in range(count)])
    got = Mfcc().one(sound)
    want = np.concatenate([c_LK.mean(0), c_LK.std(0), slope_LK.mean(0), slope_LK.std(0), [np.log(count)]])
    np.testing.assert_allclose(got["mfcc"], want, atol=2e-3)
    for i in range(10):
        part = c_LK[i * count // 10 : -(-(i + 1) * count // 10)].mean(0) - c_LK.mean(0)
        np.testing.assert_allclose(got["mfcc_course"][13 * i : 13 * (i + 1)], part, atol=2e-3)
    np.testing.assert_allclose(slopes(c_LK), slope_LK, atol=1e-9)


@pytest.mark.parametrize("seconds", [0.001, 0.02, 1, SECONDS + 1])
def test_shapes_are_those_of_the_empty_ones(seconds: float) -> None:
    sound = opened(np.resize(X, max(int(8000 * seconds), 1)), 8000)
    for extractor in (LogMel(), Mfcc()):
        for name, array in extractor.one(sound).items():
            assert array.dtype == extractor.empty[name].dtype
            assert array.shape[name in extractor.ragged :] == extractor.empty[name].shape[1:]
            assert np.isfinite(array).all()
    frames = LogMel().one(sound)["logmel"]
    assert len(frames) == 1 + max(0, (len(sound.load()) - 400) // 160)
    assert len(frames) <= 100 * SECONDS
    assert Mfcc().one(sound)["unread"].tolist() == pytest.approx(
        [len(sound.load()) / 16_000 + (seconds > SECONDS), float(seconds > SECONDS)]
    )


def test_registered() -> None:
    assert EXTRACTORS["logmel"] is LogMel
    assert isinstance(CLASSIC["audio"], Mfcc)
