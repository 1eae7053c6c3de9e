from __future__ import annotations

import numpy as np
import torch
from tests.doubles import pointed

from xmodal.encoders import audio as module
from xmodal.encoders.audio import HIDDEN, PACE, TOKENS, TRACT, Acoustic, parts
from xmodal.features.column import FeatureColumn
from xmodal.modality.spectrum import hertz, mel

RANDOM = np.random.default_rng(0)
BANDS = 64


def column(lengths: list[int]) -> FeatureColumn:
    values = RANDOM.normal(-5, 2, (sum(lengths), BANDS)).astype(np.float16)
    return pointed({}, {"logmel": (values, np.cumsum([0, *lengths]))}, np.arange(len(lengths)))


COLUMN = column([30, 1, 47, 8])


def encoder() -> Acoustic:
    torch.manual_seed(0)
    return Acoustic(Acoustic.fit(COLUMN, {}, 0), 16).eval()


def batch(column: FeatureColumn) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in column.take(np.arange(column.cells)).items()}


def test_four_tokens_along_the_time_whatever_the_loudness_and_the_room() -> None:
    x = batch(COLUMN)
    tokens = encoder()(x)
    assert tokens.x_BND.shape == (4, TOKENS, 16)
    assert tokens.position_BN3[0, :, 0].tolist() == [0.125, 0.375, 0.625, 0.875]
    louder = {**x, "logmel": x["logmel"].float() + 3}
    assert torch.allclose(encoder()(louder).x_BND, tokens.x_BND, atol=1e-4)
    late = {**x, "logmel": x["logmel"].float()}
    late["logmel"][2, 40:47, 20:30] += 4
    change_N = (encoder()(late).x_BND - tokens.x_BND)[2].norm(dim=1)
    assert change_N.argmax() == 3, "what is heard at the end changes the last token most"


def test_high_is_not_low() -> None:
    low, high = torch.full((2, 1, 40, BANDS), -9.0)
    low[0, 10:30, 5:15] = high[0, 10:30, 45:55] = 0
    length_U = torch.tensor([40])
    one, two = (encoder()({"logmel": x, "logmel_length": length_U}).x_BND for x in (low, high))
    assert (one - two).norm() > 0.1 * one.norm()


def test_parts_are_means_of_equal_parts() -> None:
    x_LD = RANDOM.normal(size=(11, 3))
    for length in range(1, 12):
        want = torch.nn.functional.adaptive_avg_pool1d(torch.from_numpy(x_LD[:length].T.copy())[None], TOKENS)[0].T.numpy()
        got = parts(torch.tensor([length]), 11)[0].double().numpy() @ x_LD
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_of_long_sounds_some_frames_at_a_time_are_averaged() -> None:
    long = column([1500, 1499, 7])
    fitted = Acoustic.fit(long, {}, 0)
    assert fitted.config["step"] == 3
    values, offsets = Acoustic.transform(fitted, long).ragged["logmel"]
    assert np.diff(offsets).tolist() == [500, 500, 3]
    source, old = long.ragged["logmel"]
    for cell in range(3):
        x = source[old[cell] : old[cell + 1]].astype(float)
        want = [x[i : i + 3].mean(0) for i in range(0, len(x), 3)]
        np.testing.assert_allclose(values[offsets[cell] : offsets[cell + 1]], want, atol=1e-2)
    assert Acoustic.fit(COLUMN.hidden().compact(), {}, 0).config["step"] == 1


def test_without_strength_a_view_is_the_same() -> None:
    x = batch(COLUMN)
    view = encoder().augment(x, 0.0, torch.arange(4))
    for cell, length in enumerate(x["logmel_length"].tolist()):
        assert view["logmel_length"][cell] == length
        torch.testing.assert_close(view["logmel"][cell, :length], x["logmel"][cell, :length].float(), atol=1e-4, rtol=0)


def test_a_view_has_another_pace_and_hides_some() -> None:
    x = batch(column([100] * 50))
    view = encoder().augment(x, 1.0, torch.arange(50))
    length_U = view["logmel_length"].numpy()
    assert 100 * (1 - PACE) <= length_U.min() < 90
    assert 110 < length_U.max() <= 100 * (1 + PACE)
    spread_UF = torch.stack([cell[:n].std(0) for cell, n in zip(view["logmel"], length_U.tolist(), strict=True)])
    hidden_U = (spread_UF < 1e-4).sum(1)
    assert 0 < hidden_U.max() <= HIDDEN * BANDS + 1
    assert not view["logmel"][0, length_U[0] :].any()


def test_a_longer_tract_moves_bands_as_the_mel_scale_does() -> None:
    one = encoder()
    for factor in (1 - TRACT, 1.0, 1 + TRACT):
        place_F = one.warped(torch.tensor([factor]))[0].numpy()
        centre_F = hertz(mel(np.array(8000.0)) * np.arange(1, BANDS + 1) / (BANDS + 1))
        inside = (centre_F * factor > centre_F[0]) & (centre_F * factor < centre_F[-1])
        np.testing.assert_allclose(np.interp(place_F, np.arange(BANDS), centre_F)[inside], centre_F[inside] * factor, rtol=0.02)
    assert module.between(torch.tensor([[0.0, 10.0]]), torch.tensor([[0.25, 1.0]]), 1).tolist() == [[2.5, 10.0]]
