from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.doubles import text
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from xmodal.batch import tensors
from xmodal.encoders.text import BiLstm

TEXTS = ["the lowest tower", "a lower tower, lower still", "", "lowest", "今日は寒い", "tower " * 20]


def test_is_a_packed_bilstm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xmodal.encoders.text.LENGTH", 8)
    column = text(TEXTS)
    fitted = BiLstm.fit(column, {}, 0)
    x = tensors(BiLstm.transform(fitted, column).take(np.arange(len(TEXTS))))
    torch.manual_seed(0)
    encoder = BiLstm(fitted, 16).eval()
    tokens = encoder(x)
    both = nn.LSTM(16, 8, batch_first=True, bidirectional=True)
    for name, part in (("", encoder.read.there), ("_reverse", encoder.read.back)):
        for key, value in part.named_parameters():
            getattr(both, key + name).data = value.data
    some = x["subword_length"] > 0
    packed = pack_padded_sequence(encoder.embedding(x["subword"])[some], x["subword_length"][some], True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(both(packed)[0], batch_first=True)
    expected = encoder.norm(expected) * tokens.mask_BN[some][..., None]
    assert torch.allclose(tokens.x_BND[some], expected, atol=1e-5)
    assert tokens.mask_BN.sum(1).tolist() == x["subword_length"].tolist()
    assert tokens.mask_BN.shape[1] == 8, "longer texts are cut"


def test_of_a_long_text_the_first_and_the_last_part_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xmodal.encoders.text.LENGTH", 5)
    column = text(["a b c d e f g h", "a b c d e", ""] * 2)
    prepared = BiLstm.transform(BiLstm.fit(column, {}, 0), column)
    word, ends = prepared.ragged["word"]
    assert [w.tolist() for w in np.split(word, ends[1:-1])] == [[0, 1, 5, 6, 7], [0, 1, 2, 3, 4], []] * 2
    assert prepared.dense["unread"].tolist() == [[8, 3], [5, 0], [0, 0]] * 2


def test_units_are_words_and_positions_subwords() -> None:
    column = text(["lower unseenword now", *TEXTS])
    fitted = BiLstm.fit(text(TEXTS * 2), {}, 0)
    tokens = BiLstm(fitted, 8)(tensors(BiLstm.transform(fitted, column).take(np.array([0]))))
    unit_N = tokens.unit_BN[0].tolist()
    assert sorted(set(unit_N)) == [0, 1, 2]
    assert unit_N == sorted(unit_N)
    assert unit_N.count(1) > 1, "an unseen word falls into subwords"
    assert tokens.position_BN3[0, :, 0].tolist() == list(range(len(unit_N)))
    chinese = BiLstm.transform(fitted, text(["今日は寒い"])).ragged["word"][0]
    assert chinese.tolist() == [0, 1, 2, 3, 4], "no spaces: a character is a word"


def test_the_tokenizer_is_the_same_in_another_process() -> None:
    code = (
        "import sys, json; sys.path[:0] = json.loads(sys.argv[1])\n"
        "from tests.encoders.test_text import TEXTS, BiLstm, text\n"
        "print(BiLstm.fit(text(TEXTS * 3), {}, 0).digest)"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(sys.path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == BiLstm.fit(text(TEXTS * 3), {}, 0).digest
