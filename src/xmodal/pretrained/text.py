"""Pretrained networks that read text, a window after the other.

U texts · W windows · L tokens of a window · D length of a vector
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn

from xmodal.errors import ConfigError
from xmodal.features.column import FeatureColumn
from xmodal.features.extractors import Frozen
from xmodal.pretrained.checkpoint import Checkpoint, held, network

LONGEST = 256  # tokens of a window: attention to more costs more than it brings
WINDOWS = 8  # of a text that are read
TOKENS = 4096  # at once
FULL = ("siglip", "siglip2")  # whose texts are padded to the whole length, and the padding is read


@dataclass(frozen=True)
class Windows:
    """The tokens of some texts."""

    ids: list[list[int]]  # of each window, special ones included
    text_W: np.ndarray  # which text it is of
    unread_U2: np.ndarray  # tokens of each text, and how many of them no window holds


def window_length(checkpoint: Checkpoint) -> int:
    """Tokens of a window at most: what the network's tokenizer and its positions allow."""
    config = getattr(checkpoint.config, "text_config", checkpoint.config)
    said = (
        checkpoint.json("sentence_bert_config.json").get("max_seq_length"),
        checkpoint.json("tokenizer_config.json").get("model_max_length"),
        getattr(config, "max_position_embeddings", None),
    )  # fmt: skip
    offset = int(getattr(config, "pad_token_id", 0) or 0) + 1 if "roberta" in config.model_type else 0  # its positions begin there
    return min(LONGEST, *(int(s) - (offset if i == 2 else 0) for i, s in enumerate(said) if s and s < 1e6))


@lru_cache(maxsize=8)
def tokenizer(weights: str) -> Tokenizer:
    """Raises ConfigError where the network brings none."""
    checkpoint = held(weights)
    if "tokenizer.json" not in checkpoint.files:
        do = "write it: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)"
        raise ConfigError("a tokenizer.json", f"none in {checkpoint.source}", do)
    checkpoint.json("tokenizer.json")  # its damage is told as such
    made = Tokenizer.from_str(checkpoint.files["tokenizer.json"].decode())
    made.no_padding()
    made.enable_truncation(window_length(checkpoint))
    return made


def windows(weights: str, texts: Sequence[str]) -> Windows:
    """Of every text the first WINDOWS."""
    ids, text_W, unread = list[list[int]](), list[int](), []
    for u, found in enumerate(tokenizer(weights).encode_batch(list(texts))):
        every = [found, *found.overflowing]
        plain = [len(w.ids) - sum(w.special_tokens_mask) for w in every]
        unread.append((sum(plain), sum(plain[WINDOWS:])))
        ids += [w.ids for w in every[:WINDOWS]]
        text_W += [u] * len(every[:WINDOWS])
    return Windows(ids, np.array(text_W, np.int64), np.array(unread, np.int64).reshape(-1, 2))


def texts(column: FeatureColumn) -> list[str]:
    """Of the cells, as they are written."""
    content, offsets = column.ragged["text"]
    return [content[a:b].tobytes().decode("utf-8", "replace") for a, b in pairwise(offsets)]


def padded(weights: str, ids: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "W L"], Bool[Tensor, "W L"]]:
    """Windows side by side, and where they have tokens."""
    config = held(weights).config
    config = getattr(config, "text_config", config)
    full = config.model_type.removesuffix("_text_model") in FULL
    longest = window_length(held(weights)) if full else max(map(len, ids))
    ids_WL = np.full((len(ids), max(longest, 1)), int(getattr(config, "pad_token_id", 0) or 0), np.int64)
    mask_WL = np.zeros(ids_WL.shape, bool)
    for w, one in enumerate(ids):
        ids_WL[w, : len(one)], mask_WL[w, : len(one) if not full else None] = one, True
    return torch.from_numpy(ids_WL), torch.from_numpy(mask_WL)


def pooled(model: nn.Module, ids_WL: Int[Tensor, "W L"], mask_WL: Bool[Tensor, "W L"], first: bool) -> Float[Tensor, "W D"]:
    """One vector a window: of a tower its projection, of others the first token or the mean of all, as the network was trained."""
    output = model(input_ids=ids_WL, attention_mask=mask_WL.long())
    if type(model).__name__ == "Tower":
        return output.pooler_output  # type: ignore[no-any-return]
    if first:
        return output.last_hidden_state[:, 0]  # type: ignore[no-any-return]
    mask_WL1 = mask_WL[..., None].to(output.last_hidden_state.dtype)
    return (output.last_hidden_state * mask_WL1).sum(1) / mask_WL1.sum(1).clamp(min=1)  # type: ignore[no-any-return]


def reads_first(checkpoint: Checkpoint) -> bool:
    """Whether a sentence network says that its first token stands for the text; else the mean does."""
    return bool(checkpoint.json("1_Pooling/config.json").get("pooling_mode_cls_token"))


@dataclass(frozen=True)
class PretrainedText(Frozen):
    """One of Hugging Face's, or the text tower of a joint one. `frozen`: the mean over the windows; `unread` as `Encoder.transform`
    has it."""

    name: ClassVar[str] = "pretrained-text"
    version: ClassVar[int] = 1
    decoder: ClassVar[str] = f"windows {WINDOWS} of {LONGEST}"
    network: str  # the hash of its files

    @property
    def weights(self) -> str:
        return self.network

    @property
    def length(self) -> int:
        return held(self.network).length("text")

    @property
    def empty(self) -> dict[str, np.ndarray]:
        return {**super().empty, "unread": np.zeros((0, 2), np.int64)}

    def many(self, cells: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Windows of about the same length at once."""
        read = windows(self.network, [cell["text"].tobytes().decode("utf-8", "replace") for cell in cells])
        model, first = network(self.network, "text"), reads_first(held(self.network))
        sum_UD, order = np.zeros((len(cells), self.length)), np.argsort([len(w) for w in read.ids], kind="stable")
        start = 0
        with torch.inference_mode():
            while start < len(order):
                longest = len(read.ids[order[min(start + 64, len(order)) - 1]])
                some = order[start : start + max(1, min(64, TOKENS // max(longest, 1)))]
                y_WD = pooled(model, *padded(self.network, [read.ids[w] for w in some]), first)
                np.add.at(sum_UD, read.text_W[some], y_WD.double().numpy())
                start += len(some)
        mean_UD = sum_UD / np.maximum(np.bincount(read.text_W, minlength=len(cells)), 1)[:, None]
        return [{"frozen": x, "unread": n} for x, n in zip(mean_UD.astype(np.float32), read.unread_U2, strict=True)]
