from __future__ import annotations

import numpy as np
import torch
from torch import nn

from xmodal.encoders.sequence import Attentive, BiLstm, Recurrent

RANDOM = np.random.default_rng(0)
X_ULD, LENGTH_U = torch.from_numpy(RANDOM.normal(size=(4, 9, 6)).astype(np.float32)), torch.tensor([9, 1, 4, 7])


def test_the_bilstm_is_a_packed_one():
    torch.manual_seed(0)
    ours, theirs = BiLstm(6), nn.LSTM(6, 3, batch_first=True, bidirectional=True)
    for part, suffix in ((ours.there, ""), (ours.back, "_reverse")):
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(part, name).data = getattr(theirs, name + suffix).data.clone()
    packed = nn.utils.rnn.pack_padded_sequence(X_ULD, LENGTH_U, batch_first=True, enforce_sorted=False)
    wanted, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    got = ours(X_ULD, LENGTH_U)
    for cell, length in enumerate(LENGTH_U.tolist()):
        torch.testing.assert_close(got[cell, :length], wanted[cell, :length], atol=1e-6, rtol=1e-5)


def test_what_is_behind_a_length_never_counts():
    torch.manual_seed(0)
    ours = Attentive(6).eval()
    noisy = X_ULD.clone()
    for cell, length in enumerate(LENGTH_U.tolist()):
        noisy[cell, length:] = 1e3
    for cell, length in enumerate(LENGTH_U.tolist()):
        torch.testing.assert_close(ours(noisy, LENGTH_U)[cell, :length], ours(X_ULD, LENGTH_U)[cell, :length])
        alone = ours(X_ULD[cell : cell + 1, :length], LENGTH_U[cell : cell + 1])
        torch.testing.assert_close(alone[0], ours(X_ULD, LENGTH_U)[cell, :length], atol=1e-5, rtol=1e-4)
    turned = ours(X_ULD.flip(1)[:1], LENGTH_U[:1])
    assert not torch.allclose(turned, ours(X_ULD, LENGTH_U)[:1].flip(1), atol=1e-3), "order counts"


def test_a_long_sequence_has_some_steps_a_token_and_gaps_are_the_mean():
    from tests.doubles import pointed

    steps = RANDOM.normal(5, 2, (300, 2)).astype(np.float32)
    steps[7, 1] = np.nan
    column = pointed({"length": np.array([200, 100])}, {"steps": (steps, np.array([0, 200, 300]))}, np.arange(2))
    fitted = Recurrent.fit(column, {}, 0)
    assert fitted.config["patch"] == 4  # 200 steps by at most 64 tokens
    made, _ = Recurrent.transform(fitted, column).ragged["steps"]
    np.testing.assert_allclose(np.delete(made[:, 1], 7).mean(), 0, atol=1e-5)
    assert made[7, 1] == 0 and abs(made[:, 0].std() - 1) < 1e-4
