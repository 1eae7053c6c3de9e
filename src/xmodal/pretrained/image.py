"""Pretrained networks that read pictures, or the frames of clips, prepared by their published settings.

U pictures · H W height and width · N tokens · D length of a vector
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from xmodal.errors import ConfigError
from xmodal.features.extractors import Extractor, Frozen
from xmodal.features.extractors.scaled import Scaled, ScaledFrames
from xmodal.pretrained.checkpoint import Checkpoint, held, network

MARGIN = 8 / 7  # of what is scaled to what is read, where a picture is seen in ten views (Krizhevsky et al. 2012)
VIEWS = (1, 2, 10)  # as it is; and mirrored; the corners and the middle, and mirrored
ROWS = 32  # pictures at once


@dataclass(frozen=True)
class Published:
    """How a network wants its pixels."""

    before: tuple[int, ...]
    size: tuple[int, int]
    resample: int
    factor: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def scaled(self, views: int = 1, frames: int = 0) -> Scaled:
        """What a worker makes of a picture, or of the frames of a clip, with a margin where parts of it are seen."""
        margin = MARGIN if views > 2 else 1
        height, width = (round(margin * side) for side in self.size)
        before = [round(margin * side) for side in self.before]
        return ScaledFrames(before, height, width, self.resample, frames) if frames else Scaled(before, height, width, self.resample)

    def normal(self, pixels: Tensor) -> Float[Tensor, "U *frames 3 H W"]:
        """uint8 or float [U, …, H, W, 3], 0 to 255."""
        x = pixels.float() * self.factor
        mean, deviation = (torch.tensor(v, device=pixels.device) for v in (self.mean, self.deviation))
        return ((x - mean) / deviation).movedim(-1, -3)  # convolutions like it so


def published(checkpoint: Checkpoint) -> Published:
    """From preprocessor_config.json. Raises ConfigError where it says nothing, or what isn't known."""
    said: dict[str, Any] = checkpoint.json("preprocessor_config.json", "processor_config.json")
    said = said.get("image_processor", said)
    if not said.get("do_resize", bool(said)):
        got = f"{'pictures of any size' if said else 'none'} in {checkpoint.source}"
        raise ConfigError("preprocessor_config.json with the size of pictures", got, "fetch the whole network, or choose another")
    size: Any = said.get("size", 224)
    if isinstance(size, int):  # as older files have it
        size = {"shortest_edge": size} if said.get("do_center_crop") or "crop_pct" in said else {"height": size, "width": size}
    before: tuple[int, ...]
    crop: tuple[int, ...]
    if "crop_pct" in said and size.get("shortest_edge", 384) < 384:  # as ConvNeXt's processor does
        edge = size["shortest_edge"]
        before, crop = (int(edge / said["crop_pct"]),), (edge, edge)
    elif "crop_pct" in said and "shortest_edge" in size:
        before, crop = 2 * (size["shortest_edge"],), 2 * (size["shortest_edge"],)
    else:
        before = (size["shortest_edge"],) if "shortest_edge" in size else (size["height"], size["width"]) if "height" in size else ()
        given = said.get("crop_size", size) if said.get("do_center_crop") else None
        given = {"height": given, "width": given} if isinstance(given, int) else given or size
        crop = tuple(given[n] for n in ("height", "width") if n in given)
    if len(crop) != 2 or not before:
        raise ConfigError("a size of pictures that all share", f"{said.get('size')} in {checkpoint.source}", "choose another network")
    factor = float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0
    normal = said.get("do_normalize", True)
    mean, deviation = (tuple(said.get(n, [0.5] * 3)) if normal else (v,) * 3 for n, v in (("image_mean", 0.0), ("image_std", 1.0)))
    return Published(before, (crop[0], crop[1]), int(said.get("resample", 2)), factor, mean, deviation)


def pooled(model: nn.Module, pixels: Float[Tensor, "U *frames 3 H W"]) -> Float[Tensor, "U D"]:
    """One vector a picture or clip: of a tower its projection, else the class token, else the network's own pooling, else the mean."""
    output = model(pixel_values=pixels)
    x: Any = output.last_hidden_state
    own: Any = getattr(output, "pooler_output", None)
    tower = type(model).__name__ in ("Tower", "CLIPVisionModel", "SiglipVisionModel")
    if tower or (x.ndim == 4 and own is not None):
        return own.flatten(1)  # type: ignore[no-any-return]
    if any("cls_token" in name for name, _ in model.named_parameters()):
        return x[:, 0]  # type: ignore[no-any-return]
    if own is not None:
        return own.flatten(1)  # type: ignore[no-any-return]
    return x.flatten(2).mean(2) if x.ndim == 4 else x.mean(1)  # type: ignore[no-any-return]


class FrozenPictures(Frozen):
    """A network over pictures as it is. A subclass has `views` (see VIEWS) and `published`, and says what its network makes of them."""

    views: int
    frames: int = 0  # of a clip
    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def published(self) -> Published: ...

    @abstractmethod
    def vectors(self, pixels: Float[Tensor, "U *frames 3 H W"]) -> Float[Tensor, "U D"]:
        """Of pictures as they are `published`."""

    @property
    def source(self) -> Extractor:
        return self.published.scaled(self.views, self.frames)

    def many(self, cells: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """The mean over the views."""
        made = list[np.ndarray]()
        with torch.inference_mode():
            rows = max(1, ROWS // max(1, self.frames))
            for start in range(0, len(cells), rows):
                pixels = torch.from_numpy(np.stack([cell["scaled"] for cell in cells[start : start + rows]]))
                seen = [self.vectors(view) for view in views(self.published.normal(pixels), self.published.size, self.views)]
                made += list(torch.stack(seen).mean(0).float().numpy())
        return [{"frozen": x} for x in made]


def views(pixels: Float[Tensor, "U *frames 3 H W"], size: tuple[int, int], count: int) -> list[Tensor]:
    """Of one picture, one, two or ten."""
    (high, wide), (height, width) = pixels.shape[-2:], size
    corners = [(0, 0), (0, wide - width), (high - height, 0), (high - height, wide - width)] if count > 2 else []
    places = [((high - height) // 2, (wide - width) // 2), *corners]
    seen = [pixels[..., y : y + height, x : x + width] for y, x in places]
    return seen + [view.flip(-1) for view in seen] if count > 1 else seen


@dataclass(frozen=True)
class PretrainedPictures(FrozenPictures):
    """One of Hugging Face's, or the image tower of a joint one; with `frames`, of clips."""

    name: ClassVar[str] = "pretrained-image"
    network: str  # the hash of its files
    views: int = 1
    frames: int = 0

    @property
    def weights(self) -> str:
        return self.network

    @property
    def length(self) -> int:
        return held(self.network).length("video" if self.frames else "image")

    @property
    def published(self) -> Published:
        return published(held(self.network))

    def vectors(self, pixels: Float[Tensor, "U *frames 3 H W"]) -> Float[Tensor, "U D"]:
        return pooled(network(self.network, "video" if self.frames else "image"), pixels)
