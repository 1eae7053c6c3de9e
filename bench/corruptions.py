"""The cells of docs/corruptions.md: one of each modality, as it is and made worse in every way that its modality knows, at each of the
five severities. `python -m bench.corruptions` draws them again."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xmodal import demo
from xmodal.features.corrupt import SEVERITIES, Corruption
from xmodal.media import Media
from xmodal.modality import MODALITIES
from xmodal.modality.strokes import Strokes

DOCS = Path(__file__).parents[1] / "docs"
SIDE, COLOURS = 100, 64
HEAD = """# Cells made worse

<!-- python -m bench.corruptions writes this page -->
What `evaluate --corrupt INPUT=NAME:SEVERITY` does to cells, drawn on one cell of each modality: first as it is, then at the severities 1
to 5. Draws depend on the seed of the fit and on the cell alone, and a severity keeps what a lower one spoilt where that can be. Numbers
stand on a logarithmic scale. `--corrupt all` tries each on each input, and `report --evaluation` draws what an answer bears.
"""


def samples() -> dict[str, Any]:
    """Something that the cells of each modality hand out, as `load` gives it."""
    random = np.random.default_rng(0)
    place = np.arange(60)
    balls = [[(np.hypot(*(np.indices((40, 40)) - 20 - 12 * np.array([[[np.sin(t)]], [[np.cos(t)]]]))) < 6)] for t in np.arange(12) / 2]
    return {
        "image": np.asarray(demo.picture(True, random)), "text": demo.sentence(True, random),
        "audio": demo.tone(True, random).astype(np.float32) / 32768,
        "strokes": Strokes().open(json.dumps(demo.stroke(True, random)).encode(), Media(())).load(),
        "number": 20 + 8 * np.sin(place / 6) + random.normal(0, 1, 60), "vector": random.normal(0, 3, 40).astype(np.float32),
        "sequence": (np.sin(place[:, None] / 5) + 2 * np.arange(2, 9)).astype(np.float32),
        "video": np.repeat(np.where(balls, 220, 40).astype(np.uint8).transpose(0, 2, 3, 1), 3, 3),
    }  # fmt: skip


def lines(modality: str, x: np.ndarray) -> list[np.ndarray]:
    """What is drawn of a cell without pixels: lines [P, 2] of places, not scaled yet; y points up."""
    if modality == "strokes":
        parts = np.split(x[:, :2] * [1, -1], np.flatnonzero(np.diff(x[:, 4])) + 1)
        return [np.nan_to_num(part) for part in parts]
    if modality == "audio":  # the least and the greatest of each of 100 stretches
        bands = np.array([(part.min(), part.max()) for part in np.array_split(x, 100)])
        return [np.stack([np.repeat(np.arange(100), 2), bands.ravel()], 1)]
    columns = np.arcsinh(x.reshape(len(x), -1)).T
    return [np.stack([np.arange(len(y)), y], 1) for y in columns]


def svg(modality: str, cells: Sequence[np.ndarray]) -> str:
    """The cells side by side, on one scale."""
    drawn = [lines(modality, cell) for cell in cells]
    every = np.concatenate([line for cell in drawn for line in cell])
    low, high = np.nanmin(every, 0), np.nanmax(every, 0)
    dots, parts = modality in ("number", "vector"), []
    for at, cell in enumerate(drawn):
        for line in cell:
            place = (line - low) / np.maximum(high - low, 1e-9) * (SIDE - 10) + 5
            words = [f"{x + SIDE * at:.4g} {SIDE - y:.3g}" if np.isfinite(y) else "" for x, y in place]
            runs = [run.split("|") for run in "|".join(words).replace("||", "\n").split("\n")]
            parts += ["".join(f"M{w}h0" for w in run if w) if dots else f"M{'L'.join(w for w in run if w)}" for run in runs if any(run)]
    style = f'fill="none" stroke="#246" stroke-width="{3 if dots else 1.2}" stroke-linecap="round" stroke-linejoin="round"'
    size = f'viewBox="0 0 {SIDE * len(cells)} {SIDE}" width="{SIDE * len(cells)}" height="{SIDE}"'
    ground, drawing = '<path fill="#fff" d="M0 0h9999v999H0"/>', f'<path {style} d="{"".join(parts)}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{ground}{drawing}</svg>\n'


def picture(modality: str, name: str, cells: Sequence[Any], folder: Path) -> str:
    """Draw the cells into a file, and show it, as Markdown; of a text a table."""
    if modality == "text":
        return "\n".join(["| | |", "|---|---|", *(f"| {severity} | {text} |" for severity, text in enumerate(cells))])
    if modality in ("image", "video"):  # of a clip a line of frames
        path, join = folder / f"{modality}-{name}.png", np.concatenate
        pixels = join([join(list(cell), 1) for cell in cells]) if modality == "video" else join(list(cells), 1)
        Image.fromarray(pixels).quantize(COLOURS).save(path, optimize=True)
    else:
        path = folder / f"{modality}-{name}.svg"
        path.write_text(svg(modality, cells), "utf-8")
    return f"![A cell and its five corruptions]({folder.name}/{path.name})"


def page(folder: Path, held: Mapping[str, Any]) -> str:
    """The whole page; its pictures go into the folder."""
    said = [HEAD]
    for modality, cell in held.items():
        said.append(f"## {modality}\n")
        for name, function in MODALITIES[modality].corruptions.items():  # type: ignore[attr-defined]
            worse = [Corruption(modality, name, severity)(cell, modality) for severity in SEVERITIES]
            shown = picture(modality, name, [cell, *worse], folder)
            said.append(f"**`{name}`** {' '.join((inspect.getdoc(function) or '').split())}\n\n{shown}\n")
    return "\n".join(said)


if __name__ == "__main__":
    (DOCS / "corruptions").mkdir(exist_ok=True)
    (DOCS / "corruptions.md").write_text(page(DOCS / "corruptions", samples()), "utf-8")
