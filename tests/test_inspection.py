"""Each finding on a table that has just that fault, and none on one that has none."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from xmodal import ConfigError, Learner, cli
from xmodal.experts.base import Expert
from xmodal.experts.data import MOST
from xmodal.inspection import inspect, seconds_of
from xmodal.job import Recipes, changed
from xmodal.race import candidates
from xmodal.report import found_files

N = 200
RANDOM = np.random.default_rng(0)
WORDS = [f"{a} {b} near the {c} at {d}" for a, b, c, d in RANDOM.integers(0, 1000, (N, 4)).astype(str)]


def clean() -> pd.DataFrame:
    part = np.where(np.arange(N) % 5 == 0, "test", "train")
    return pd.DataFrame(
        {"story": WORDS, "size": RANDOM.normal(size=N), "kind": list("ab") * (N // 2), "part": part, "y": list("pqrs") * (N // 4)}
    )


def found(rows: pd.DataFrame, **roles) -> dict[str, list[dict]]:
    result = inspect(Learner(target="y", **roles), rows, lambda *_: None)
    lines: dict[str, list[dict]] = {}
    for line in result["findings"]:
        lines.setdefault(line["check"], []).append(line)
    return lines


def test_a_clean_table_passes_every_check():
    lines = found(clean(), split="part", modality={"story": "text"})
    assert {line["level"] for check in lines.values() for line in check} == {"pass"}, lines
    assert set(lines) == {"columns", "unreadable", "missing", "target copy", "duplicates", "leak", "groups", "classes"}


def faults():
    rows = clean()
    yield "missing", "warn", "'size': 120 of 200", rows.assign(size=rows["size"].where(np.arange(N) >= 120)), {}
    yield "missing", "pass", "'size': 20 of 200", rows.assign(size=rows["size"].where(np.arange(N) >= 20)), {}
    yield "columns", "warn", "'same' is left out", rows.assign(same="x"), {}
    yield "target copy", "warn", "'copy' alone tells", rows.assign(copy=rows["y"].map({"p": 1, "q": 2, "r": 3, "s": 4})), {}
    twice = pd.concat([rows, rows[1:2]])  # in train
    yield "duplicates", "warn", "2 rows are equal", twice, {}
    yield "leak", "fail", "1 groups of equal rows", pd.concat([rows, rows[1:2].assign(part="test")]), {}
    nearly = rows[1:2].assign(part="test", size=9.0, story=rows["story"][1] + ".")
    yield "leak", "warn", "'story': 1 of 41", pd.concat([rows, nearly]), {}
    yield "groups", "fail", "10 groups of 'who'", rows.assign(who=np.arange(N) // 20), {"group": "who"}
    yield "groups", "warn", "--group patient_id", rows.assign(patient_id=np.arange(N) // 4 + 1000), {}
    yield "classes", "warn", "1 of 4 classes", rows[(rows["y"] != "p") | (np.arange(N) < 30)], {}
    yield "classes", "fail", "'z' 0", rows.assign(y=np.where(np.arange(N) % 100 == 0, "z", rows["y"])), {}
    yield "fit", "fail", "y: not at least two classes", rows.assign(y="a"), {}


@pytest.mark.parametrize(("check", "level", "says", "rows", "roles"), list(faults()), ids=lambda v: v if isinstance(v, str) else "")
def test_faults_are_found(check, level, says, rows, roles):
    if check == "fit":
        lines = found(rows, split="part")[check]
        assert lines[0]["level"] == "fail" and "at least two classes" in lines[0]["says"]
        with pytest.raises(ConfigError, match="did you mean 'y'"):
            inspect(Learner(target="yy"), rows, lambda *_: None)
        return
    lines = found(rows, split="part", modality={"story": "text"}, **roles)[check]
    assert any(line["level"] == level and says in line["says"] + line["do"] for line in lines), lines
    assert all(line["do"] for line in lines if line["level"] == "fail")


def test_equal_rows_and_torn_groups_are_told_of_unlabelled_rows_too():
    rows = clean().assign(who=[f"p{i // 20}" for i in range(N)])
    rows.loc[[1, 21], ["y", "who"]] = None
    again = pd.concat([rows, rows[1:2].assign(y="q"), rows[2:3]])
    lines = found(again, split="part", group="who", modality={"story": "text"})
    assert "4 rows are equal in all inputs to another row; 1 groups of them differ" in lines["duplicates"][0]["says"]
    assert "10 groups of 'who' stand in test and in other parts, 'p0' for one" in lines["groups"][0]["says"]


def test_a_number_that_is_the_target_is_found():
    rows = clean().assign(y=RANDOM.normal(size=N))
    rows["again"] = 3 * rows["y"] + 1
    assert "'again' alone" in found(rows, kind="regress")["target copy"][0]["says"]


def test_the_command_prints_and_is_strict(tmp_path):
    clean().assign(who=np.arange(N) // 20).to_csv(tmp_path / "t.csv", index=False)
    command = ["inspect", str(tmp_path / "t.csv"), "--target", "y", "--split", "part", "--group", "who"]
    shown = CliRunner().invoke(cli.app, command)
    assert shown.exit_code == 0 and "A fit on 160 rows" in shown.stdout and "fail" in shown.stdout
    result = json.loads(CliRunner().invoke(cli.app, [*command, "--json"]).stdout)
    assert result["rows"] == N and {c["name"]: c["modality"] for c in result["columns"]} == {
        "story": "text",
        "size": "number",
        "kind": "category",
    }
    assert CliRunner().invoke(cli.app, [*command, "--strict", "--html", str(tmp_path / "i.html")]).exit_code == 1
    page = (tmp_path / "i.html").read_text("utf-8")
    assert "groups of &#x27;who&#x27;" in page and "<script" not in page and "http" not in page.replace("http-equiv", "")
    assert CliRunner().invoke(cli.app, [*command[:-2], "--strict"]).exit_code == 0


def test_moving_pictures_formats_and_refused_ones_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [Image.new("L", (8, 8), shade) for shade in ("black", "white")]
    for i in range(60):
        name = tmp_path / f"{i}.gif"
        pixels = Image.fromarray(rng.integers(0, 256, (8, 8)).astype(np.uint8))
        pixels.save(name, save_all=True, append_images=frames if i < 9 else [])
    (tmp_path / "3.gif").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    rows = pd.DataFrame({"pic": [f"{i}.gif" for i in range(60)], "size": rng.normal(size=60), "y": list("ab") * 30})
    result = inspect(Learner(target="y", media_root=tmp_path), rows, lambda *_: None)
    pic = next(c for c in result["columns"] if c["name"] == "pic")
    refused = [reason for reason in pic["files"] if "HEIC" in reason]
    assert len(refused) == 1
    assert {k: n for k, n in pic["files"].items() if k not in refused} == {"GIF": 59, "moving": 8}
    assert any("8 pictures move; of each the first frame is used" in line["says"] for line in result["findings"])
    rows.to_csv(tmp_path / "t.csv", index=False)
    shown = CliRunner().invoke(cli.app, ["inspect", str(tmp_path / "t.csv"), "--target", "y"])
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert shown.exit_code == 0 and ["pic", "GIF", "59"] in lines and ["pic", "moving", "8"] in lines
    assert any(line[:2] == ["pic", "unreadable:"] and line[-1] == "1" for line in lines)


def test_of_many_kinds_of_files_the_most_frequent_are_shown() -> None:
    shown = list(found_files("pic", {f"damage {i}": 1000 * (13 - i) for i in range(13)}))
    assert [kind for _, kind, _ in shown] == [*(f"damage {i}" for i in range(10)), "3 kinds more"]
    assert shown[0] == ("pic", "damage 0", "13,000") and shown[-1][2] == "6,000"


def experts_of(rows: pd.DataFrame, **roles) -> list[Expert]:
    job = Learner(target="y", **roles).job
    ready = Learner(job).ready(rows, lambda *_: None)
    return [one.expert for one in candidates(job, ready.task, ready.opened.inputs, 10_000)]


def test_a_fit_costs_what_the_demo_took() -> None:
    rows = clean().assign(note=WORDS[::-1])
    experts = experts_of(rows, split="part", modality={"story": "text", "note": "text"})
    assert 55 < sum(seconds_of(one, 2000, Recipes()) for one in experts) < 110, "the demo: 78 CPU s"
    once = changed(Recipes(), {kind: {"epochs": 1} for kind in ("raw", "descriptor")})
    assert 700 < sum(seconds_of(one, 510_000, once) for one in experts) < 1500, "600,000 rows, one epoch: about 1,000 CPU s"
    for one in experts:
        more = seconds_of(one, 500_000, Recipes()) / seconds_of(one, MOST, Recipes())
        assert more == 1 if one.family == "features" else 9 < more <= 10
        assert seconds_of(one, MOST, Recipes()) > seconds_of(one, 1000, Recipes()) > 0


@pytest.mark.parametrize("known", [{"item": "a blue ceramic mug of the series"}, {"price": 12.5, "shop": "corner shop", "stars": 4}])
def test_pictures_of_one_thing_stay_in_one_part(tmp_path: Path, known: dict[str, object]) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for thing in range(20):
        cells = {k: f"{v} {thing}" if isinstance(v, str) else float(v) + thing for k, v in known.items()}  # type: ignore[arg-type]
        for view in range(5):
            Image.fromarray(rng.integers(0, 256, (8, 8)).astype(np.uint8)).save(tmp_path / f"{thing}-{view}.png")
            rows.append({"pic": f"{thing}-{view}.png", **cells, "y": "ab"[thing % 2]})
    ready = Learner(target="y", media_root=tmp_path).ready(rows, lambda *_: None)
    assert len(set(zip(ready.groups.tolist(), np.arange(100) // 5, strict=True))) == len(set(ready.groups.tolist())) == 20
    assert "100 rows share pictures, texts or all other cells: such rows stay in one part" in ready.opened.notes


def test_a_wrong_folder_fails_and_files_are_counted_by_rows(tmp_path: Path) -> None:
    """500 rows of one broken placeholder are 500 rows."""
    for i in range(20):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "none.png").write_bytes(b"none")
    names = ["none.png"] * 500 + ["lost.png"] * 50 + [f"{i % 20}.png" for i in range(50)]
    rows = pd.DataFrame({"pic": names, "size": np.arange(600) % 7, "y": list("ab") * 300})
    result = inspect(Learner(target="y", media_root=tmp_path), rows, lambda *_: None)
    pic = next(c for c in result["columns"] if c["name"] == "pic")
    assert (pic["broken"], pic["missing"]) == (550, 0)
    assert pic["files"] == {
        "unreadable: not a picture of kind JPEG, PNG, GIF, BMP, TIFF, WEBP, AVIF": 500,
        "PNG": 50,
        "unreadable: no such file": 50,
    }
    said = [line["says"] for line in result["findings"] if line["check"] == "unreadable"]
    assert any(s.startswith("expected readable cells; got 550 unreadable in column 'pic': row 1: file 'none.png'") for s in said), said
    assert any("row 501: file 'lost.png'" in s for s in said)
    wrong = inspect(Learner(target="y", media_root=tmp_path / "elsewhere"), rows, lambda *_: None)
    (failed,) = wrong["findings"]
    assert (
        failed["level"] == "fail"
        and f"column 'pic': none of the 22 tried is there, the first: {tmp_path}/elsewhere/none.png" in failed["says"]
    )
    assert "--media-root" in failed["do"]
