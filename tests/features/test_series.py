import math

import numpy as np

from xmodal.features.extractors.series import SEGMENTS, Steps, Summary, summary_size


class Series:
    digest = ""

    def __init__(self, x_TD: np.ndarray) -> None:
        self.x_TD = x_TD

    def load(self) -> np.ndarray:
        return self.x_TD


def test_statistics_by_plain_loops():
    x_TD = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    x_TD[4, 1] = np.nan
    made = Summary().one(Series(x_TD))
    assert len(made["summary"]) == summary_size(3) and made["width"] == 3 and made["gaps"] == 1 and made["length"] == 11
    for d in range(3):
        told = [float(v) for v in x_TD[:, d] if not math.isnan(v)]
        mean = sum(told) / len(told)
        wanted = [mean, math.sqrt(sum((v - mean) ** 2 for v in told) / len(told)), min(told), max(told), told[0], told[-1]]
        np.testing.assert_allclose(made["summary"][d : 6 * 3 : 3], wanted, rtol=1e-5)
        segments = made["summary"][7 * 3 + d : -1 : 3]
        cuts = [3, 3, 3, 2]  # 11 steps in 4 parts, the larger ones first
        starts = np.cumsum([0, *cuts])
        parts = [np.nanmean(x_TD[a : a + n, d]) for a, n in zip(starts, cuts, strict=False)]
        np.testing.assert_allclose(segments, parts, rtol=1e-5)
        assert len(segments) == SEGMENTS
    assert math.isclose(made["summary"][-1], math.log(12), rel_tol=1e-6)


def test_of_a_long_series_the_first_and_the_last_steps_are_read():
    x_TD = np.arange(10_000, dtype=np.float32).reshape(5000, 2)
    made = Steps(most=100).one(Series(x_TD))
    kept = made["steps"].reshape(-1, 2)
    np.testing.assert_array_equal(kept, np.concatenate([x_TD[:50], x_TD[-50:]]))
    assert made["length"] == 5000
