"""Encoders over pretrained networks, asked for as `pretrained:NAME_OR_FOLDER;mode=frozen|lora|full`."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from xmodal.encoders.base import Encoder, number, present
from xmodal.encoders.descriptor import Descriptor, blocks, fit_frozen
from xmodal.encoders.image import jittered
from xmodal.errors import ConfigError, MissingExtra, unknown
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import Extractor
from xmodal.job import Json
from xmodal.pretrained import audio, image, text
from xmodal.pretrained.audio import PretrainedSounds
from xmodal.pretrained.checkpoint import BARE, KNOWN, Checkpoint, keep, known, located, network, read
from xmodal.pretrained.image import ROWS, VIEWS, PretrainedPictures, published
from xmodal.pretrained.text import PretrainedText, padded, reads_first, texts, tokenizer, window_length, windows
from xmodal.tokens import Tokens

PREFIX = "pretrained:"
OPTIONS: dict[str, tuple[str, ...]] = {"mode": ("frozen", "lora", "full"), "views": tuple(map(str, VIEWS)), "weights": ()}
COMPONENTS = 256  # of a frozen vector that a network reads


@dataclass(frozen=True)
class Asked:
    """What such a name says. `views` of a picture are averaged; `weights`: their hash, or "" before they are found."""

    source: str
    mode: str = "frozen"
    views: int = 1
    weights: str = ""


def parse(name: str) -> Asked:
    """Raises ConfigError for an option that isn't known."""
    source, *parts = name.removeprefix(PREFIX).split(";")
    given: dict[str, Any] = {}
    for option, _, value in (part.partition("=") for part in parts if part):
        if option not in OPTIONS:
            raise unknown("option", option, OPTIONS)
        if OPTIONS[option] and value not in OPTIONS[option]:
            raise ConfigError(f"{option} to be one of {', '.join(OPTIONS[option])}", repr(value), f"correct {name!r}")
        given[option] = int(value) if option == "views" else value
    if not source:
        raise ConfigError("pretrained:NAME or pretrained:FOLDER", repr(name), "say which network")
    return Asked(source, **given)


def called(name: str) -> str:
    """What experts are called that read this encoder."""
    return parse(name).mode if name.startswith(PREFIX) else name


def resolved(name: str, download: bool) -> str:
    """The same name with the hash of the weights that it means now; any other name as it is. Raises ConfigError where they are nowhere."""
    if not name.startswith(PREFIX):
        return name
    if (asked := parse(name)).weights:
        known(asked.weights, asked.source)
        return name
    return f"{name};weights={keep(read(located(asked.source, download))).weights}"


class Frozen(Encoder):
    """Two tokens a cell: what a frozen network made of it, and what its classic descriptors are, where there are some. A subclass says
    which `modality` it reads, and the `extractor` of each, whose output `frozen` is."""

    kind: ClassVar[Literal["descriptor", "raw"]] = "descriptor"  # and of raw networks: nothing here memorises

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """PCA, common variance."""
        mean, components, variance = fit_frozen(train, COMPONENTS, seed)
        common = 1 / max(float(np.sqrt(variance.mean())), 1e-6)
        own = Fitted({}, {"mean": mean.astype(np.float32), "components": (components * common).astype(np.float32)})
        return Fitted.beside({"frozen": own} | ({"classic": Descriptor.fit(train, settings, seed)} if described(train) else {}))

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        own = fitted.part("frozen").arrays
        dense = {"frozen": ((np.asarray(column.dense["frozen"]) - own["mean"]) @ own["components"]).astype(np.float32)}
        if not (part := fitted.part("classic")).arrays:
            return replace(column, dense=dense, ragged={})
        classic = Descriptor.transform(part, column)
        return replace(classic, dense={**classic.dense, **dense})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.classic = Descriptor(part, width) if (part := fitted.part("classic")).arrays else None
        self.linear = nn.Linear(fitted.part("frozen").arrays["components"].shape[1], width)
        self.dropout, self.norm = nn.Dropout(0.3), nn.LayerNorm(width)

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        own = present(self.norm(self.linear(self.dropout(x["frozen"])))[:, None])
        return own if self.classic is None else Tokens.beside([own, self.classic(x)])


def described(column: FeatureColumn) -> bool:
    """Whether the descriptor encoder reads it."""
    return "text" in column.ragged or bool(blocks(column))


class Tuned(Encoder):
    """A pretrained network that goes on learning, with all its weights or with low-rank changes of them (LoRA: Hu et al. 2022): one token
    a cell. Its layers learn the slower the deeper they lie; what they compute is made again in the backward pass, which saves memory."""

    kind: ClassVar[Literal["descriptor", "raw"]] = "raw"
    checkpoint: ClassVar[Checkpoint]
    mode: ClassVar[str]

    @classmethod
    def fit(cls, train: FeatureColumn, settings: Mapping[str, Json], seed: int) -> Fitted:
        """Which network, and what it reads."""
        (other, *_) = sorted(cls.modality - {"text"}) or ["text"]
        modality = "text" if "text" in train.ragged else other
        length = window_length(cls.checkpoint) if modality == "text" else 0
        return Fitted({"network": cls.checkpoint.weights, "modality": modality, "length": length})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        if fitted.config["modality"] in ("image", "video"):
            return replace(column, dense={"scaled": column.dense["scaled"]}, ragged={})
        if fitted.config["modality"] == "audio":
            return replace(column, dense={}, ragged={"wave": column.ragged["wave"]})
        found = windows(str(fitted.config["network"]), texts(column))
        length_U = np.bincount(found.text_W, list(map(len, found.ids)), column.cells).astype(np.int64)
        ids = np.array([i for one in found.ids for i in one], np.int32)
        return replace(column, dense={"unread": found.unread_U2}, ragged={"ids": (ids, np.append(0, np.cumsum(length_U)))})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        self.reads = str(fitted.config["modality"])
        self.length = int(number(fitted.config["length"]))
        self.body = copy.deepcopy(network(self.checkpoint.weights, self.reads)).requires_grad_(self.mode == "full").train()
        inner: Any = getattr(self.body, "tower", self.body)
        for name, parameter in self.body.named_parameters():
            if "mask" in name:  # stands for what is hidden, and nothing is
                parameter.requires_grad_(False)
        if hasattr(inner.config, "apply_spec_augment"):
            inner.config.apply_spec_augment = False  # it draws from NumPy's global state
        if self.mode == "lora":
            inner = adapted(inner)
        if getattr(inner, "supports_gradient_checkpointing", False):
            with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of a new name that older ones lack
                inner.gradient_checkpointing_enable({"use_reentrant": False})
        self.depth = 1 + max((layer(name) for name, _ in self.body.named_parameters()), default=0)
        self.linear, self.norm = nn.Linear(self.checkpoint.length(self.reads), width), nn.LayerNorm(width)

    def augment(self, x: dict[str, Tensor], strength: float, seed_U: Tensor) -> dict[str, Tensor]:
        """Pictures are shifted by up to a tenth, and lit."""
        if self.reads != "image":
            return x
        return {"scaled": jittered(x["scaled"], strength, seed_U, x["scaled"].shape[1] // 10)}

    def pace(self, parameter: str) -> float:
        """Of low-rank changes a tenth; of the network a hundredth, and of each layer below a tenth less."""
        if not parameter.startswith("body."):
            return 1.0
        return 0.1 if self.mode == "lora" else 0.01 * 0.9 ** (self.depth - layer(parameter))

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        read = {"text": self.texts, "audio": self.sounds}.get(self.reads, self.pictures)
        cells, step = len(next(iter(x.values()))), ROWS
        if torch.is_grad_enabled():
            return present(self.norm(self.linear(read(x)))[:, None])
        parts = [read({n: v[i : i + step] for n, v in x.items()}) for i in range(0, cells, step)]
        return present(self.norm(self.linear(torch.cat(parts)))[:, None])

    def pictures(self, x: dict[str, Tensor]) -> Float[Tensor, "U D"]:
        """A vector a picture or clip."""
        return image.pooled(self.body, published(self.checkpoint).normal(x["scaled"]))

    def sounds(self, x: dict[str, Tensor]) -> Float[Tensor, "U D"]:
        """A vector a sound."""
        waves = zip(x["wave"], x["wave_length"].tolist(), strict=True)
        return torch.stack([audio.pooled(self.body, wave_T[:end], self.checkpoint) for wave_T, end in waves])

    def texts(self, x: dict[str, Tensor]) -> Float[Tensor, "U D"]:
        """The mean over the windows of each text."""
        length_U, ids_UL = x["ids_length"].clamp(min=1), x["ids"].long()
        start_W = torch.arange(0, ids_UL.shape[1], self.length, device=ids_UL.device)
        text_W, window_W = (start_W < length_U[:, None]).nonzero(as_tuple=True)
        some = [
            ids_UL[u, s : min(s + self.length, n)].tolist() for u, s, n in zip(text_W, start_W[window_W], length_U[text_W], strict=True)
        ]
        ids_WL, mask_WL = (t.to(ids_UL.device) for t in padded(self.checkpoint.weights, some))
        y_WD = text.pooled(self.body, ids_WL, mask_WL, reads_first(self.checkpoint))
        sum_UD = y_WD.new_zeros(len(ids_UL), y_WD.shape[1]).index_add(0, text_W, y_WD)
        return sum_UD / text_W.bincount(minlength=len(ids_UL))[:, None]

    def kept(self, name: str) -> bool:
        """Whether an artefact holds this of the expert: what is shared stands under `networks/` once."""
        return self.mode == "full" or not name.startswith("body.") or "lora_" in name

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Without what is shared."""
        found: Any = super().state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)
        for name in [n for n in found if n.startswith(prefix) and not self.kept(n.removeprefix(prefix))]:
            del found[name]
        return found

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        shared = super().state_dict(prefix=prefix)
        state_dict |= {n: v for n, v in shared.items() if not self.kept(n.removeprefix(prefix))}
        super()._load_from_state_dict(state_dict, prefix, *rest)


def adapted(model: Any) -> Any:
    """With low-rank changes of every linear layer, which alone are learnt."""
    if not find_spec("peft"):
        raise MissingExtra("peft", "pretrained")
    if not any(isinstance(m, nn.Linear) for m in model.modules()):
        raise ConfigError("a network with linear layers for mode=lora", type(model).__name__, "say mode=frozen or mode=full")
    from peft import LoraConfig, inject_adapter_in_model

    return inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"), model)


def layer(name: str) -> int:
    """The number of the layer that a parameter is of, from 1 on; 0 below the first."""
    found = re.search(r"\.(?:layers?|blocks?|h|stages|resblocks)\.([0-9]+)\.", name)
    return int(found[1]) + 1 if found else 0


@lru_cache(maxsize=64)
def pretrained(name: str) -> type[Encoder]:
    """The encoder of such a name."""
    asked = parse(name)
    bare = KNOWN.get(asked.weights + BARE) if asked.mode == "full" and asked.weights not in KNOWN else None
    checkpoint = bare or known(asked.weights, asked.source)
    own: dict[str, Any] = {"modality": checkpoint.modalities, "checkpoint": checkpoint, "mode": asked.mode, "__module__": __name__}
    extractor = dict[str, Extractor]()
    if "text" in checkpoint.modalities:
        if len(checkpoint.modalities) == 1:  # of a joint network pictures alone may be read
            tokenizer(checkpoint.weights)
        extractor |= {"text": PretrainedText(checkpoint.weights)} if asked.mode == "frozen" else {}
    for modality in checkpoint.modalities & {"image", "video"}:
        frames = int(checkpoint.config.num_frames) if modality == "video" else 0
        frozen = PretrainedPictures(checkpoint.weights, asked.views, frames)
        extractor[modality] = frozen if asked.mode == "frozen" else frozen.published.scaled(frames=frames)
    if "audio" in checkpoint.modalities:
        extractor["audio"] = PretrainedSounds(checkpoint.weights) if asked.mode == "frozen" else audio.waveform(checkpoint)
    return cast(type[Encoder], type(name, (Frozen if asked.mode == "frozen" else Tuned,), {**own, "extractor": extractor}))
