"""The command line. Heavy imports stand inside the commands, so that `--help` is quick.

Exit codes: 0 done · 1 the user's error · 2 usage · 3 our bug · 130 interrupted. `--json` prints JSON alone on standard
output; progress and warnings go to standard error.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import errno
import functools
import inspect
import io
import json
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from xmodal import __version__
from xmodal.errors import ConfigError, TableError, UserError, unknown
from xmodal.job import Job, State, Training

FORMULA, SIGNED = r"^[=+\-@\t\r]", r"^[+\-]?[0-9.]+([eE][+\-]?[0-9]+)?$"  # what a spreadsheet runs, but for numbers
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


TableFile = Annotated[Path, typer.Argument(metavar="TABLE", help="A file, or a folder of class-named folders.")]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `fit --out` wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]
KINDS = 10  # of files of a column that `inspect` prints; JSON has all
POSITIONAL, KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
Make = Callable[[Mapping[str, Any]], Mapping[str, Any]]
ASKED = {f.name: f for f in dataclasses.fields(Job) if "help" in f.metadata}
AGAIN = ("media_root", "encoding", "sheet")  # of a new table, they may differ from those of the fit
TYPES: dict[str, Any] = {"str": str | None, "int": int | None, "float": float | None, "bool": bool | None}  # others: a list


def option(field: Any) -> inspect.Parameter:
    """Of a field of Job. None, or no value at all: not given."""
    kind, flag = TYPES.get(field.type.split(" ")[0], list[str]), "--" + field.name.replace("_", "-")
    text = field.metadata["help"] + (" Repeatable." if kind == list[str] else "")
    names = [f"{flag}/--no-{flag[2:]}"] if kind == bool | None else [flag]
    given = typer.Option(*names, show_default=False, metavar=field.metadata["metavar"], help=text)
    default: list[str] | None = [] if kind == list[str] else None
    return inspect.Parameter(field.name, KEYWORD, default=default, annotation=Annotated[kind, given])


def extended(command: Callable[..., None], first: inspect.Parameter, last: Sequence[inspect.Parameter], make: Make) -> Callable[..., None]:
    """The command with more parameters, before and after its own. What `make` builds of all values goes to its parameters of these
    names, which no user sees."""
    asked = {p.name: p for p in inspect.signature(command, eval_str=True).parameters.values()}
    own = [p for name, p in asked.items() if name not in ("rows", "learner")]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        built = make(given)
        command(**{name: built[name] if name in built else given[name] for name in asked})

    parameters = [first, *own, *last]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def learns(command: Callable[..., None]) -> Callable[..., None]:
    """A command over a table that is learnt from: TABLE, an option for each field of a Job, and a file of them. It gets what these
    give as `rows` and `learner`."""
    argument = typer.Argument(metavar="TABLE", help="A file or folder; else of --config.")
    table = inspect.Parameter("table", POSITIONAL, default=None, annotation=Annotated[Path | None, argument])
    file = typer.Option(metavar="FILE", help="TOML that `xmodal config` wrote; options go before it.")
    change = typer.Option("--set", show_default=False, metavar="KEY=VALUE", help="Goes before --config.")
    config = inspect.Parameter("config", KEYWORD, default=None, annotation=Annotated[Path | None, file])
    settings = inspect.Parameter("settings", KEYWORD, default=[], annotation=Annotated[list[str], change])
    return extended(command, table, [*map(option, ASKED.values()), config, settings], new_learner)


def applies(command: Callable[..., None]) -> Callable[..., None]:
    """A command of a model that was saved: MODEL, and how to read what it is applied to, if otherwise than at its fit. It gets the
    `learner`."""
    model = inspect.Parameter("model", POSITIONAL, annotation=ModelFolder)
    return extended(command, model, [option(ASKED[name]) for name in AGAIN], old_learner)


@contextlib.contextmanager
def exits() -> Iterator[None]:
    """Every way out of a command: a short message, no traceback unless asked for, and the exit code."""
    try:
        yield
    except (SystemExit, BrokenPipeError, typer.Exit, typer.BadParameter):
        raise
    except BaseException as error:
        if os.environ.get("XMODAL_DEBUG", "0") not in ("", "0"):
            traceback.print_exception(error)
        code, message = told(error)
        typer.echo(message, err=True)
        raise SystemExit(code) from error


def told(error: BaseException) -> tuple[int, str]:
    """Exit code and message. What the operating system refuses is the user's to mend."""
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted: nothing was written"
    if isinstance(error, OSError) and (error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT)):
        got = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
        error = UserError("a path that can be read or written", got, "check the path, its rights and the free space")
    if isinstance(error, UserError):
        return 1, f"expected: {error.expected}\ngot:      {error.got}\ndo:       {error.do}"
    where = f"xmodal {__version__}, Python {sys.version.split()[0]}, {sys.platform}"
    fault = f"This is a fault of xmodal, not yours: {type(error).__name__}: {error}\n"
    return 3, f"{fault}Please report it with the command, and: {where}. XMODAL_DEBUG=1 or xmodal --debug shows the traceback."


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error; a line a stage where that is no terminal."""
    from rich import progress as rich

    console = Console(stderr=True)
    text = rich.TextColumn("{task.description}", markup=False)
    with rich.Progress(text, rich.BarColumn(), rich.TimeElapsedColumn(), console=console, transient=True) as bars:
        bar, said = bars.add_task("open the table", total=None), {""}

        def say(stage: str, done: int, total: int) -> None:
            bars.update(bar, description=stage, completed=done, total=total)
            if stage not in said and not console.is_terminal:
                typer.echo(stage, err=True)
            said.add(stage)

        yield say


def warn(notes: Iterable[str]) -> None:
    """On standard error."""
    for note in notes:
        typer.echo(f"warning: {note}", err=True)


def show(header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """A table on standard output; names are text, never markup."""
    from rich import box, markup, table

    grid = table.Table(*map(markup.escape, header), box=box.SIMPLE_HEAD)
    for line in lines:
        grid.add_row(*map(markup.escape, line))
    Console().print(grid)


def show_verdict(found: Mapping[str, Any]) -> None:
    """Every input alone and all together, and whether mixing paid."""
    from xmodal.report.html import ranged

    verdict, metric, subsets = found["verdict"], found["verdict"]["metric"], found["subsets"]
    most = max((len(s["inputs"]) for s in subsets), default=0)
    lines = [
        (s["inputs"][0] if len(s["inputs"]) == 1 else "all inputs", ranged(s["metrics"][metric], s["ci95"][metric]),
         ranged(s.get("gain"), s.get("gain_ci95"), "+"))
        for s in subsets if len(s["inputs"]) in (1, most)
    ]  # fmt: skip
    show(("inputs", f"{metric} [95 %]", "gain over the best of them"), lines)
    over = f" over {verdict['best_single']} alone, {verdict['rows']} rows" if verdict["gain"] is not None else ""
    typer.echo(f"Verdict: {verdict['outcome']}: {ranged(verdict['gain'], verdict['ci95'], '+')}{over}")


def show_scores(found: Mapping[str, Any], as_json: bool) -> None:
    """The JSON of `evaluate` or `crossval`, as it is or as tables."""
    from xmodal.files import plain
    from xmodal.report.html import ranged

    if as_json:
        return typer.echo(json.dumps(plain(found), ensure_ascii=False, allow_nan=False))
    warn(found["warnings"])
    for name, target in found["targets"].items():
        lines = [(metric, ranged(value, target["ci95"][metric])) for metric, value in target["metrics"].items()]
        show((f"{name}: {target['n']} rows ({found['part']})", "value [95 %]"), lines)
    return show_verdict(found) if "verdict" in found else None


def found_files(column: str, counts: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    """A line for each kind of file or oddity, the most frequent first; the rest, as each damage may have its own text, as one."""
    kinds = list(counts.items())
    for kind, count in kinds[:KINDS]:
        yield column, kind, f"{count:,}"
    if rest := kinds[KINDS:]:
        yield column, f"{len(rest):,} kinds more", f"{sum(count for _, count in rest):,}"


def divide(option: str, value: str, known: Collection[str]) -> tuple[str, str]:
    """NAME=VALUE at the longest known NAME. Usage error without `=`; ConfigError where no known name stands before one."""
    cuts = [i for i, c in enumerate(value) if c == "="]
    if not cuts:
        raise typer.BadParameter(f"{value!r} holds no '='", param_hint=f"--{option}")
    cut = max((i for i in cuts if value[:i] in known), default=None)
    if cut is None:
        raise unknown("name", value[: cuts[0]], known)
    return value[:cut], value[cut + 1 :]


def new_learner(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table, and a learner with the roles that the configuration and the options give to its columns."""
    from xmodal.job import registry
    from xmodal.learner import Learner
    from xmodal.modality import MODALITIES
    from xmodal.table import read_table

    values = configured(given["config"], given["settings"])
    values |= {n: str(v) if isinstance(v, Path) else v for n, v in given.items() if n in Job.__dataclass_fields__ and v not in (None, [])}
    if not values.get("table") or not values.get("target"):
        raise typer.BadParameter("give TABLE and --target, or a --config that holds both")
    rows = read_table(Path(values["table"]), values.get("encoding"), values.get("sheet"))
    columns, asked = rows.data.column_names, [values["target"]] if isinstance(values["target"], str) else list(values["target"])
    said = [divide("target", t, columns) if "=" in t and t not in columns else (t, values.get("kind")) for t in asked]
    values["target"] = [name for name, _ in said]
    if len(kinds := {kind for _, kind in said}) > 1:
        raise typer.BadParameter("several targets are all of kind multilabel: --target COL=multilabel", param_hint="--target")
    values["kind"] = kinds.pop()
    for name in (n for n in ("input", "modality", "encoder") if isinstance(values.get(n), list)):
        known = {*columns, *values.get("input", ()), "table", "columns", *(registry("modalities", MODALITIES) if name == "encoder" else ())}
        values[name] = dict(divide(name, v, {v.split("=", 1)[0]} if name == "input" else known) for v in values[name])
    return {"rows": rows, "learner": Learner(**values)}


def configured(path: Path | None, settings: Sequence[str]) -> dict[str, Any]:
    """What a configuration file and `--set` say. Raises ConfigError where the file is no TOML."""
    import tomllib

    try:
        values = tomllib.loads(path.read_text("utf-8-sig")) if path else {}
    except ValueError as e:
        raise ConfigError("a configuration file in TOML, UTF-8", f"{e} in {path}", "write it anew with: xmodal config") from e
    for setting in settings:
        name, word = divide("set", setting, {setting.split("=", 1)[0]})
        *path_to, last = name.split(".") if name.startswith("training.") else name.split(".", 1)
        if path_to == ["training"] and path is not None and last in Training.__dataclass_fields__:  # over each kind's own in the file
            for kind in values.get("training", {}).values():
                kind.pop(last, None) if isinstance(kind, dict) else None
        place = values
        for step in path_to:
            place = place.setdefault(step, {})
        kind = str(Job.__dataclass_fields__[name].type) if name in Job.__dataclass_fields__ else ""
        try:
            place[last] = word if kind.startswith("str") else tomllib.loads(f"x = {word}")["x"]
        except ValueError:
            place[last] = [word] if kind.startswith("tuple") else word
    return values


def old_learner(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """A saved learner, that reads tables as its fit did where nothing else is given."""
    from xmodal.job import changed
    from xmodal.learner import Learner

    learner = Learner.load(given["model"])
    learner.job = changed(learner.job, {name: given[name] for name in AGAIN if given[name]})
    return {"learner": learner}


def row_given(text: str) -> dict[str, Any]:
    """One row from standard input."""
    try:
        row, got = json.loads(text), "another kind of JSON"
    except ValueError as e:
        row, got = None, str(e)
    if not isinstance(row, dict):
        raise TableError("one row as a JSON object on standard input", got, 'write {"COLUMN": VALUE, …}')
    return row


def disarmed(answers: Any) -> Any:
    """The table with an apostrophe before each text that a spreadsheet would run as a formula, and a word about it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = answers.column_names
    for at, name in enumerate(names):
        cells = answers.column(at)
        if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            armed = pc.and_(pc.match_substring_regex(cells, FORMULA), pc.invert(pc.match_substring_regex(cells, SIGNED)))
            if count := pc.sum(armed).as_py():
                warn([f"{count} cells of {name!r} begin like formulas: each gets an ' before it; Parquet keeps them as they are"])
                answers = answers.set_column(at, name, pc.if_else(armed, pc.binary_join_element_wise("'", cells, ""), cells))
    return answers


@app.callback()
def start(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, as XMODAL_DEBUG=1 does.")] = False) -> None:
    """Learn from tables whose columns hold pictures, text and numbers, and say whether mixing them paid."""
    if debug:
        os.environ["XMODAL_DEBUG"] = "1"


@app.command()
@exits()
@learns
def fit(
    rows: Any, learner: Any, *, out: Annotated[str | None, typer.Option(metavar="DIR", help="Where the model goes. [model]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the model that is there.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fit of the same that was interrupted.")] = False,
) -> None:  # fmt: skip
    """Learn a column of TABLE, write a model, and say whether mixing the inputs paid."""
    from xmodal.learner import check_free

    job, folder = learner.job, Path(learner.job.out)
    check_free(folder, force)
    state = folder.resolve().with_name(f".{folder.resolve().name}.resume")
    try:
        with progress_bar() as progress:
            learner.fit(rows, progress=progress, folder=state, resume=resume)
        learner.save(folder, force=force)
    except KeyboardInterrupt:
        typer.echo("the same command with --resume goes on from here", err=True)
        raise
    found: Mapping[str, Any] = learner.report
    warn(found["warnings"])
    show_verdict(found)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    part = ("--part", "test") if found["parts"]["test"] else ()
    if job.examples:
        typer.echo("It keeps thumbnails and texts of a few rows for its report; --no-examples keeps none.")
    typer.echo(f"The model is in {folder} ({size / 1e6:.1f} MB). Next:")
    roots = [word for root in job.media_root for word in ("--media-root", root)]  # a model keeps none
    for command in ("evaluate", *part, *roots), ("predict", "--out", "predictions.csv", *roots):
        typer.echo(f"  xmodal {shlex.join((command[0], str(folder), job.table, *command[1:]))}")


@app.command()
@exits()
@learns
def crossval(rows: Any, learner: Any, *, folds: Annotated[int, typer.Option(min=2, help="How many.")] = 5, as_json: AsJson = False) -> None:
    """Run all of `fit` inside each fold and score its held-out rows. Rows that --split marks test stay out."""
    with progress_bar() as progress:
        found = learner.crossval(rows, folds=folds, progress=progress)
    show_scores(found, as_json)


@app.command("inspect")
@exits()
@learns
def inspect_table(
    rows: Any, learner: Any, *, as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as one HTML page.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where a check fails.")] = False,
) -> None:  # fmt: skip
    """Say how TABLE is read, what is missing, unreadable or leaking, and what a fit will cost. Nothing is learnt."""
    from xmodal.files import plain, write_beside
    from xmodal.inspection import inspect as look
    from xmodal.report import inspected

    with progress_bar() as progress:
        found: Any = look(learner, rows, progress)
    if html:
        with write_beside(html) as new:
            new.write_text(inspected(found), "utf-8", errors="replace")
    if as_json:
        typer.echo(json.dumps(plain(found), ensure_ascii=False, allow_nan=False))
    else:
        lines = [(c["name"], c["modality"], f"{c['missing']:,}", f"{c['broken']:,}", c["reason"]) for c in found["columns"]]
        show(("column", "read as", "missing", "broken", "because"), lines)
        files = [line for c in found["columns"] for line in found_files(c["name"], c.get("files", {}))]
        if files:
            show(("column", "its files", "count"), files)
        show(("", "check", "finding", "what to do"), [(f["level"], f["check"], f["says"], f["do"]) for f in found["findings"]])
        if found["cost"]:
            typer.echo(
                "A fit on {rows:,} rows: {experts} experts, {fits} fits, about {cpu_seconds:,.0f} CPU seconds.".format_map(found["cost"])
            )
    if strict and any(f["level"] == "fail" for f in found["findings"]):
        raise typer.Exit(1)


@app.command()
@exits()
@learns
def config(rows: Any, learner: Any) -> None:
    """Print the complete job that `fit` would run, as TOML: every setting, and how each column is read as a comment."""
    from xmodal.prepare import new_task, open_new

    opened = open_new(rows, learner.job)
    typer.echo(replace(learner.job, kind=new_task(opened).kind).to_toml())
    for reading in opened.readings.values():
        typer.echo(f"# {json.dumps(reading.column, ensure_ascii=False)}: {reading.modality} ({reading.reason})")


@app.command()
@exits()
@applies
def evaluate(
    learner: Any, table: TableFile, *, as_json: AsJson = False,
    part: Annotated[str | None, typer.Option(metavar="train|val|test", help="Only these rows.")] = None,
) -> None:  # fmt: skip
    """Score a model on the labelled rows of TABLE."""
    with progress_bar() as progress:
        found = learner.evaluate(table, part, progress=progress)
    show_scores(found, as_json)


@app.command()
@exits()
@applies
def predict(
    learner: Any,
    table: Annotated[Path | None, typer.Argument(metavar="[TABLE]", help="None: a row as JSON on standard input.")] = None,
    *, proba: Annotated[bool, typer.Option("--proba", help="Also the probability of every class.")] = False,
    intervals: Annotated[bool, typer.Option("--intervals", help="Also low and high, or the set of classes.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="CSV or Parquet; else standard output.")] = None,
) -> None:  # fmt: skip
    """Predict every row of TABLE, in order, beside its id columns; or one row, given and answered as JSON."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    from xmodal.files import write_beside
    from xmodal.table import read_table

    if out and out.suffix not in (".csv", ".parquet"):
        raise ConfigError("--out FILE.csv or FILE.parquet", str(out), "give one of these endings")
    if out and not out.absolute().parent.is_dir():
        raise ConfigError("--out in a folder that is there", str(out), "make the folder first")
    if table is None and (out or sys.stdin.isatty()):
        raise typer.BadParameter("give a table, or one row as JSON on standard input and no --out")
    target, classes = learner.model.answer.task.name, learner.classes
    if proba and classes is None:
        raise ConfigError("a target of classes for --proba", f"target {target!r} of numbers", "leave --proba out")
    row = row_given(sys.stdin.read()) if table is None else {}
    known = {*learner.job.roles, target, *learner.model.readings}
    warn(f"column {name!r} is not read: {unknown('column', name, known).do}" for name in row if name not in known)
    rows = read_table(table or [row], learner.job.encoding, learner.job.sheet)
    with progress_bar() as progress:
        prediction, notes = learner.predictions(rows, progress)
    warn(notes)
    columns: dict[str, Any] = {name: rows.data[name] for name in learner.job.id if name in rows.data.column_names}
    columns[target] = learner.decide(prediction.score)
    if proba:
        columns |= {f"probability_{c}": prediction.score[:, i] for i, c in enumerate(classes)}
    columns |= learner.intervals(prediction.score) if intervals else {}
    names = [one.name for one in learner.model.answer.inputs.values()]
    broken = [";".join(n for n, state in zip(names, row, strict=True) if state == State.BROKEN) for row in prediction.state_RM]
    columns |= {"unreadable": broken} if any(broken) else {}  # what a row's answer could not rest on
    answers = pa.table(columns)
    if table is None:
        return typer.echo(json.dumps(answers.to_pylist()[0], ensure_ascii=False))
    with write_beside(out) if out else contextlib.nullcontext(sys.stdout.buffer) as new:
        if out and out.suffix == ".parquet":
            parquet.write_table(answers, new)
        else:
            csv.write_csv(disarmed(answers), new)
    return None


@app.command()
@exits()
@applies
def embed(
    learner: Any, table: TableFile, *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Parquet (beside the id columns) or .npy.")],
) -> None:  # fmt: skip
    """Write the deep fusion's joint vector of every row of TABLE, in order."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    from xmodal.files import write_beside
    from xmodal.table import read_table

    if out.suffix not in (".npy", ".parquet"):
        raise ConfigError("--out FILE.npy or FILE.parquet", str(out), "give one of these endings")
    rows = read_table(table, learner.job.encoding, learner.job.sheet)
    with progress_bar() as progress:
        x_RD = learner.embed(rows, progress)
    ids = {name: rows.data[name] for name in learner.job.id if name in rows.data.column_names}
    with write_beside(out) as new, new.open("wb") as file:
        if out.suffix == ".npy":
            np.save(file, x_RD, allow_pickle=False)
        else:
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(x_RD.ravel()), x_RD.shape[1])
            parquet.write_table(pa.table({**ids, "embedding": vectors}), file)


LISTS = {
    "fusions": ("fusion", "FUSIONS"), "encoders": ("encoders", "ENCODERS"), "experts": ("experts", "EXPERTS"),
    "modalities": ("modality", "MODALITIES"), "heads": ("heads", "HEADS"),
}  # fmt: skip


@app.command("list")
@exits()
def list_known(kind: Annotated[str, typer.Argument(metavar="|".join(LISTS), help="What to list.")]) -> None:
    """Say what is there to choose from, plugins too, a line each."""
    from importlib import import_module

    from xmodal.job import registry

    if kind not in LISTS:
        raise unknown("list", kind, LISTS)
    module, name = LISTS[kind]
    for known, one in sorted(registry(kind, getattr(import_module(f"xmodal.{module}"), name)).items()):
        said = inspect.getdoc(one if isinstance(one, type) else type(one)) or ""
        typer.echo(f"{known:<14}{re.split(r'[.:] (?=[A-Z])', ' '.join(said.split()))[0].rstrip('.:')}")


@app.command()
@exits()
def cache(action: Annotated[str, typer.Argument(metavar="size|verify|clear", help="What to do.")]) -> None:
    """Stored features: how many there are, whether they are whole (damaged ones are made again), or delete them all."""
    from xmodal.features import Store

    store = Store()
    if action not in ("size", "verify", "clear"):
        raise unknown("action", action, ("size", "verify", "clear"))
    if action == "verify":
        bad = store.verify()
        typer.echo(f"{len(bad)} damaged packs are put aside and made again when they are needed")
    elif action == "clear":
        store.clear()
    for spec, (cells, size) in store.sizes().items():
        typer.echo(f"{spec:<32}{cells:>12,} cells {size / 1e6:>12,.1f} MB")
    typer.echo(f"{store.root}: {sum(size for _, size in store.sizes().values()) / 1e6:,.1f} MB")


@app.command()
@exits()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where table.csv and its pictures go.")],
    rows: Annotated[int, typer.Option(min=40, help="Of training, and as many of test.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
) -> None:
    """Draw a table whose label is told only by picture and sentence together."""
    from xmodal.demo import draw

    table = draw(out, rows, seed)
    roles = ("--target", "label", "--id", "id", "--split", "split", "--ignore", "mood")
    typer.echo(f"Drawn. Next:\n  xmodal {shlex.join(('fit', str(table), *roles, '--out', str(out / 'model')))}")


@app.command()
@exits()
def report(model: ModelFolder, *, out: Annotated[Path, typer.Option(metavar="FILE.html", help="Where the page goes.")]) -> None:
    """Draw all that `fit` measured as one HTML page, which needs no network and no table."""
    from xmodal.learner import Learner

    Learner.load(model).write_report(out)


def main() -> None:
    """The `xmodal` command. What a console's encoding lacks is written as JSON escapes it."""
    codecs.register_error("escape", lambda e: (json.dumps(e.object[e.start : e.end])[1:-1], e.end))  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="escape")
    app()
