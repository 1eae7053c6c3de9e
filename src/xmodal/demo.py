"""The demo tables: does the sentence fit the picture, does the drawing go the way of the tone? Either alone says nothing about it."""

from __future__ import annotations

import csv
import json
import wave
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from xmodal.files import naming

SIDE = 64  # pixels
RATE = 8000  # samples a second
HUES = ((215, 45, 35), (235, 120, 20), (225, 60, 110)), ((35, 80, 210), (25, 150, 190), (95, 60, 190))
CORNERS = (3, 4, 5, 6, 40)
WORDS = ["sunny", "blazing", "scorching", "summery", "tropical"], ["frosty", "frozen", "snowy", "wintry", "polar"]
OPEN = ["We met on a", "It was a", "My diary speaks of a", "Nobody forgets that", "She remembers one", "They hoped for a"]
DAY = ["morning", "evening", "afternoon", "Sunday", "holiday", "market day", "walk", "journey", "weekend"]
PLACE = ["in the old town", "by the river", "at the station", "near the lighthouse", "behind the school", "on the hill", "at the harbour"]


def picture(warm: bool, random: np.random.Generator) -> Image.Image:
    """One shape in a warm or a cool hue, anywhere, of any size and turn, on a noisy grey ground."""
    mask = Image.new("L", (4 * SIDE, 4 * SIDE))
    corners, radius = random.choice(CORNERS), random.uniform(0.28, 0.42) * 4 * SIDE
    centre, turn = random.uniform(radius, 4 * SIDE - radius, 2), random.uniform(0, 6.28)
    angle = turn + np.arange(corners) * 2 * np.pi / corners
    ImageDraw.Draw(mask).polygon((centre + radius * np.stack([np.cos(angle), np.sin(angle)], 1)).ravel().tolist(), fill=255)
    inside = np.asarray(mask.resize((SIDE, SIDE), Image.Resampling.BOX), float)[..., None] / 255
    ground = random.uniform(60, 200) + np.linspace(0, random.uniform(-40, 40), SIDE)[:, None, None]
    hue = np.array(random.choice(HUES[not warm])) * random.uniform(0.75, 1.05)
    pixels = ground * (1 - inside) + hue * inside + random.normal(0, 18, (SIDE, SIDE, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def sentence(warm: bool, random: np.random.Generator) -> str:
    """A sentence about a hot or a cold day."""
    opening, day, place = (random.choice(part) for part in (OPEN, DAY, PLACE))
    first, second, third = random.choice(WORDS[not warm], 3, replace=False)
    return f"{opening} {first} {day} {place}, {second} and {third}."


def tone(rising: bool, random: np.random.Generator) -> np.ndarray:
    """A quarter of a second, 16-bit at 8 kHz, that glides up or down between any two pitches, in noise."""
    low = random.uniform(250, 700)
    first, last = sorted((low, low * random.uniform(1.6, 2.6)), reverse=not rising)
    phase = 2 * np.pi * np.cumsum(np.geomspace(first, last, RATE // 4)) / RATE
    sound = random.uniform(0.2, 0.7) * np.sin(phase) + random.normal(0, 0.03, RATE // 4)
    return (32767 * sound.clip(-1, 1)).astype("<i2")


def stroke(rising: bool, random: np.random.Generator) -> list[list[list[float]]]:
    """One or two wavering lines drawn from left to right, up or down; y points down, as on a screen."""
    found = []
    for _ in range(random.integers(1, 3)):
        x = np.linspace(0, random.uniform(60, 100), 20) + random.normal(0, 1, 20)
        y = (-1 if rising else 1) * np.linspace(0, random.uniform(30, 80), 20) + 6 * np.sin(x / random.uniform(4, 9)) + random.normal(0, 2)
        found.append(np.stack([x, y], 1).round(1).tolist())
    return found


def draw_senses(folder: Path, rows: int, seed: int) -> Path:
    """A second table: a tone and a pen drawing a row. `agrees`: whether both go up or both down; one row in ten has it turned."""
    (folder / "tones").mkdir(parents=True, exist_ok=True)
    lines: list[tuple[str, ...]] = [("id", "split", "sound", "drawing", "agrees")]
    for number, part in enumerate(("train", "test")):
        random = np.random.default_rng((seed, 2 + number))
        for at, case in enumerate(random.permutation(rows)):
            up, rising, tenth = bool(case % 2), bool(case // 2 % 2), case // 4 % 10
            name = f"{part}-{at:05d}"
            with wave.open(str(folder / "tones" / f"{name}.wav"), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes(tone(rising, random).tobytes())
            drawing = json.dumps(stroke(up, random), separators=(",", ":"))
            lines.append((name, part, f"tones/{name}.wav", drawing, "yes" if (up == rising) != (tenth == 0) else "no"))
    return written(folder / "senses.csv", lines)


def written(table: Path, lines: list[tuple[str, ...]]) -> Path:
    """The file, of these lines."""
    with table.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(lines)
    return table


def draw(folder: Path, rows: int, seed: int) -> Path:
    """`rows` of training and as many of test. Of every four rows each pair of picture and sentence stands once; one row in
    ten has `label` turned, and another one `mood`, which the sentence alone tells. The other columns say nothing. Beside it stands
    senses.csv, of half as many rows."""
    with naming(folder):
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        lines: list[tuple[str, ...]] = [("id", "split", "picture", "sentence", "price", "shop", "label", "mood")]
        for number, part in enumerate(("train", "test")):
            random = np.random.default_rng((seed, number))
            for at, case in enumerate(random.permutation(rows)):
                warm, hot, tenth = bool(case % 2), bool(case // 2 % 2), case // 4 % 10
                name, file = f"{part}-{at:05d}", f"pictures/{part}-{at:05d}.png"
                picture(warm, random).save(folder / file)
                plain = f"{random.gamma(4, 5):.2f}", random.choice(list("ABCDE"))
                label = "fits" if (warm == hot) != (tenth == 0) else "clashes"
                lines.append((name, part, file, sentence(hot, random), *plain, label, "hot" if hot != (tenth == 1) else "cold"))
        draw_senses(folder, rows // 2, seed)
        return written(folder / "table.csv", lines)
