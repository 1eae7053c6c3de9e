"""The command line. Heavy imports stand inside the commands, so that `--help` is quick.

Exit codes: 0 done · 1 the user's error · 2 usage · 3 our bug · 130 interrupted. `--json` prints JSON alone on standard
output; progress and warnings go to standard error.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import errno
import inspect
import io
import json
import os
import re
import shlex
import sys
import tomllib
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

import typer
from rich.console import Console

from xmodal import __version__
from xmodal.errors import ConfigError, TableError, UserError, unknown
from xmodal.files import plain, write_beside
from xmodal.job import Job, Training, changed, registry

FORMULA, SIGNED = r"^[=+\-@\t\r]", r"^[+\-]?[0-9.]+([eE][+\-]?[0-9]+)?$"  # what a spreadsheet runs, but for numbers
FIELDS, HINTS = Job.__dataclass_fields__, get_type_hints(Job)
LEARN = [name for name, field in FIELDS.items() if "help" in field.metadata]  # options of commands that learn
READ = ["media_root", "join", "encoding", "sheet"]  # and of those that read another table with a model

NewTable = Annotated[Path | None, typer.Argument(metavar="TABLE", help="A file or folder; else of --config.")]
OldTable = Annotated[Path, typer.Argument(metavar="TABLE", help="A file, or a folder of class-named folders.")]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `fit --out` wrote.")]
ConfigFile = Annotated[Path | None, typer.Option(metavar="FILE", help="TOML that `xmodal config` wrote; options go before it.")]
Settings = Annotated[
    list[str], typer.Option("--set", default_factory=list, show_default=False, metavar="KEY=VALUE", help="Goes before --config.")
]
WORSE = "Make its cells worse first (see: xmodal list corruptions); all: each corruption alone, at every severity. Repeatable."
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def command(name: str | None = None, fields: Iterable[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command of the app. These fields of Job become options of it, and reach it as `**given`: None or no value at all, not given."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        parameters = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
        for field in fields:
            about, several = FIELDS[field].metadata, get_origin(HINTS[field]) in (tuple, dict)
            text = about["help"] + (" Repeatable." if several else "")
            kind: Any = list[str] if several else HINTS[field] | None
            hint = Annotated[kind, typer.Option(show_default=False, metavar=about["metavar"], help=text)]
            parameters.append(inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=[] if several else None, annotation=hint))
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {p.name: p.annotation for p in parameters}
        return app.command(name)(exits()(function))

    return add


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
        got = f"{error.strerror}: {error.filename or 'standard output'}"
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


def show_json(found: Any) -> None:
    """JSON alone; what is not finite is null."""
    typer.echo(json.dumps(plain(found), ensure_ascii=False, allow_nan=False))


def show(header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """A table on standard output; names are text, never markup."""
    from rich import box, markup, table

    grid = table.Table(*map(markup.escape, header), box=box.SIMPLE_HEAD)
    for line in lines:
        grid.add_row(*(markup.escape(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in line))
    Console().print(grid)


def show_scores(found: Mapping[str, Any]) -> None:
    """Every metric of each target, and the verdict: each input alone, all together, and whether mixing paid; whichever is there."""
    from xmodal.report import brought, compared, ranged, scored, worsened

    warn(found["warnings"])
    for title, lines in scored(found):
        show((title, "value [95 %]"), lines)
    if found.get("corruptions"):
        show(*worsened(found["corruptions"]))
    if "verdict" in found:
        verdict, sizes = found["verdict"], [len(s["inputs"]) for s in found["subsets"]]
        ends = [s for s in found["subsets"] if len(s["inputs"]) in (1, max(sizes))]
        show(*compared(ends, verdict["metric"]))
        over = f" over {verdict['best_single']} alone, {verdict['rows']} rows" if verdict["gain"] is not None else ""
        for line in brought(found):
            typer.echo(line)
        typer.echo(f"Verdict: {verdict['outcome']}: {ranged(verdict['gain'], verdict['ci95'], '+')}{over}")


def divide(option: str, value: str, known: Collection[str] | None = None) -> tuple[str, str]:
    """NAME=VALUE at the longest known NAME, or at the first `=`. Usage error without one; ConfigError where no known name stands
    before one."""
    cuts = [i for i, c in enumerate(value) if c == "="]
    if not cuts:
        raise typer.BadParameter(f"{value!r} holds no '='", param_hint=f"--{option}")
    cut = cuts[0] if known is None else max((i for i in cuts if value[:i] in known), default=None)
    if cut is None:
        raise unknown("name", value[: cuts[0]], known or ())
    return value[:cut], value[cut + 1 :]


def chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given of the options."""
    return {name: value for name, value in given.items() if value not in (None, [])}


def new_learner(table: Path | None, config: Path | None, settings: Sequence[str], given: Mapping[str, Any]) -> tuple[Any, Any]:
    """The table, and a learner with the roles that the configuration and the options give to its columns."""
    from xmodal.learner import Learner
    from xmodal.modality import MODALITIES
    from xmodal.modality.joined import sources
    from xmodal.table import read_table

    values = configured(config, settings) | chosen(given) | ({"table": str(table)} if table else {})
    if not values.get("table") or not values.get("target"):
        raise typer.BadParameter("give TABLE and --target, or a --config that holds both")
    rows = read_table(Path(values["table"]), values.get("encoding"), values.get("sheet"))
    columns, asked = rows.data.column_names, [values["target"]] if isinstance(values["target"], str) else values["target"]
    said = [divide("target", t, columns) if "=" in t and t not in columns else (t, values.get("kind")) for t in asked]
    if len({kind for _, kind in said}) > 1:
        raise typer.BadParameter("several targets are all of kind multilabel: --target COL=multilabel", param_hint="--target")
    values |= {"target": [name for name, _ in said], "kind": said[0][1]}
    names = {*columns, *sources(values.get("join", ()), {}, columns), "table", "columns", *registry("modalities", MODALITIES)}
    for name in ("input", "modality", "encoder"):
        if isinstance(values.get(name), list):
            values[name] = dict(divide(name, v, None if name == "input" else names) for v in values[name])
        names |= set(values.get("input", ()))
        names |= {f"{c}:{m}" for c in columns for m in MODALITIES} if name == "modality" else set()  # inputs of columns read in two ways
    return rows, Learner(**values)


def configured(path: Path | None, settings: Sequence[str]) -> dict[str, Any]:
    """What a configuration file and `--set` say. Raises ConfigError where the file is no TOML."""
    try:
        values = tomllib.loads(path.read_text("utf-8-sig")) if path else {}
    except ValueError as e:
        raise ConfigError("a configuration file in TOML, UTF-8", f"{e} in {path}", "write it anew with: xmodal config") from e
    for setting in settings:
        name, word = divide("set", setting)
        *steps, last = name.split(".") if name.startswith("training.") else name.split(".", 1)
        kind = str(FIELDS[name].type) if name in FIELDS else ""
        try:
            value = word if kind.startswith("str") else tomllib.loads(f"x = {word}")["x"]
        except ValueError:
            value = [word] if kind.startswith("tuple") else word
        every = steps == ["training"] and last in Training.__dataclass_fields__  # of each kind of network
        for way in [["training", network] for network in ("descriptor", "raw", "correction")] if every else [steps]:
            place = values
            for step in way:
                place[step] = place[step] if isinstance(place.get(step), dict) else {}
                place = place[step]
            place[last] = value
    return values


def old_learner(model: Path, given: Mapping[str, Any]) -> Any:
    """A saved learner that reads tables as is asked for now."""
    from xmodal.learner import Learner

    learner = Learner.load(model)
    learner.job = changed(learner.job, chosen(given))
    return learner


def check_out(out: Path | None, endings: Sequence[str]) -> None:
    """Raises ConfigError, before any work, for a file that cannot be written."""
    if out and out.suffix not in endings:
        raise ConfigError(f"--out {' or '.join(f'FILE{e}' for e in endings)}", str(out), "give one of these endings")
    if out and not out.absolute().parent.is_dir():
        raise ConfigError("--out in a folder that is there", str(out), "make the folder first")


def write(answers: Any, out: Path | None) -> None:
    """A table as Parquet or CSV; without a file, CSV on standard output."""
    from pyarrow import csv, parquet

    with write_beside(out) if out else contextlib.nullcontext(sys.stdout.buffer) as new:
        if out and out.suffix == ".parquet":
            parquet.write_table(answers, new)
        else:
            csv.write_csv(disarmed(answers), new)
            sys.stdout.flush()  # here a full disk is told


def disarmed(answers: Any) -> Any:
    """The table with an apostrophe before each text that a spreadsheet would run as a formula, and a word about it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for at, (name, cells) in enumerate(zip(answers.column_names, answers.columns, strict=True)):
        if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            armed = pc.and_(pc.match_substring_regex(cells, FORMULA), pc.invert(pc.match_substring_regex(cells, SIGNED)))
            if count := pc.sum(armed).as_py():
                warn([f"{count} cells of {name!r} begin like formulas: each gets an ' before it; Parquet keeps them as they are"])
                answers = answers.set_column(at, name, pc.if_else(armed, pc.binary_join_element_wise("'", cells, ""), cells))
    return answers


def not_read(name: str, columns: Collection[str]) -> str:
    """What to say of a column that the model doesn't know, the nearest ones first."""
    near = difflib.get_close_matches(name, columns, len(columns), 0.0)
    more = f" and {len(near) - 5} more" if len(near) > 5 else ""
    return f"column {name!r} is not read: the model reads {', '.join(map(repr, near[:5]))}{more}"


def ids_of(rows: Any, learner: Any) -> dict[str, Any]:
    """The id columns that a table has; of a folder, its files; of texts beside numbers, as text."""
    from xmodal.table import Mixed, canonical

    named = dict.fromkeys((*learner.job.id, *rows.id))
    held = {name: rows.data[name] for name in named if name in rows.data.column_names}
    return {name: canonical(cells) if isinstance(cells.type, Mixed) else cells for name, cells in held.items()}


@app.callback()
def start(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, as XMODAL_DEBUG=1 does.")] = False) -> None:
    """Learn from tables whose columns hold pictures, text and numbers, and say whether mixing them paid."""
    if debug:
        os.environ["XMODAL_DEBUG"] = "1"


@command(fields=LEARN)
def fit(
    table: NewTable = None, *, config: ConfigFile = None, settings: Settings,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Where the model goes. [model]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the model that is there.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fit of the same that was interrupted.")] = False,
    **given: Any,
) -> None:  # fmt: skip
    """Learn a column of TABLE, write a model, and say whether mixing the inputs paid."""
    from xmodal.learner import check_free

    rows, learner = new_learner(table, config, settings, given | {"out": out})
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
    show_scores(learner.report)
    if job.examples:
        typer.echo("It keeps thumbnails and texts of a few rows for its report; --no-examples keeps none.")
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    typer.echo(f"The model is in {folder} ({size / 1e6:.1f} MB). Next:")
    part = ("--part", "test") if learner.report["parts"]["test"] else ()
    apart = [("--media-root", root) for root in job.media_root] + [("--join", file) for file in job.join]  # a model keeps none
    roots = [word for pair in apart for word in pair]
    for name, *words in ("evaluate", *part, *roots), ("predict", "--out", "predictions.csv", *roots):
        typer.echo(f"  xmodal {shlex.join((name, str(folder), job.table, *words))}")


@command(fields=LEARN)
def crossval(
    table: NewTable = None, *, config: ConfigFile = None, settings: Settings,
    folds: Annotated[int, typer.Option(min=2, help="How many.")] = 5, as_json: AsJson = False, **given: Any,
) -> None:  # fmt: skip
    """Run all of `fit` inside each fold and score its held-out rows. Rows that --split marks test stay out."""
    rows, learner = new_learner(table, config, settings, given)
    with progress_bar() as progress:
        found = learner.crossval(rows, folds=folds, progress=progress)
    (show_json if as_json else show_scores)(found)


@command("inspect", LEARN)
def inspect_table(
    table: NewTable = None, *, config: ConfigFile = None, settings: Settings, as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as one HTML page.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where a check fails.")] = False, **given: Any,
) -> None:  # fmt: skip
    """Say how TABLE is read, what is missing, unreadable or leaking, and what a fit will cost. Nothing is learnt."""
    from xmodal.inspection import inspect as look
    from xmodal.report import inspected, inspected_page

    rows, learner = new_learner(table, config, settings, given)
    with progress_bar() as progress:
        found: Any = look(learner, rows, progress)
    if html:
        with write_beside(html) as new:
            new.write_text(inspected_page(found), "utf-8", errors="replace")
    if as_json:
        show_json(found)
    else:
        tables, cost = inspected(found)
        for header, lines in tables.values():
            show(header, lines)
        typer.echo(cost)
    if strict and any(f["level"] == "fail" for f in found["findings"]):
        raise typer.Exit(1)


@command("config", LEARN)
def print_config(table: NewTable = None, *, config: ConfigFile = None, settings: Settings, **given: Any) -> None:
    """Print the complete job that `fit` would run, as TOML: every setting, and how each column is read as a comment."""
    from xmodal.prepare import new_task, open_new

    rows, learner = new_learner(table, config, settings, given)
    opened = open_new(learner.read(rows, new=True), learner.job)
    typer.echo(replace(learner.job, kind=new_task(opened).kind).to_toml())
    for name, reading in opened.readings.items():
        typer.echo(f"# {json.dumps(name, ensure_ascii=False)}: {reading.modality} ({reading.reason})")


@command(fields=READ)
def evaluate(
    model: ModelFolder, table: OldTable, *, as_json: AsJson = False,
    part: Annotated[str | None, typer.Option(metavar="train|val|test", help="Only these rows.")] = None,
    corrupt: Annotated[
        list[str], typer.Option(default_factory=list, show_default=False, metavar="INPUT|MODALITY=NAME[:1-5]|all", help=WORSE)
    ], **given: Any,
) -> None:  # fmt: skip
    """Score a model on the labelled rows of TABLE."""
    from xmodal.features.corrupt import called

    learner = old_learner(model, given)
    known = {name for item in learner.model.answer.inputs.values() for name in called(item)}
    asked = dict(divide("corrupt", text, known) for text in corrupt if text != "all")
    if asked and len(asked) < len(corrupt):
        raise typer.BadParameter("all stands alone, and each input once", param_hint="--corrupt")
    with progress_bar() as progress:
        found = learner.evaluate(table, part, progress, "all" if "all" in corrupt else asked)
    (show_json if as_json else show_scores)(found)


@command(fields=READ)
def predict(
    model: ModelFolder,
    table: Annotated[Path | None, typer.Argument(metavar="[TABLE]", help="None: a row as JSON on standard input.")] = None, *,
    proba: Annotated[bool, typer.Option("--proba", help="Also the probability of every class.")] = False,
    intervals: Annotated[bool, typer.Option("--intervals", help="Also low and high, or the set of classes.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="CSV or Parquet; else standard output.")] = None, **given: Any,
) -> None:  # fmt: skip
    """Predict every row of TABLE, in order, beside its id columns; or one row, given and answered as JSON."""
    import pyarrow as pa

    from xmodal.table import read_table
    from xmodal.table.reading import valid
    from xmodal.table.sources import parsed

    check_out(out, (".csv", ".parquet"))
    if table is None and (out or sys.stdin.isatty()):
        raise typer.BadParameter("give a table, or one row as JSON on standard input and no --out")
    learner = old_learner(model, given)
    target, classes = learner.model.answer.task.name, learner.classes
    if proba and classes is None:
        raise ConfigError("a target of classes for --proba", f"target {target!r} of numbers", "leave --proba out")
    row: Any = {}
    if table is None:
        row = parsed(sys.stdin.buffer.read().decode("utf-8-sig", "replace"), "standard input")
        if not isinstance(row, dict):
            got = f"a {type(row).__name__} on standard input"
            raise TableError("one row as a JSON object", got, 'write {"COLUMN": VALUE, …}, or give a table of several rows')
    readings = learner.model.readings.values()
    read = [*(r.column for r in readings), *(name for r in readings for name in r.options.get("columns", ()))]
    known = {*learner.job.roles, target, *read, *learner.model.readings}
    warn(not_read(name, read) for name in map(valid, row) if name not in known)
    rows = read_table(table or [row], learner.job.encoding, learner.job.sheet)
    with progress_bar() as progress:
        prediction, notes, lost = learner.outcomes(rows, progress)
    warn(notes)
    columns = ids_of(rows, learner) | {target: learner.decide(prediction.score)}
    if proba:
        columns |= {f"probability_{c}": prediction.score[:, i] for i, c in enumerate(classes)}
    columns |= learner.intervals(prediction.score) if intervals else {}
    unreadable: list[list[str]] = [[] for _ in prediction.score]  # what a row's answer could not rest on
    for name, lost_rows in sorted(lost.items()):
        for at in lost_rows.tolist():
            unreadable[at].append(name)
    columns |= {"unreadable": list(map(";".join, unreadable))} if lost else {}
    if table is None:
        typer.echo(json.dumps(pa.table(columns).to_pylist()[0], ensure_ascii=False))
    else:
        write(pa.table(columns), out)


@command(fields=READ)
def embed(
    model: ModelFolder, table: OldTable, *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Parquet (beside the id columns) or .npy.")], **given: Any,
) -> None:  # fmt: skip
    """Write the deep fusion's joint vector of every row of TABLE, in order."""
    import numpy as np
    import pyarrow as pa

    from xmodal.table import read_table

    check_out(out, (".npy", ".parquet"))
    learner = old_learner(model, given)
    rows = read_table(table, learner.job.encoding, learner.job.sheet)
    with progress_bar() as progress:
        x_RD, notes = learner.embeddings(rows, progress)
    warn(notes)
    if out.suffix == ".parquet":
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(x_RD.ravel()), x_RD.shape[1])
        write(pa.table(ids_of(rows, learner) | {"embedding": vectors}), out)
    else:
        with write_beside(out) as new, new.open("wb") as file:
            np.save(file, x_RD, allow_pickle=False)


MODULES = {"fusions": "fusion", "encoders": "encoders", "experts": "experts", "modalities": "modality", "heads": "heads"}
LISTED = (*MODULES, "corruptions")


@command("list")
def list_known(kind: Annotated[str, typer.Argument(metavar="|".join(LISTED), help="What to list.")]) -> None:
    """Say what is there to choose from, plugins too, a line each."""
    if kind not in LISTED:
        raise unknown("list", kind, LISTED)
    of = "modalities" if kind == "corruptions" else kind
    every = registry(of, getattr(import_module(f"xmodal.{MODULES[of]}"), of.upper()))
    if kind == "corruptions":
        every = {f"{m}={name}": how for m, one in every.items() for name, how in getattr(one, "corruptions", {}).items()}
    for known, one in sorted(every.items()):
        said = inspect.getdoc(one if isinstance(one, type) or inspect.isroutine(one) else type(one)) or ""
        typer.echo(f"{known:<{max(map(len, every)) + 2}}{re.split(r'[.:] (?=[A-Z])', ' '.join(said.split()))[0].rstrip('.:')}")


@command()
def cache(action: Annotated[str, typer.Argument(metavar="size|verify|clear", help="What to do.")]) -> None:
    """Stored features: how many there are, whether they are whole (damaged ones are made again), or delete them all."""
    from xmodal.features.store import Store, cap

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
    typer.echo(f"{store.root}: {sum(size for _, size in store.sizes().values()) / 1e6:,.1f} of {cap() / 1e6:,.0f} MB")


@command()
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


@command()
def report(
    model: ModelFolder, *, out: Annotated[Path, typer.Option(metavar="FILE.html", help="Where the page goes.")],
    evaluation: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON of `evaluate --corrupt all`, to be drawn too.")] = None,
) -> None:  # fmt: skip
    """Draw all that `fit` measured as one HTML page, which needs no network and no table."""
    from xmodal.learner import Learner

    try:
        found = json.loads(evaluation.read_text("utf-8")) if evaluation else {}
        lines = [line for line in found.get("corruptions", ()) if line["metrics"] and {"input", "corruption", "severity"} <= line.keys()]
    except (OSError, ValueError, AttributeError, LookupError, TypeError) as e:
        raise ConfigError("what evaluate --corrupt all --json printed", f"{evaluation}: {e}", "give that file") from e
    Learner.load(model).write_report(out, {"corruptions": lines})


def main() -> None:
    """The `xmodal` command. What a console's encoding lacks is written as JSON escapes it."""
    codecs.register_error("escape", lambda e: (json.dumps(e.object[e.start : e.end])[1:-1], e.end))  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="escape")
    app()
