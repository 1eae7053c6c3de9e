"""Encoders over pretrained networks, asked for as `pretrained:NAME_OR_FOLDER;mode=frozen|lora|full`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, cast

import numpy as np
from torch import Tensor, nn

from xmodal.encoders.base import Encoder, present
from xmodal.encoders.descriptor import Descriptor, affine, blocks
from xmodal.errors import ConfigError, unknown
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.features.extractors import Extractor
from xmodal.job import Json
from xmodal.pretrained.checkpoint import keep, known, located, read
from xmodal.pretrained.image import VIEWS, PretrainedPictures
from xmodal.pretrained.text import PretrainedText, tokenizer
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
        """Standardise, PCA, common variance."""
        mean, components, variance = affine(np.asarray(train.dense["frozen"], np.float32), None, COMPONENTS, seed)
        common = 1 / max(float(np.sqrt(variance.mean())), 1e-6)
        own = Fitted({}, {"mean": mean.astype(np.float32), "components": (components * common).astype(np.float32)})
        return Fitted.merge({"frozen": own} | ({"classic": Descriptor.fit(train, settings, seed)} if described(train) else {}), {})

    @staticmethod
    def transform(fitted: Fitted, column: FeatureColumn) -> FeatureColumn:
        own = fitted.part("frozen").arrays
        dense = {"frozen": ((np.asarray(column.dense["frozen"]) - own["mean"]) @ own["components"]).astype(np.float32)}
        if "classic" not in cast(Mapping[str, Json], fitted.config["parts"]):
            return replace(column, dense=dense, ragged={})
        classic = Descriptor.transform(fitted.part("classic"), column)
        return replace(classic, dense={**classic.dense, **dense})

    def __init__(self, fitted: Fitted, width: int) -> None:
        super().__init__(fitted, width)
        both = "classic" in cast(Mapping[str, Json], fitted.config["parts"])
        self.classic = Descriptor(fitted.part("classic"), width) if both else None
        self.linear = nn.Linear(fitted.part("frozen").arrays["components"].shape[1], width)
        self.dropout, self.norm = nn.Dropout(0.3), nn.LayerNorm(width)

    def forward(self, x: dict[str, Tensor]) -> Tokens:
        own = present(self.norm(self.linear(self.dropout(x["frozen"])))[:, None])
        return own if self.classic is None else Tokens.beside([own, self.classic(x)])


def described(column: FeatureColumn) -> bool:
    """Whether the descriptor encoder reads it."""
    return "text" in column.ragged or bool(blocks(column))


@lru_cache(maxsize=64)
def pretrained(name: str) -> type[Encoder]:
    """The encoder of such a name."""
    asked = parse(name)
    checkpoint = known(asked.weights, asked.source)
    if "text" in checkpoint.modalities:
        tokenizer(checkpoint.weights)
    made: dict[str, Extractor] = {
        "image": PretrainedPictures(checkpoint.weights, asked.views), "text": PretrainedText(checkpoint.weights)
    }  # fmt: skip
    extractor = {m: e for m, e in made.items() if m in checkpoint.modalities}
    own = {"modality": checkpoint.modalities, "extractor": extractor, "checkpoint": checkpoint, "__module__": __name__}
    return cast(type[Encoder], type(f"Frozen[{name}]", (Frozen,), own))
