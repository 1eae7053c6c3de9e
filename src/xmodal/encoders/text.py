"""A BiLSTM over subwords, both from the training texts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from xmodal.encoders import sequence
from xmodal.encoders.base import Encoder, number
from xmodal.encoders.words import decode
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.job import Json
from xmodal.modality.text import UNSPACED
from xmodal.tokens import Tokens

SUBWORDS = 4000  # of the vocabulary
LENGTH = 96  # subwords that are read of a text


class BiLstm(Encoder):
    """A token a subword; its position is its place among those read, its unit the word it belongs to. Of a long text the first and
    the last part are read."""

    modality = frozenset({"text"})
    kind = "raw"

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """Byte pair encoding (Sennrich et al. 2016) of the training texts. `settings`: private (of words that at least two hold)."""
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        characters = pre_tokenizers.Split(Regex(f"[{UNSPACED}]"), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), characters])
        trainer = trainers.BpeTrainer(vocab_size=SUBWORDS, min_frequency=2, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
        texts = decode(*train.ragged["text"])
        if settings.get("private"):
            split = tokenizer.pre_tokenizer.pre_tokenize_str
            parts = [[word for word, _ in split(tokenizer.normalizer.normalize_str(text))] for text in texts]
            held = Counter(word for words in parts for word in {*words})
            texts = [" ".join(word for word in words if held[word] > 1) for words in parts]
        tokenizer.train_from_iterator(texts, trainer)
        config: dict[str, Json] = {"length": LENGTH, "words": tokenizer.get_vocab_size()}
        return Fitted(config, {}, {"tokenizer.json": tokenizer.to_str().encode()})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        length = int(number(fitted.config["length"]))
        tokenizer, texts = load(fitted.files["tokenizer.json"]), decode(*column.ragged["text"])
        read, unread = [np.zeros((0, 2), np.int32)], []
        for start in range(0, len(texts), 512):  # what the tokenizer hands out takes ten times the memory of what is kept of it
            for text in tokenizer.encode_batch(texts[start : start + 512]):
                over = max(len(text) - length, 0)
                every = np.array([text.ids, text.word_ids], np.int32).T
                read.append(np.delete(every, slice(length // 2, length // 2 + over), 0))
                unread.append((len(text), over))
        subword, word = np.concatenate(read).T
        offsets = np.cumsum([len(part) for part in read])
        dense = {"unread": np.array(unread, np.int64).reshape(-1, 2)}
        return replace(column, dense=dense, ragged={"subword": (subword, offsets), "word": (word, offsets)})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.embedding = nn.Embedding(int(number(fitted.config["words"])), width, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.3)  # of 1 it learns half as fast and 1 point worse
        self.dropout = nn.Dropout(0.4)
        self.read = sequence.BiLstm(width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        y_ULD = self.read(self.dropout(self.embedding(x["subword"])), x["subword_length"])
        tokens = sequence.in_order(self.norm(self.dropout(y_ULD)), x["subword_length"])
        return replace(tokens, unit_BN=x["word"].long().masked_fill(~tokens.mask_BN, -1))


@lru_cache(maxsize=16)
def load(content: bytes) -> Tokenizer:
    """Parsed once: a single row cannot wait for it."""
    return Tokenizer.from_str(content.decode())
