"""A model folder: plain JSON, safetensors and vocabulary files, each with its SHA-256; written beside and swapped in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from xmodal.answer import Answer, Member, to_bits
from xmodal.batch import View
from xmodal.errors import ArtefactError
from xmodal.experts import EXPERTS
from xmodal.features.column import Fitted
from xmodal.files import MANIFEST, check_manifest, part_of, read_json, swap_folder, write_json, write_manifest
from xmodal.job import MAIN, Input, Job, Json, registered
from xmodal.modality import named
from xmodal.pool import Pool
from xmodal.pretrained.checkpoint import restore
from xmodal.race import checkpoints
from xmodal.table import Reading
from xmodal.tasks import TASKS
from xmodal.trial import require, tried

FORMAT = 1
README = """# A model trained by xmodal

Target: `{target}` ({kind}). Inputs: {inputs}. Verdict: **{outcome}**.

    xmodal predict {folder} new.csv --proba --out predictions.csv

Files named in `new.csv` are looked for beside it, or under `--media-root`.
`config.json`: how columns are read, and the pool. `experts/`: one folder an expert; `networks/`: pretrained ones, under their hash.
`report.json`: what was measured; `examples.json`: a few rows of the table, unless `fit` was told not to keep any.
`xmodal report {folder} --out report.html` draws both.
`manifest.json`: the SHA-256 of every file, checked when the model is loaded.
"""


@dataclass(frozen=True)
class Model:
    """All that a folder holds."""

    job: Job
    readings: Mapping[str, Reading]
    target: Reading
    answer: Answer
    report: dict[str, Json]
    rows: Mapping[str, np.ndarray]  # identity (uint64) and part (0 test, 1 train, 2 val) of every row of the fit
    examples: list[Json] = field(default_factory=list)  # a few rows with their cells, drawn


def write_fitted(fitted: Fitted, folder: Path) -> None:
    """A fitted part as files. Names of columns stay inside JSON: no file is named by a user."""
    folder.mkdir(parents=True)
    names = {name: f"file-{number}" for number, name in enumerate(sorted(fitted.files))}
    write_json(folder / "config.json", {"config": fitted.config, "files": names})
    write_arrays(fitted.arrays, folder)
    for name, file in names.items():
        (folder / file).write_bytes(fitted.files[name])


def write_arrays(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """As safetensors, with the rights that every new file gets (the library's own writer keeps others from reading)."""
    (folder / "model.safetensors").write_bytes(to_bytes({name: np.ascontiguousarray(a) for name, a in arrays.items()}))


def read_fitted(folder: Path) -> Fitted:
    """Inverse of `write_fitted`. Raises ArtefactError for names of files that it doesn't write."""
    plain = read_json(folder / "config.json")
    for file in plain["files"].values():
        if not re.fullmatch("file-[0-9]+", file):
            raise ArtefactError("files named file-NUMBER", f"{file!r} in {folder}", "trust no such model: fit it again")
    files = {name: (folder / file).read_bytes() for name, file in plain["files"].items()}
    return Fitted(plain["config"], load_file(folder / "model.safetensors"), files)


def save(model: Model, folder: Path, version: str) -> None:
    """Write the folder. Nothing is there until all is there."""
    answer, pool, task = model.answer, model.answer.pool, model.answer.task
    members = [{"name": m.name, "expert": m.expert.name, "inputs": list(m.expert.inputs)} for m in answer.members]
    sets = sorted(pool.by_set)
    numbers = {
        "prior": pool.prior_C, "temperature": pool.temperature_E, "weight": pool.weight_E, "offset": pool.offset_MC,
        "sets": np.array(sets, np.int64), "by_set": np.array([pool.by_set[s] for s in sets]).reshape(len(sets), len(members)),
    }  # fmt: skip
    config = {
        "format": FORMAT, "version": version, "job": replace(model.job, table=None, out="model", media_root=(), join=()).to_json(),
        "target": asdict(model.target),
        "readings": [asdict(r) for r in model.readings.values()], "inputs": [asdict(i) for i in answer.inputs.values()],
        "task": {"kind": task.kind, "name": task.name, "fitted": task.fitted.config if task.fitted else None},
        "members": members, "order": list(answer.order),
    }  # fmt: skip
    verdict: Any = model.report.get("verdict") or {}
    with swap_folder(folder) as new:
        write_json(new / "config.json", config)
        write_arrays({**numbers, **model.rows}, new)
        for number, member in enumerate(answer.members):
            write_fitted(member.expert.fitted(), new / "experts" / f"{number:02d}-{member.expert.name}")
        for checkpoint in checkpoints(answer.members):
            for name, content in checkpoint.files.items():
                file = new / "networks" / checkpoint.weights / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        write_json(new / "report.json", model.report)
        if model.examples:
            write_json(new / "examples.json", model.examples)
        names = ", ".join(f"`{i.name}`" for i in answer.inputs.values())
        shown = README.format(target=task.name, kind=task.kind, inputs=names, outcome=verdict.get("outcome"), folder=folder.name)
        (new / "README.md").write_text(shown, encoding="utf-8")
        write_manifest(new)


def is_model(folder: Path) -> bool:
    """Whether the folder is one of ours, of whatever format."""
    try:
        found = read_json(folder / "config.json")
    except ArtefactError:
        return False
    return (folder / MANIFEST).is_file() and isinstance(found, dict) and {"format", "version", "job", "members"} <= found.keys()


def load(folder: Path) -> Model:
    """Read the folder. Raises ArtefactError where it is no model, damaged, incomplete or from a newer version."""
    if not (folder / MANIFEST).is_file():
        raise ArtefactError("a model folder", f"{folder}, which has no manifest.json", "give the folder that `fit --out` wrote")
    found = read_json(folder / "config.json")
    number = found.get("format") if isinstance(found, dict) else None
    if type(number) is not int or not 1 <= number <= FORMAT:
        do = f"install xmodal {found.get('version')} or newer" if number in range(FORMAT + 1, 10**6) else "give another folder"
        raise ArtefactError(f"a model of format {FORMAT} or older", f"format {number!r} in {folder}", do)
    check_manifest(folder)
    return restored(folder, found)


def restored(folder: Path, found: dict[str, Any]) -> Model:
    """What config.json describes, tried once. Media are read where the caller says: a model must not open folders."""
    for network in sorted((folder / "networks").glob("*")):
        with part_of(network, "a pretrained network"):
            restore(network)
    config, file = folder / "config.json", folder / "model.safetensors"
    with part_of(config, "inputs, task, readings, target"):
        inputs = {i["key"]: Input(**{**i, "columns": tuple(i["columns"]), "kinds": tuple(i["kinds"])}) for i in found["inputs"]}
        told = found["task"]
        task: Any = TASKS[told["kind"]](told["name"], (View(MAIN, frozenset(inputs)),), Fitted(told["fitted"]))
        readings = named(Reading(**r) for r in found["readings"])
        target = Reading(**found["target"])
    with part_of(config, "job"):
        job = replace(Job.from_json(found["job"]), table=None, media_root=(), join=())
    members, names = list[Member](), list[str]()
    with part_of(config, "members"):
        kinds = [registered("experts", EXPERTS, plain["expert"]) for plain in found["members"]]  # before names become parts of paths
    for number, (plain, known) in enumerate(zip(found["members"], kinds, strict=True)):
        names.append(f"{number:02d}-{plain['expert']}")
        with part_of(folder / "experts" / names[-1], f"members[{number}]"):
            mine = {k: inputs[k] for k in plain["inputs"]}
            expert = known.restore({task.name: task}, mine, read_fitted(folder / "experts" / names[-1]))
            members.append(Member(plain["name"], expert, to_bits(inputs, mine)))
    with part_of(file, "prior, temperature, weight, offset, sets, by_set"):
        numbers = load_file(file)
        by_set = dict(zip(numbers["sets"].tolist(), numbers["by_set"], strict=True))
        reads = tuple(m.bits for m in members)
        pool = Pool(numbers["prior"], reads, numbers["temperature"], numbers["weight"], by_set, numbers["offset"])
    with part_of(file, "identity, part"):
        rows = {name: numbers[name] for name in ("identity", "part")}
        shapes = {(a.dtype.str, a.shape) for a in rows.values()}
        require(shapes == {("<u8", (n := len(rows["part"]),)), ("|u1", (n,))} and n > 0 and rows["part"].max() < 3, "their form", shapes)
    with part_of(folder / "report.json", "verdict"):
        report = read_json(folder / "report.json")
        require(isinstance(report["verdict"], dict), "verdict", report["verdict"])
    with part_of(config, "order"):
        answer = Answer(task, inputs, tuple(members), pool, tuple(found["order"]))
    tried(answer, readings, target, folder, names)
    shown = folder / "examples.json"
    return Model(job, readings, target, answer, report, rows, read_json(shown) if shown.is_file() else [])
