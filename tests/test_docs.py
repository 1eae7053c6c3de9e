"""What the documents say exists, and what exists is in the documents."""

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest
import typer.main

import xmodal
from xmodal import cli, errors

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


def options(command: str) -> set[str]:
    return {o for p in COMMANDS[command].params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


def shown_commands() -> list[list[str]]:
    lines = [line.rsplit("|", 1)[-1] for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.strip().startswith("xmodal ")]


@pytest.mark.parametrize("words", shown_commands(), ids=" ".join)
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
    named = set(re.findall(r"[a-z_]+\.py|[a-z_]+/", tree)) - {"src/", "xmodal/", "tests/", "bench/", "contracts/", "end_to_end/"}
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
    for document in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text("utf-8")):
            assert link.startswith("https://") or (ROOT / link).is_file(), link


def test_the_version_is_in_the_changelog_or_unreleased():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"[{xmodal.__version__}]" in text or "[Unreleased]" in text


def test_constraints_pin_every_dependency():
    project = (ROOT / "pyproject.toml").read_text()
    wanted = set(re.findall(r'"([a-z-]+)>=', project))
    pinned = set(re.findall(r"^([a-z0-9-]+)==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert wanted <= pinned, wanted - pinned
