"""Pictures as pretrained networks want them, against transformers' own processors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.networks import clip, processor, videomae, vit
from transformers import CLIPModel, ResNetConfig, ResNetModel, SiglipVisionConfig, SiglipVisionModel, VideoMAEModel, ViTModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from xmodal.errors import ConfigError
from xmodal.pretrained.checkpoint import keep, of_files, read
from xmodal.pretrained.image import PretrainedPictures, published, views

RANDOM = np.random.default_rng(0)
PICTURES = [RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 57), (90, 33), (20, 20), (32, 32))]
KINDS = {
    "vit": (ViTImageProcessorPil, {"size": {"height": 24, "width": 40}}),
    "clip": (CLIPImageProcessorPil, {"size": {"shortest_edge": 30}, "crop_size": {"height": 26, "width": 26}}),
    "padded": (CLIPImageProcessorPil, {"size": {"shortest_edge": 20}, "crop_size": {"height": 26, "width": 26}}),
    "convnext": (ConvNextImageProcessorPil, {"size": {"shortest_edge": 28}, "crop_pct": 0.875}),
    "plain": (ViTImageProcessorPil, {"size": {"height": 24, "width": 24}, "do_normalize": False, "resample": 3}),
}


@pytest.mark.parametrize("name", KINDS)
def test_equal_to_the_published_processor(tmp_path: Path, name: str) -> None:
    kind, settings = KINDS[name]
    processor(kind, tmp_path, **settings)
    mine = published(of_files("here", {"preprocessor_config.json": (tmp_path / "preprocessor_config.json").read_bytes()}))
    for picture in PICTURES:
        wanted = kind(**settings)(Image.fromarray(picture), return_tensors="pt")["pixel_values"][0]
        made = mine.normal(torch.tensor(mine.scaled().resized(picture))[None])[0]
        assert made.shape == wanted.shape
        assert torch.allclose(made, wanted.float(), atol=1e-5), (made - wanted).abs().max()


@pytest.mark.parametrize("said", [{}, {"do_resize": False, "size": 224}, {"size": {"shortest_edge": 32}, "do_resize": True}])
def test_settings_that_are_not_known_are_refused(said: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        published(of_files("here", {"preprocessor_config.json": json.dumps(said).encode()} if said else {}))


def made_of(folder: Path, count: int = 1) -> np.ndarray:
    extractor = PretrainedPictures(keep(read(folder)).weights, count)
    made = extractor.many([{"scaled": extractor.source.resized(p)} for p in PICTURES])
    assert all(np.allclose(extractor.many([{"scaled": extractor.source.resized(p)}])[0]["frozen"], m["frozen"], atol=1e-6)
               for p, m in zip(PICTURES, made, strict=True))  # fmt: skip
    assert extractor.empty["frozen"].shape[1:] == made[0]["frozen"].shape
    return np.stack([m["frozen"] for m in made])


def test_the_class_token(tmp_path: Path) -> None:
    made = made_of(vit(tmp_path))
    pixels = ViTImageProcessorPil(size={"height": 32, "width": 32})([Image.fromarray(p) for p in PICTURES], return_tensors="pt")
    with torch.inference_mode():
        wanted = ViTModel.from_pretrained(tmp_path).eval()(**pixels).last_hidden_state[:, 0]
    assert np.allclose(made, wanted, atol=1e-5)


def test_the_image_tower_of_a_joint_network(tmp_path: Path) -> None:
    made = made_of(clip(tmp_path))
    kind = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    with torch.inference_mode():
        wanted = (
            CLIPModel.from_pretrained(tmp_path).eval().get_image_features(**kind([*map(Image.fromarray, PICTURES)], return_tensors="pt"))
        )
    wanted = wanted if isinstance(wanted, torch.Tensor) else wanted.pooler_output
    assert np.allclose(made, wanted, atol=1e-5)


def test_convolutional_and_attention_pooling(tmp_path: Path) -> None:
    torch.manual_seed(0)
    resnet = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")).eval()
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    siglip = SiglipVisionModel(SiglipVisionConfig(image_size=32, patch_size=8, **size)).eval()
    for model in (resnet, siglip):
        folder = tmp_path / type(model).__name__
        model.save_pretrained(folder)
        processor(ViTImageProcessorPil, folder, size={"height": 32, "width": 32})
        pixels = ViTImageProcessorPil(size={"height": 32, "width": 32})([*map(Image.fromarray, PICTURES)], return_tensors="pt")
        with torch.inference_mode():
            wanted = model(**pixels).pooler_output.flatten(1)
        assert np.allclose(made_of(folder), wanted, atol=1e-5)


def test_views() -> None:
    pixels = torch.arange(2 * 3 * 8 * 8.0).view(2, 3, 8, 8)
    ten = views(pixels, (6, 4), 10)
    assert len(ten) == 10 and all(v.shape == (2, 3, 6, 4) for v in ten)
    assert (
        torch.equal(ten[0], pixels[:, :, 1:7, 2:6])
        and torch.equal(ten[1], pixels[:, :, :6, :4])
        and torch.equal(ten[4], pixels[:, :, 2:, 4:])
    )
    assert torch.equal(ten[6], ten[1].flip(3)) and len(views(pixels[:, :, :6, :4], (6, 4), 1)) == 1


def test_averaged_views(tmp_path: Path) -> None:
    vit(tmp_path)
    once, twice, mirrored = made_of(tmp_path), made_of(tmp_path, 2), PretrainedPictures(keep(read(tmp_path)).weights)
    other = [m["frozen"] for m in mirrored.many([{"scaled": mirrored.source.resized(p)[:, ::-1].copy()} for p in PICTURES])]
    assert np.allclose(twice, (once + np.stack(other)) / 2, atol=1e-5)
    assert made_of(tmp_path, 10).shape == once.shape


class Clip:
    digest = ""

    def load(self, frames: int) -> np.ndarray:
        return RANDOM.integers(0, 256, (frames, 40, 50, 3), dtype=np.uint8)


def test_the_frames_of_a_clip(tmp_path: Path) -> None:
    extractor = PretrainedPictures(keep(read(videomae(tmp_path))).weights, frames=4)
    cell = extractor.source.one(Clip())
    assert cell["scaled"].shape == (4, 32, 32, 3) == extractor.source.empty["scaled"].shape[1:]
    pixels = (torch.tensor(cell["scaled"]).permute(0, 3, 1, 2)[None] / 255 - 0.5) / 0.5
    with torch.inference_mode():
        wanted = VideoMAEModel.from_pretrained(tmp_path).eval()(pixel_values=pixels).last_hidden_state[0].mean(0)
    assert np.allclose(extractor.many([cell])[0]["frozen"], wanted, atol=1e-5)
    assert PretrainedPictures(extractor.network, 10, 4).source.one(Clip())["scaled"].shape == (4, 37, 37, 3)
