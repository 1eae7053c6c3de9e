"""Which encoder reads an input."""

from __future__ import annotations

from xmodal.encoders import ENCODERS
from xmodal.encoders.base import Encoder
from xmodal.encoders.pretrained import PREFIX, Frozen, pretrained
from xmodal.errors import ConfigError
from xmodal.job import Input, registered, registry


def encoder_class(name: str) -> type[Encoder]:
    """By its name in the registry, or of a pretrained network."""
    return pretrained(name) if name.startswith(PREFIX) else registered("encoders", ENCODERS, name)


def is_frozen(value: Input) -> bool:
    """Whether the encoder that is asked for reads what a frozen network makes."""
    return value.encoder is not None and issubclass(encoder_class(value.encoder), Frozen)


def choose(value: Input, kind: str) -> str:
    """The encoder that is asked for, if it is of this kind, or frozen; else the first of this kind that reads the modality, or else
    of the other. Raises ConfigError where there is none."""
    if value.encoder and (encoder_class(value.encoder).kind == kind or is_frozen(value)):
        return value.encoder
    readers = [(name, e.kind) for name, e in registry("encoders", ENCODERS).items() if value.modality in e.modality]
    if not readers:
        raise ConfigError(f"an encoder of {value.modality}", f"none, for input {value.name!r}", "leave the input out")
    return min(readers, key=lambda reader: reader[1] != kind)[0]
