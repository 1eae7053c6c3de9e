"""A pretrained network's files: found in a folder or in the local cache, checked, held, and made a network of. Weights are safetensors,
code is that of the installed `transformers`: nothing that comes with a network is run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from xmodal.errors import ArtefactError, ConfigError, MissingExtra

PLAIN = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json",
    "sentence_bert_config.json", "1_Pooling/config.json",
)  # fmt: skip
WEIGHTS = r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
BARE = "-bare"
READS = {"input_ids": "text", "pixel_values": "image", "input_values": "audio"}  # the main input of a network -> a modality


@dataclass(frozen=True)
class Checkpoint:
    """`files`: by their names in the folder."""

    source: str
    files: Mapping[str, bytes]
    weights: str  # hash of all of them

    def json(self, *names: str) -> dict[str, Any]:
        """What these files hold, the first one that is there; {} where none is. Raises ConfigError for a damaged one."""
        for name in (n for n in names if n in self.files):
            with self.damage(name):
                return dict(json.loads(self.files[name]))
        return {}

    @contextlib.contextmanager
    def damage(self, name: str) -> Iterator[None]:
        """What damaged files raise becomes a ConfigError."""
        from safetensors import SafetensorError

        try:
            yield
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, SafetensorError) as e:
            raise ConfigError(f"a whole {name}", f"{type(e).__name__}: {e} in {self.source}", "fetch the network again") from e

    @cached_property
    def config(self) -> Any:
        """As transformers reads it. Raises ConfigError for a network that it has no code for."""
        if not find_spec("transformers"):
            raise MissingExtra("transformers", "pretrained")
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        plain = self.json("config.json")
        if (kind := plain.get("model_type")) not in CONFIG_MAPPING:
            own = "its own code, which is never run" if "auto_map" in plain else f"one of type {kind!r}"
            raise ConfigError("a network that the installed transformers knows", f"{own}: {self.source}", "choose another network")
        with self.damage("config.json"):
            return CONFIG_MAPPING[kind].from_dict(plain)

    @cached_property
    def kind(self) -> Any:
        """The class of the network."""
        from transformers.models.auto.modeling_auto import MODEL_MAPPING

        if type(self.config) not in MODEL_MAPPING:
            raise ConfigError("a network that makes features", f"{self.config.model_type!r}: {self.source}", "choose another network")
        return MODEL_MAPPING[type(self.config)]

    @cached_property
    def modalities(self) -> frozenset[str]:
        """What it reads: of text and pictures, each by its own tower."""
        if hasattr(self.config, "text_config") and hasattr(self.config, "vision_config"):
            return frozenset({"text", "image"})
        read = READS.get(self.kind.main_input_name)
        if read is None or (read == "audio" and hasattr(self.config, "num_mel_bins")):
            got = f"{self.config.model_type!r}, which reads {self.kind.main_input_name}: {self.source}"
            raise ConfigError("a network that reads tokens, pixels or waveforms", got, "choose another network")
        return frozenset({"video" if read == "image" and hasattr(self.config, "num_frames") else read})

    def length(self, modality: str) -> int:
        """D, of the vectors that it makes of this modality."""
        if len(self.modalities) > 1:
            side = getattr(self.config, {"text": "text_config", "image": "vision_config"}[modality])
            return int(getattr(self.config, "projection_dim", None) or side.hidden_size)
        sizes = (getattr(self.config, name, None) for name in ("hidden_size", "d_model", "hidden_sizes"))
        size = next(s for s in sizes if s)
        return int(size[-1] if isinstance(size, (list, tuple)) else size)

    def build(self, modality: str) -> nn.Module:
        """The network, or its tower for this modality, with the weights. Raises ConfigError where the files lack some."""
        from safetensors.torch import load
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        if not any(file.endswith(".safetensors") for file in self.files):
            return part(self.kind(self.config), modality if len(self.modalities) > 1 else "")
        with self.damage("model.safetensors"):
            state = {n: t for file, content in self.files.items() if file.endswith(".safetensors") for n, t in load(content).items()}
            attention = "sdpa" if getattr(self.kind, "_supports_sdpa", False) else None
            told: dict[str, Any]
            model, told = self.kind.from_pretrained(
                None, config=self.config, state_dict=state, output_loading_info=True, attn_implementation=attention
            )
        # a pooler is often not trained with the rest
        wrong = [*(n for n in told["missing_keys"] if not n.startswith("pooler.")), *told["mismatched_keys"]]
        if wrong:
            got = f"{len(wrong)} that are not there or of another shape, such as {min(map(str, wrong))!r}, in {self.source}"
            raise ConfigError("weights that fit the network's config.json", got, "fetch the network again")
        return part(model, modality if len(self.modalities) > 1 else "")

    @property
    def plain(self) -> Checkpoint:
        """The same without the weights, for a network that holds its own: under a name of its own."""
        files = {name: content for name, content in self.files.items() if name in PLAIN}
        return Checkpoint(self.source, files, self.weights.removesuffix(BARE) + BARE)


def part(model: Any, modality: str) -> nn.Module:
    """A tower and its projection into the common space; of one that reads a modality alone, its encoder without a pooler that has weights,
    which in many checkpoints are random."""
    if not modality:
        model = model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model
        if any(name.startswith("pooler.") for name, _ in model.named_parameters()):
            model.pooler = None
        return model  # type: ignore[no-any-return]
    side, projection = {"text": ("text_model", "text_projection"), "image": ("vision_model", "visual_projection")}[modality]
    return Tower(getattr(model, side), getattr(model, projection, None) or nn.Identity())


class Tower(nn.Module):
    """One of two towers of a joint network."""

    def __init__(self, tower: Any, projection: nn.Module) -> None:
        super().__init__()
        self.tower, self.projection, self.config = tower, projection, tower.config

    def forward(self, **x: Any) -> Any:
        """`pooler_output` is the vector of the common space."""
        output = self.tower(**x)
        output.pooler_output = self.projection(output.pooler_output)
        return output


KNOWN: dict[str, Checkpoint] = {}  # by hash, which names the same bytes everywhere: what artefacts brought, and what folders held


def keep(checkpoint: Checkpoint) -> Checkpoint:
    """Hold it for those who ask by its hash."""
    return KNOWN.setdefault(checkpoint.weights, checkpoint)


def known(weights: str, source: str) -> Checkpoint:
    """By its hash, from wherever it was read, else from its source. Raises ConfigError where that holds other weights."""
    if weights in KNOWN:
        return KNOWN[weights]
    found = read(located(source))
    if weights and found.weights != weights:
        raise ConfigError(f"the weights {weights} in {source}", f"{found.weights}", "restore them, or leave weights= out and fit again")
    return keep(found)


def read(folder: Path) -> Checkpoint:
    """The files of a folder. Raises ConfigError for one without safetensors."""
    if not (folder / "config.json").is_file():
        raise ConfigError("a network's folder, with its config.json", str(folder), "give the folder that save_pretrained wrote")
    names = [n for n in PLAIN if (folder / n).is_file()]
    weights = sorted(p.name for p in folder.glob("model*.safetensors") if re.fullmatch(WEIGHTS, p.name))
    weights = ["model.safetensors"] if "model.safetensors" in weights else weights
    if not weights:
        pickles = sorted(p.name for pattern in PICKLES for p in folder.glob(pattern))
        got = f"{pickles[0]}, which may run code when it is read, in {folder}" if pickles else f"none in {folder}"
        raise ConfigError("weights in model.safetensors", got, "fetch its safetensors, or convert it with save_pretrained")
    return of_files(str(folder), {n: (folder / n).read_bytes() for n in (*names, *weights)})


def of_files(source: str, files: Mapping[str, bytes]) -> Checkpoint:
    """With their hash."""
    h = hashlib.blake2b(digest_size=8)
    for name, content in sorted(files.items()):
        h.update(f"{name}\0{len(content)}\0".encode() + content)
    return Checkpoint(source, files, h.hexdigest())


def held(weights: str) -> Checkpoint:
    """The one of this hash, be it without its weights."""
    return KNOWN.get(weights) or KNOWN[weights + BARE]


def restore(folder: Path) -> None:
    """A network that an artefact brings. Its name must be its hash, as it stands for these bytes everywhere; of one without weights it
    tells which it was. Raises ArtefactError."""
    if folder.name.endswith(BARE):
        keep(Checkpoint(str(folder), {n: (folder / n).read_bytes() for n in PLAIN if (folder / n).is_file()}, folder.name))
    elif (found := keep(read(folder))).weights != folder.name:
        raise ArtefactError(f"the network {folder.name}", f"another, {found.weights}", "trust no such model: fit it again")


def located(source: str, download: bool = False) -> Path:
    """The folder of a network: that folder, or where the local Hugging Face cache has it; else with `download` it is fetched. Raises
    ConfigError where it isn't there."""
    if Path(source).is_dir():
        return Path(source)
    if not find_spec("huggingface_hub"):
        raise MissingExtra("transformers", "pretrained")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    wanted = [*PLAIN, "model.safetensors", "model-*-of-*.safetensors"]
    try:
        return Path(snapshot_download(source, local_files_only=not download, allow_patterns=wanted))
    except (HFValidationError, LocalEntryNotFoundError, OSError) as e:
        do = f"fetch it once with: hf download {source}; or say --download; or give a folder"
        got = f"none of it could be fetched ({type(e).__name__})" if download else "neither a folder nor in the local Hugging Face cache"
        raise ConfigError("a pretrained network", f"{source!r}: {got}", do) from e


@lru_cache(maxsize=4)
def network(weights: str, modality: str) -> nn.Module:
    """Built once, to run as it is."""
    return KNOWN[weights].build(modality).eval().requires_grad_(False)
