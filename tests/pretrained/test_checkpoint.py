"""What is refused, where networks are looked for, and that nothing is fetched unasked."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from tests.doubles import pointed
from tests.networks import bert, clip, processor, videomae, vit, wav2vec2
from transformers import ASTConfig, ASTModel, ResNetConfig, ResNetModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from xmodal.encoders.pretrained import parse, resolved
from xmodal.errors import ConfigError
from xmodal.experts.networks import encoder_class
from xmodal.pretrained import checkpoint
from xmodal.pretrained.checkpoint import KNOWN, known, read


def test_pickles_are_refused(tmp_path: Path) -> None:
    bert(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"pytorch_model\.bin, which may run code"):
        read(tmp_path)


def test_code_that_comes_with_a_network_is_never_run(tmp_path: Path) -> None:
    bert(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    own = {"model_type": "evil", "auto_map": {"AutoModel": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(config | own))
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    with pytest.raises(ConfigError, match="its own code, which is never run"):
        encoder_class(resolved(f"pretrained:{tmp_path}", False))


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    bert(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match="that are not there or of another shape"):
        read(tmp_path).build("text")


def test_a_folder_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        read(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"none in"):
        read(tmp_path)


def test_nothing_is_fetched_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def snapshot(name: str, local_files_only: bool, allow_patterns: list[str]) -> str:
        calls.append((name, local_files_only, allow_patterns))
        if local_files_only:
            raise LocalEntryNotFoundError("not there")
        return str(bert(tmp_path))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(ConfigError, match=r"fetch it once with: hf download some/bert; or say --download"):
        resolved("pretrained:some/bert", False)
    name = resolved("pretrained:some/bert", True)
    assert [local for _, local, _ in calls] == [True, False] and not any("bin" in p or "py" in p for _, _, ps in calls for p in ps)
    assert name == f"pretrained:some/bert;weights={read(tmp_path).weights}" and parse(name).weights in KNOWN
    assert resolved(name, False) == name and len(calls) == 2, "known by its hash, it is looked for no more"


def test_other_weights_than_the_hash_says(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the weights 0123456789abcdef"):
        known("0123456789abcdef", str(vit(tmp_path)))


def test_names() -> None:
    asked = parse("pretrained:a/b;mode=lora;views=2")
    assert (asked.source, asked.mode, asked.views, asked.weights) == ("a/b", "lora", 2, "")
    for wrong in ("pretrained:", "pretrained:a;mode=fast", "pretrained:a;mod=lora"):
        with pytest.raises(ConfigError):
            parse(wrong)


def test_what_a_network_reads(tmp_path: Path) -> None:
    made = [read(kind(tmp_path / kind.__name__)) for kind in (bert, vit, clip, wav2vec2, videomae)]
    assert [sorted(c.modalities) for c in made] == [["text"], ["image"], ["image", "text"], ["audio"], ["video"]]
    assert [c.length(m) for c in made for m in sorted(c.modalities)] == [16, 16, 12, 12, 16, 16]
    assert len({c.weights for c in made}) == 5


def test_networks_of_spectra_are_refused(tmp_path: Path) -> None:
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    ASTModel(ASTConfig(max_length=32, num_mel_bins=16, **size)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="a network that reads tokens, pixels or waveforms"):
        encoder_class(resolved(f"pretrained:{tmp_path}", False))


def test_the_hash_is_of_every_byte(tmp_path: Path) -> None:
    first = read(bert(tmp_path)).weights
    assert read(tmp_path).weights == first
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace('"dull"', '"grey"'))
    assert checkpoint.read(tmp_path).weights != first


def run(folder: Path) -> None:
    extractor = encoder_class(resolved(f"pretrained:{folder}", False)).extractor["text"]
    extractor.many([{"text": np.frombuffer(b"good", np.uint8)}])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    bert(tmp_path)
    for content in (b"", (tmp_path / name).read_bytes()[:-30]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=rf"a whole {name}"):
            run(tmp_path)


def test_low_rank_changes_need_linear_layers(tmp_path: Path) -> None:
    ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")).save_pretrained(tmp_path)
    processor(ViTImageProcessorPil, tmp_path, size={"height": 32, "width": 32})
    kind = encoder_class(resolved(f"pretrained:{tmp_path};mode=lora", False))
    with pytest.raises(ConfigError, match="linear layers for mode=lora"):
        kind(kind.fit(pointed({"scaled": np.zeros((1, 32, 32, 3), np.uint8)}, {}, np.zeros(1, np.int64)), {}, 0), 16)
