"""What the documents say exists, what exists is in the documents, and what they show runs."""

import ast
import csv
import inspect
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from PIL import Image
from typer.testing import CliRunner

import xmodal
from xmodal import Learner, cli, errors
from xmodal.demo import draw
from xmodal.modality import MODALITIES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {p.stem: p.read_text("utf-8") for p in sorted((ROOT / "docs").glob("*.md"))} | {"README": README}
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
QUICK = {"epochs": 2, "minimum": 1, "folds": 2}


def options(command: str) -> set[str]:
    return {o for p in COMMANDS[command].params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")}


def blocks(kind: str, text: str = README) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def shown_commands(text: str = README) -> list[list[str]]:
    lines = [line.rsplit("|", 1)[-1] for block in blocks("sh", text) for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.strip().startswith("xmodal ")]


@pytest.mark.parametrize("words", shown_commands("".join(PAGES.values())), ids=" ".join)
def test_every_command_shown_exists_with_its_options(words):
    assert words[1] in COMMANDS
    assert {w for w in words if w.startswith("--")} <= options(words[1])


def test_every_command_is_shown_and_every_option_is_told():
    assert {words[1] for words in shown_commands()} == set(COMMANDS)
    every = set().union(*map(options, COMMANDS)) | {o for p in typer.main.get_command(cli.app).params for o in p.opts}
    missing = {o for o in every - {"--help"} if not re.search(rf"{o}\b", README)}
    assert not missing
    told = set(re.findall(r"`(--[a-z-]+)", README.split("### Options")[1].split("### ")[0]))
    assert told <= every


def test_every_make_target_shown_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = set(re.findall(r"`?make ([a-z]+)", README + (ROOT / "CONTRIBUTING.md").read_text()))
    assert {"demo", "test", "bench"} <= told <= targets


def test_the_tree_names_every_module_and_no_other():
    tree = next(b for b in blocks("text") if "src/xmodal/" in b)
    named = set(re.findall(r"[a-z_]+\.py|[a-z_]+/", tree)) - {
        "src/",
        "xmodal/",
        "tests/",
        "bench/",
        "contracts/",
        "end_to_end/",
        "docs/",
        "examples/",
    }
    source = ROOT / "src/xmodal"
    there = {p.name for p in source.rglob("*.py")} | {f"{p.parent.name}/" for p in source.rglob("*.py") if p.parent != source}
    assert not named - there, "named but gone"
    obvious = {"__init__.py", "__main__.py", "base.py"}
    folded = {p.name for d in ("testing", "extractors") for p in source.rglob(f"{d}/*.py")}
    assert not there - named - obvious - folded, "there but not named"


def test_public_names():
    tree = ast.parse((ROOT / "src/xmodal/__init__.py").read_text())
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("xmodal") for a in n.names}
    assert sorted(xmodal.__all__) == sorted(imported) == list(xmodal.__all__)
    for name in xmodal.__all__:
        assert getattr(xmodal, name).__name__ == name
    classes = {n for n, c in vars(errors).items() if inspect.isclass(c) and c.__module__ == errors.__name__}
    assert classes <= set(xmodal.__all__)
    with pytest.raises(AttributeError, match="no attribute 'learner_'"):
        xmodal.learner_  # noqa: B018


def test_links_lead_somewhere():
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
            assert link.startswith("https://") or (document.parent / link).is_file(), link


def test_every_corruption_is_drawn():
    page, size = (ROOT / "docs/corruptions.md").read_text(), 0
    for modality, one in MODALITIES.items():
        section = page.partition(f"\n## {modality}\n")[2].partition("\n## ")[0]
        for name, function in getattr(one, "corruptions", {}).items():
            assert f"**`{name}`** {' '.join((inspect.getdoc(function) or '').split())}" in section
            drawn = [ROOT / "docs/corruptions" / f"{modality}-{name}.{kind}" for kind in ("png", "svg")]
            assert modality == "text" or any(f"corruptions/{d.name}" in section and d.is_file() for d in drawn)
            size += sum(d.stat().st_size for d in drawn if d.is_file())
    assert 0 < size < 300_000


def test_the_version_is_in_the_changelog_or_unreleased():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"[{xmodal.__version__}]" in text or "[Unreleased]" in text


def test_constraints_pin_every_dependency():
    project = (ROOT / "pyproject.toml").read_text()
    wanted = set(re.findall(r'"([a-z-]+)>=', project))
    pinned = set(re.findall(r"^([a-z0-9-]+)==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert wanted <= pinned, wanted - pinned


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The demo table as the pages name it, and as the README does."""
    folder = tmp_path_factory.mktemp("documents")
    draw(folder / "demo", 30, 0)
    shutil.copytree(folder / "demo/pictures", folder / "pictures")
    rows = list(csv.DictReader((folder / "demo/table.csv").open(encoding="utf-8")))
    for name, out in {"label": "table.csv", "": "new.csv"}.items():
        with (folder / out).open("w", encoding="utf-8", newline="") as file:
            to = csv.DictWriter(file, [*rows[0], "patient_id"])
            to.writeheader()
            to.writerows({**row, "patient_id": f"p{i % 20}", "label": row["label"] if name else ""} for i, row in enumerate(rows))
    Image.new("RGB", (8, 8), "red").save(folder / "a.png")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Every fit that doesn't say otherwise takes a moment: few epochs, few experts."""
    from xmodal import evaluate, race

    every = race.candidates
    for place in ("race", "learner", "inspection"):
        monkeypatch.setattr(f"xmodal.{place}.candidates", lambda *a: [c for c in every(*a) if c.expert.name in ("linear", "deep")])
    weights, made = evaluate.draw_weights, Learner.__init__
    monkeypatch.setattr(evaluate, "draw_weights", lambda groups, seed: weights(groups, seed, 20))
    monkeypatch.setattr(Learner, "__init__", lambda self, job=None, **roles: made(self, job, **{"training": QUICK, **roles}))


def run_line(line: str) -> None:
    """One line as a shell would run it: what is piped in, what is written to a file; nothing but our own command."""
    line, _, wanted = line.partition(" > ")
    given, _, line = line.rpartition(" | ")
    words = shlex.split(line, comments=True)
    if words[:1] != ["xmodal"]:
        assert not words or words[0] == "make", line
        return
    words += ["--rows", "40"] if words[1] == "demo" else ["--force"] if words[1] == "fit" and "--force" not in words else []
    found = CliRunner().invoke(cli.app, words[1:], input=shlex.split(given)[1] if given else None)
    assert found.exit_code == 0 or (found.exit_code == 1 and "--strict" in words and "fail" in found.stdout), (words, found.stderr)
    if wanted:
        Path(wanted.strip()).write_text(found.stdout, "utf-8")


@pytest.mark.parametrize("page", [p for p, text in PAGES.items() if blocks("(?:sh|python)", text)])
def test_what_a_page_shows_runs_in_its_order(page, drawn, quick, monkeypatch, capsys):
    from xmodal.fusion import FUSIONS

    before, names = dict(FUSIONS), {"__name__": page}
    monkeypatch.chdir(drawn)
    for kind, block in re.findall(r"```(sh|python)\n(.*?)```", PAGES[page], re.DOTALL):
        if kind == "sh":
            for line in block.splitlines():
                run_line(line)
        else:
            exec(compile(block, page, "exec"), names)
    for name in FUSIONS.keys() - before.keys():
        del FUSIONS[name]


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "examples").glob("*.py")))
def test_an_example_runs_on_a_table_of_its_columns(name, tmp_path, quick, monkeypatch, capsys):
    text = (ROOT / "examples" / f"{name}.py").read_text("utf-8")
    columns = re.search(r"Columns: (.*?)\.", text, re.DOTALL)[1].replace("\n", " ").split(", ")
    with (tmp_path / "table.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, columns)
        out.writeheader()
        for i in range(48):
            Image.new("RGB", (12, 12), (20 * (i % 12), 90, 200 * (i % 2))).save(tmp_path / f"{i}.png")
            cells = dict.fromkeys(columns, str(i % 7)) | {"id": f"{i:03d}", "image": f"{i}.png", "patient_id": f"p{i % 12}"}
            cells |= dict.fromkeys(("text", "title", "clinical_notes_masked"), f"the {'warm' if i % 2 else 'cold'} story of number {i}")
            cells |= dict.fromkeys(("label", "covid", "product_type"), "ab"[i % 2]) | {"colour": "xyz"[i % 3], "sex": "MF"[i % 2]}
            cells["split"] = "test" if i >= 40 else "val" if i >= 30 else "train"
            out.writerow({n: v for n, v in cells.items() if n in columns} | ({"covid": "?"} if i >= 40 and "covid" in columns else {}))
    monkeypatch.setattr(sys, "argv", [name, str(tmp_path / "table.csv"), "--rows", "44", *(["--folds", "2"] if "--folds" in text else [])])
    looked = []
    monkeypatch.setattr("xmodal.evaluate.Judge.draws", watching(looked))
    names = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), names)
    said = capsys.readouterr().out
    assert ("mixing pay" in said or "validation rows" in said) and "nan" not in said
    assert looked and max(map(max, looked)) < 40, "a row of the test part was scored"


def watching(looked):
    """`Judge.draws`, that notes which rows it scored."""
    from xmodal.evaluate import Judge

    draws = Judge.draws

    def noting(self, name, score):
        looked.append(self.rows.tolist())
        return draws(self, name, score)

    return noting


def test_the_examples_are_listed():
    assert set(re.findall(r"`(\w+\.py)`", (ROOT / "examples/README.md").read_text("utf-8"))) == {
        p.name for p in (ROOT / "examples").glob("*.py")
    }


def test_the_site_builds_without_a_network_and_holds_every_command_option_and_public_name(tmp_path):
    pytest.importorskip("mkdocs")
    env = {"PATH": "", "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", str(ROOT / "mkdocs.yml"), "--site-dir", str(tmp_path)]
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    pages = {p.stem: p.read_text("utf-8") for p in tmp_path.glob("*.html")}
    assert set(PAGES) - {"README"} <= set(pages)
    loaded = re.findall(r"""<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=["']?(https?:[^"' >]+)""", "".join(pages.values()))
    assert not [address for address in loaded if "fonts." in address or address.endswith((".js", ".css"))], loaded
    for name in COMMANDS:
        assert f"xmodal {name}" in pages["commands"]
        assert all(o in pages["commands"] for o in options(name) - {"--help"})
    assert all(name in pages["python"] for name in xmodal.__all__)
    assert "{{" not in re.sub(r"<(script|code|pre).*?</\1>", "", "".join(pages.values()), flags=re.DOTALL)
    assert "class" in pages["extend"] and "Gated" in pages["extend"] and "covid_cxr" in pages["index"]
