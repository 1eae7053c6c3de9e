"""What the site writes from the source: the commands from the command line itself, and files that stand outside docs/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer.main

from xmodal import cli, errors

ROOT = Path(__file__).parents[1]


def commands() -> str:
    """A section a command: its arguments and options with their help."""
    found = []
    for name, command in sorted(typer.main.get_command(cli.app).commands.items()):  # type: ignore[attr-defined]
        known = [p for p in command.params if p.name != "help"]
        words = [f"xmodal {name}", *(p.metavar for p in known if p.param_type_name == "argument")]
        table = [f"| `{shown(p)}` | {p.help}{default(p)} |".replace("<", "&lt;") for p in known]
        found += [f"## xmodal {name}", command.help, f"```text\n{' '.join(words)}\n```", "\n".join(["| | |", "|---|---|", *table])]
    return "\n\n".join(found)


def shown(parameter: Any) -> str:
    """As it is typed; a bar would end the cell of a table."""
    if parameter.param_type_name == "argument":
        words = str(parameter.metavar)
    else:
        words = ", ".join([*parameter.opts, *parameter.secondary_opts]) + ("" if parameter.is_flag else f" {parameter.metavar or 'N'}")
    return words.replace("|", "\\|")


def default(parameter: Any) -> str:
    """Where it has one that is no absence."""
    required = " Must be given." if parameter.required and parameter.param_type_name == "option" else ""
    return required if parameter.default in (None, False, []) or callable(parameter.default) else f" Else {parameter.default}."


def included(file: str, heading: str | None) -> str:
    """A file of the project, or the section under one of its headings; links out of docs/ become plain words."""
    text = (ROOT / file).read_text("utf-8")
    if heading:
        text = re.split(r"^## ", text.split(f"\n## {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.sub(r"(?<!!)\[([^]]+)\]\((?!https?:)[^)#]+\)", r"\1", text)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """`{{ commands }}`, `{{ errors }}`, `{{ FILE }}` and `{{ FILE ## HEADING }}`."""
    markdown = markdown.replace("{{ commands }}", commands()).replace("{{ errors }}", f"```text\n{errors.__doc__}```")
    return re.sub(r"\{\{ (\S+)(?: ## ([^}]+))? \}\}", lambda m: included(m[1], m[2]), markdown)
