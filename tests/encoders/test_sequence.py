from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xmodal.encoders.sequence import PLACES, Attentive, BiLstm, Recurrent, Transformer, in_order
from xmodal.features.column import FeatureColumn
from xmodal.job import State

RANDOM = np.random.default_rng(0)
LENGTH = torch.tensor([7, 1, 4, 0, 6])
X = torch.from_numpy(RANDOM.normal(size=(5, 7, 6)).astype(np.float32))


def column(lengths: list[int], width: int = 2, whole: list[int] | None = None) -> FeatureColumn:
    ends = np.cumsum([0, *lengths])
    steps = RANDOM.normal(size=(ends[-1], width)).astype(np.float32) * [3, 0.01][:width] + [5, -1][:width]
    state_B = np.full(len(lengths), State.PRESENT, np.int8)
    return FeatureColumn({"length": np.array(whole or lengths)}, {"steps": (steps, ends)}, np.arange(len(lengths))[:, None], state_B)


def behind(x: Tensor, length: Tensor, value: float) -> Tensor:
    """The same, with something else behind each length."""
    return torch.where((torch.arange(x.shape[1]) < length[:, None])[..., None], x, value)


def test_it_is_torchs_bidirectional_lstm_over_packed_cells() -> None:
    torch.manual_seed(0)
    mine, theirs = BiLstm(6), nn.LSTM(6, 3, batch_first=True, bidirectional=True)
    for name, weight in theirs.named_parameters():
        one = mine.back if name.endswith("_reverse") else mine.there
        dict(one.named_parameters())[name.removesuffix("_reverse")].data = weight.data
    some = LENGTH > 0
    packed = nn.utils.rnn.pack_padded_sequence(X[some], LENGTH[some], batch_first=True, enforce_sorted=False)
    want = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True, total_length=7)[0]
    got = mine(X, LENGTH)[some]
    torch.testing.assert_close(behind(got, LENGTH[some], 0.0), want)


@pytest.mark.parametrize("kind", [BiLstm, Attentive])
def test_padding_never_counts(kind: Any) -> None:
    torch.manual_seed(0)
    reader = kind(6).eval()
    want = behind(reader(X, LENGTH), LENGTH, 0.0)
    for value in (0.0, 1e4):
        torch.testing.assert_close(behind(reader(behind(X, LENGTH, value), LENGTH), LENGTH, 0.0), want)
    for u, length in enumerate(LENGTH.tolist()):
        if length:
            torch.testing.assert_close(reader(X[u : u + 1, :length], LENGTH[u : u + 1])[0], want[u, :length], atol=1e-5, rtol=1e-5)
    turned = reader(X.flip(1), torch.full((5,), 7))
    assert not torch.allclose(turned.mean(1), reader(X, torch.full((5,), 7)).mean(1), atol=1e-3), "the order counts"


def test_an_odd_width_has_places_too() -> None:
    torch.manual_seed(0)
    assert BiLstm(7)(torch.zeros(2, 3, 7), torch.tensor([3, 1])).shape == (2, 3, 7)


def test_standardised_as_a_loop_over_all_steps() -> None:
    some = column([5, 1, 9])
    steps, ends = some.ragged["steps"]
    steps[3, 0] = np.nan
    fitted = Recurrent.fit(some, {}, 0)
    told = [[v for v in x.tolist() if v == v] for x in steps.T.astype(float)]
    mean, deviation = [sum(v) / len(v) for v in told], [np.std(v) for v in told]
    got, got_ends = Recurrent.transform(fitted, some).ragged["steps"]
    want = [[0 if v != v else (v - m) / s for v, m, s in zip(step, mean, deviation, strict=True)] for step in steps.astype(float).tolist()]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert got_ends.tolist() == ends.tolist()
    assert got[3, 0] == 0, "a gap is the mean"


def test_values_that_never_change_or_are_never_told_say_nothing() -> None:
    some = column([5, 3])
    steps = some.ragged["steps"][0]
    steps[:, 0], steps[:, 1] = 1e6, np.nan
    got = Recurrent.transform(Recurrent.fit(some, {}, 0), some).ragged["steps"][0]
    assert not got.any()
    none = some.hidden().compact()
    fitted = Recurrent.fit(none, {}, 0)
    assert np.isfinite(Recurrent.transform(fitted, some).ragged["steps"][0]).all()


@pytest.mark.parametrize(("longest", "step"), [(1, 1), (64, 1), (65, 2), (1000, 16), (4096, 64)])
def test_the_longest_training_sequence_has_64_tokens_at_most(longest: int, step: int) -> None:
    some = column([3, longest])
    fitted = Recurrent.fit(some, {}, 0)
    assert fitted.config["patch"] == step
    torch.manual_seed(0)
    steps, ends = Recurrent.transform(fitted, some).ragged["steps"]
    padded = torch.zeros(2, max(3, longest), 2)
    for u in (0, 1):
        padded[u, : ends[u + 1] - ends[u]] = torch.from_numpy(steps[ends[u] : ends[u + 1]])
    for kind in (Recurrent, Transformer):
        tokens = kind(fitted, 16).eval()({"steps": padded, "steps_length": torch.tensor([3, longest])})
        assert tokens.mask_BN.sum(1).tolist() == [-(-3 // step), -(-longest // step)]
        assert tokens.mask_BN.shape[1] <= PLACES
        place = tokens.position_BN3[1, : tokens.mask_BN[1].sum(), 0]
        assert place.tolist() == [step * i for i in range(len(place))]


def test_how_much_was_left_out() -> None:
    some = column([5, 8], whole=[5, 20])
    assert Recurrent.transform(Recurrent.fit(some, {}, 0), some).dense["unread"].tolist() == [[5, 0], [20, 12]]


def test_positions_are_so_many_steps_apart() -> None:
    tokens = in_order(torch.zeros(2, 3, 4), torch.tensor([3, 2]), 5)
    assert tokens.position_BN3[0].tolist() == [[0, 0, 0], [5, 0, 0], [10, 0, 0]]
    assert tokens.mask_BN.tolist() == [[True] * 3, [True, True, False]]


def test_views_are_larger_or_smaller_by_a_tenth_at_most() -> None:
    encoder = Recurrent(Recurrent.fit(column([4, 4]), {}, 0), 16)
    x = {"steps": torch.ones(200, 4, 2), "steps_length": torch.full((200,), 4)}
    gain = encoder.augment(x, 1.0, torch.arange(200))["steps"]
    assert (gain == gain[:, :1, :1]).all()
    assert 0.9 <= gain.min() < 0.92
    assert 1.08 < gain.max() <= 1.1
    assert torch.equal(encoder.augment(x, 0.0, torch.arange(200))["steps"], x["steps"])


def test_it_learns_what_only_the_order_tells() -> None:
    """Rising or falling series of the same values."""
    order = np.sort(RANDOM.normal(size=(60, 12, 1)), 1).astype(np.float32)
    y = torch.arange(60) % 2
    steps = torch.from_numpy(np.where((np.arange(60) % 2)[:, None, None], order, order[:, ::-1]))
    some = FeatureColumn(
        {"length": np.full(60, 12)}, {"steps": (order.reshape(-1, 1), 12 * np.arange(61))}, np.arange(60)[:, None], np.zeros(60, np.int8)
    )
    for kind in (Recurrent, Transformer):
        torch.manual_seed(0)
        encoder, head = kind(kind.fit(some, {}, 0), 16), nn.Linear(16, 2)
        rates = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 1e-2)
        for _ in range(30):
            loss = nn.functional.cross_entropy(head(encoder({"steps": steps, "steps_length": torch.full((60,), 12)}).x_BND.mean(1)), y)
            rates.zero_grad()
            loss.backward()
            rates.step()
        said = head(encoder.eval()({"steps": steps, "steps_length": torch.full((60,), 12)}).x_BND.mean(1)).argmax(1)
        assert (said == y).float().mean() > 0.9


def test_a_value_told_once_is_not_kept_and_no_value_overflows() -> None:
    some = column([5, 3])
    steps = some.ragged["steps"][0]
    steps[:, 1], steps[2, 1] = np.nan, 7654.321
    fitted = Recurrent.fit(some, {}, 0)
    assert fitted.arrays["mean"][1] == 0
    far = column([2])
    far.ragged["steps"][0][:] = 3e38
    for kind in (Recurrent, Transformer):
        x = torch.from_numpy(kind.transform(fitted, far).ragged["steps"][0])[None]
        assert torch.isfinite(kind(fitted, 16).eval()({"steps": x, "steps_length": torch.tensor([2])}).x_BND).all()
