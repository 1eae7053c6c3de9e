"""Spectra of sounds. T samples · L frames · F bands."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

RATE = 16_000  # samples a second
WINDOW, HOP, LENGTH = 400, 160, 512  # samples: 25 ms, 10 ms, and what the Fourier transform is padded to
RANGE = 8.0  # below a sound's loudest, in logarithms of energy (35 dB): what is softer is taken for noise
FLOOR = 1e-9  # of energy: about that of 16-bit rounding


def mel(hertz: np.ndarray) -> np.ndarray:
    """O'Shaughnessy (1987): 2595 log10(1 + f / 700)."""
    return np.asarray(2595 * np.log10(1 + hertz / 700))


def hertz(mels: np.ndarray) -> np.ndarray:
    """Inverse of `mel`."""
    return np.asarray(700 * (10 ** (mels / 2595) - 1))


@lru_cache(maxsize=4)
def filters(bands: int) -> np.ndarray:
    """Triangles of height 1, equally wide in mel, from 0 Hz to half the rate: float32 [LENGTH / 2 + 1, F]."""
    edge = hertz(np.linspace(0, mel(np.array(RATE / 2)), bands + 2))
    at = np.arange(LENGTH // 2 + 1)[:, None] * RATE / LENGTH
    rise, fall = (at - edge[:-2]) / (edge[1:-1] - edge[:-2]), (edge[2:] - at) / (edge[2:] - edge[1:-1])
    return np.asarray(np.maximum(np.minimum(rise, fall), 0), np.float32)


def log_mel(x_T: np.ndarray, bands: int) -> np.ndarray:
    """Logarithms of the energy in mel bands, of a sound at 16 kHz: float32 [L, F]; of one shorter than a window, one frame."""
    padded = np.pad(x_T, (0, max(WINDOW - len(x_T), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    energy = np.abs(np.fft.rfft(frames, LENGTH)) ** 2 / WINDOW
    return np.asarray(np.log(energy @ filters(bands) + np.float32(FLOOR)))
