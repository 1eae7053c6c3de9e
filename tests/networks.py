"""Tiny random networks of the real architectures, with the files that published ones have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    VideoMAEConfig,
    VideoMAEModel,
    ViTConfig,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.utils import logging

logging.disable_progress_bar()
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "the", "a", "very", "dull", "fine", "story", "plot"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
POSITIONS = 16


def tokenizer(folder: Path) -> None:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    made.save(str(folder / "tokenizer.json"))


def bert(folder: Path) -> Path:
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=POSITIONS, **SMALL)).save_pretrained(folder)
    tokenizer(folder)
    return folder


def processor(kind: type, folder: Path, **settings: object) -> None:
    """As `preprocessor_config.json`, which is what published networks have."""
    said = {n: v for n, v in kind(**settings).to_dict().items() if v is not None}
    (folder / "preprocessor_config.json").write_text(json.dumps(said, default=dict))


def vit(folder: Path) -> Path:
    torch.manual_seed(1)
    ViTModel(ViTConfig(image_size=32, patch_size=8, **SMALL)).save_pretrained(folder)
    processor(ViTImageProcessorPil, folder, size={"height": 32, "width": 32})
    return folder


def clip(folder: Path) -> Path:
    torch.manual_seed(2)
    text = {
        "vocab_size": len(WORDS),
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        **SMALL,
    }
    config = CLIPConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 8, **SMALL}, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    tokenizer(folder)
    processor(CLIPImageProcessorPil, folder, size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return folder


def wav2vec2(folder: Path) -> Path:
    torch.manual_seed(3)
    layers = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (5, 4), "num_conv_pos_embeddings": 16}
    Wav2Vec2Model(Wav2Vec2Config(**layers, num_conv_pos_embedding_groups=2, **SMALL)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(folder)
    return folder


def videomae(folder: Path) -> Path:
    torch.manual_seed(4)
    VideoMAEModel(VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, tubelet_size=2, **SMALL)).save_pretrained(folder)
    processor(ViTImageProcessorPil, folder, size={"height": 32, "width": 32})
    return folder
