"""What a fit has finished so far, so that one that was killed goes on where it was: a file a part, whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from xmodal.errors import ConfigError
from xmodal.features.column import Fitted
from xmodal.files import plain, read_json, write_beside, write_json


@dataclass(frozen=True)
class Journal:
    """Fitted parts by key in a folder. `folder` None: nothing is kept."""

    folder: Path | None = None

    def begin(self, of: Mapping[str, object], resume: bool) -> bool:
        """Whether parts of an earlier fit `of` just this are here; without `resume` they go. Raises ConfigError if they are of another."""
        if self.folder is None:
            return False
        mark, of = self.folder / "fit.json", plain(of)
        if resume and mark.is_file():
            if other := [name for name in of if read_json(mark).get(name) != of[name]]:
                got = f"another {other[0]} than in {self.folder}"
                raise ConfigError("the fit that was interrupted, unchanged", got, "give the same, or start anew without --resume")
            return True
        self.end()
        self.folder.mkdir(parents=True)
        write_json(mark, of)
        return False

    def end(self) -> None:
        """All parts go."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def under(self, key: str) -> Path | None:
        """The folder of the parts of a part."""
        return None if self.folder is None else self.folder / blake2b(key.encode(), digest_size=12).hexdigest()

    def put(self, key: str, part: Fitted) -> None:
        """Safe on the disk when this returns. What lies under the key goes."""
        if (under := self.under(key)) is None:
            return
        files = {f"file/{name}": np.frombuffer(content, np.uint8) for name, content in part.files.items()}
        arrays = {f"array/{name}": np.asarray(array, order="C") for name, array in part.arrays.items()}
        under.parent.mkdir(parents=True, exist_ok=True)
        with write_beside(under.with_suffix(".part")) as new:
            new.write_bytes(save(arrays | files, {"config": json.dumps(part.config)}))
        shutil.rmtree(under, ignore_errors=True)

    def get(self, key: str) -> Fitted | None:
        """None where it isn't there, or is damaged and so made again."""
        if (under := self.under(key)) is None or not (path := under.with_suffix(".part")).is_file():
            return None
        try:
            with safe_open(path, "np") as file:
                config, found = json.loads(file.metadata()["config"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError):
            return None
        arrays = {n.removeprefix("array/"): a for n, a in found.items() if n.startswith("array/")}
        return Fitted(config, arrays, {n.removeprefix("file/"): a.tobytes() for n, a in found.items() if n.startswith("file/")})
