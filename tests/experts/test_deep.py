from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.doubles import INPUTS, WORDS, pointed, ragged, table

from xmodal.batch import Examples
from xmodal.errors import ConfigError
from xmodal.experts.correction import Correction
from xmodal.experts.data import TableData
from xmodal.experts.deep import Deep, say_unread, unread
from xmodal.experts.networks import choose
from xmodal.features.column import Fitted
from xmodal.job import Budget, Input, State

QUICK = {"epochs": 3, "minimum": 1, "width": 16}
ROWS = np.arange(80)


def fitted(settings: dict[str, object] | None = None, seed: int = 0) -> tuple[Deep, object]:
    task, data = table("classify")
    expert = Deep({"y": task}, INPUTS, {"training": QUICK, **(settings or {})})
    expert.fit(data, ROWS[:60], ROWS[60:], Budget(), seed)
    return expert, data


def test_encoders_by_kind_and_wish() -> None:
    note, plain = Input("main.note", "text", ("note",)), INPUTS["main.table"]
    assert (choose(note, "descriptor"), choose(note, "raw")) == ("descriptor", "bilstm")
    assert (choose(plain, "descriptor"), choose(plain, "raw")) == ("plain", "plain")
    assert choose(replace(note, encoder="descriptor"), "raw") == "bilstm", "the two never share a network"
    with pytest.raises(ConfigError, match="bilstm"):
        choose(replace(note, encoder="bilstmm"), "raw")
    with pytest.raises(ConfigError, match="encoder of sound"):
        choose(Input("main.song", "sound", ("song",)), "raw")


def test_same_seed_same_bytes() -> None:
    one, two, other = (fitted(seed=s)[0].fitted().digest for s in (3, 3, 4))
    assert one == two != other


def test_encodes_once_for_every_set_of_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    expert, data = fitted({"fusion": "transformer"})
    calls: list[int] = []
    encode = expert.model.encode
    monkeypatch.setattr(expert.model, "encode", lambda batch: calls.append(1) or encode(batch))
    for hide in ((), ("main.note",), ("main.note", "main.pic"), tuple(INPUTS)):
        score = expert.predict(data, ROWS, frozenset(hide))["y"]
        hidden = [k in hide for k in sorted(INPUTS)]
        assert (score.state_RM[:, hidden] != State.PRESENT).all()
    assert len(calls) == 1
    expert.predict(data, ROWS[:7])
    expert.predict(replace(data), ROWS[:7])
    assert len(calls) == 3, "other rows, other data"
    assert expert.predict(data, ROWS[:0])["y"].score.shape == (0, 3)


def test_many_rows_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    expert, data = fitted()
    whole = expert.predict(data, ROWS)["y"].score
    monkeypatch.setattr("xmodal.experts.deep.SCORED", 7)
    monkeypatch.setattr("xmodal.experts.deep.CACHED", 10)
    np.testing.assert_allclose(expert.predict(replace(data), ROWS)["y"].score, whole, atol=1e-5)


def test_names_of_inputs_name_no_module() -> None:
    task, data = table("classify")
    names = dict(zip(INPUTS, ("main.type", "main.a.b", "main."), strict=True))
    inputs = {names[k]: replace(v, key=names[k]) for k, v in INPUTS.items()}
    odd = replace(data, columns={names[k]: data.columns[k] for k in INPUTS}, cache={})
    expert = Deep({"y": task}, inputs, {"training": QUICK})
    expert.fit(odd, ROWS[:60], ROWS[60:], Budget(), 0)
    kept = expert.fitted()
    again = Deep.restore({"y": task}, inputs, Fitted(json.loads(json.dumps(kept.config)), kept.arrays, kept.files))
    np.testing.assert_array_equal(again.predict(odd, ROWS)["y"].score, expert.predict(odd, ROWS)["y"].score)


def test_a_correction_starts_at_nothing_and_learns_what_is_left() -> None:
    task, data = table("classify", rows=200)
    rows = np.arange(200)
    y = data.examples["y"].y.numpy()  # type: ignore[union-attr]
    there = np.stack([data.columns[k].state_B == State.PRESENT for k in INPUTS], 1).sum(1)
    wrong = np.eye(3)[(y + 1) % 3] * 3  # the experts are sure of another class
    data = data.offset("y", wrong)
    frozen = Correction({"y": task}, INPUTS, {"training": {**QUICK, "rate": 1e-12}})
    frozen.fit(data, rows[:150], rows[150:], Budget(), 0)
    assert np.abs(frozen.predict(data, rows)["y"].score).max() < 1e-6
    expert = Correction({"y": task}, INPUTS, {"training": {**QUICK, "rate": 0.01, "epochs": 10}})
    expert.fit(data, rows[:150], rows[150:], Budget(), 0)
    delta = expert.predict(data, rows)["y"].score
    assert delta.shape == (200, 3)
    assert np.log(task.unpool(wrong + delta)[rows, y])[150:-1].mean() > np.log(task.unpool(wrong)[rows, y])[150:-1].mean() + 0.3
    nothing = np.where(there[:, None] > 1, wrong, np.random.default_rng(0).normal(size=wrong.shape) * 9)
    other = Correction({"y": task}, INPUTS, {"training": {**QUICK, "rate": 0.01, "epochs": 10}})
    other.fit(data.offset("y", nothing), rows[:150], rows[150:], Budget(), 0)
    np.testing.assert_array_equal(other.predict(data, rows)["y"].score, delta, "rows with fewer than two inputs taught")


def test_experts_share_what_is_prepared() -> None:
    task, data = table("classify")
    Deep({"y": task}, INPUTS, {"training": QUICK}).fit(data, ROWS[:60], ROWS[60:], Budget(), 0)
    before = set(data.cache)
    Correction({"y": task}, INPUTS, {"training": QUICK}).fit(data, ROWS[:60], ROWS[60:], Budget(), 0)
    assert set(data.cache) == before


def test_of_long_texts_the_end_is_read_and_what_is_not_is_counted() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 300)
    length = np.where(np.arange(300) % 20 == 0, 3000, 12)
    texts = [" ".join([*random.choice(WORDS[3:], n), WORDS[c]]) for n, c in zip(length, y, strict=True)]
    data = TableData(
        {"main.note": pointed({}, {"text": ragged(texts)}, np.arange(300))}, {"y": Examples((None,), torch.from_numpy(y), torch.ones(300))}
    )
    settings = {"kind": "raw", "training": {"epochs": 12, "minimum": 12, "width": 32, "batch": 32, "rate": 1e-2}}
    expert = Deep({"y": table("classify")[0]}, {"main.note": INPUTS["main.note"]}, settings)
    rows, test = np.arange(240), np.arange(240, 300)
    expert.fit(data, rows, None, Budget(epochs=12), 0)
    right = expert.predict(data, test)["y"].score.argmax(1) == y[test]
    assert right.mean() >= 0.95 and right[length[test] > 12].all()
    found = unread([expert], data, test)
    assert found["note"].tolist() == [60, 3, 3 * 3001, 3 * (3001 - 96)]
    (note,) = say_unread({"note": found["note"] + unread([expert], data, rows)["note"]})
    assert note.startswith("input 'note': 15 of 300 cells are cut for its network, 97 % of what they hold unread")
    assert not say_unread(unread([expert], data, test[length[test] < 99]))
    assert not unread([fitted()[0]], fitted()[1], ROWS), "descriptors read all"
