"""The command line. Heavy imports stand inside the commands, so that `--help` is quick.

Exit codes: 0 done · 1 the user's error · 2 usage · 3 our bug · 130 interrupted. `--json` prints JSON alone on standard
output; progress and warnings go to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
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

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def several(metavar: str, text: str) -> Any:
    """An option that may be given more than once."""
    return typer.Option(default_factory=list, show_default=False, metavar=metavar, help=f"{text} Repeatable.")


TableFile = Annotated[Path, typer.Argument(metavar="TABLE", help="CSV, Parquet or Arrow file.")]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `fit --out` wrote.")]
Target = Annotated[str, typer.Option(metavar="COL[=KIND]", help="Column to learn; KIND: classify or regress.")]
Ids = Annotated[list[str], several("COL", "Names a row; never an input.")]
Group = Annotated[str | None, typer.Option(metavar="COL", help="Rows with equal values are never divided.")]
Split = Annotated[str | None, typer.Option(metavar="COL", help="Says train, val or test.")]
Use = Annotated[list[str], several("COL", "Only these columns are inputs.")]
Ignore = Annotated[list[str], several("COL", "Not an input.")]
Modality = Annotated[list[str], several("COL|INPUT=KIND", "Read it so.")]
Input = Annotated[list[str], several("NAME=PATTERN", "A named group of plain columns.")]
Encoder = Annotated[list[str], several("INPUT|MODALITY=NAME", "Encode it so.")]
Fusion = Annotated[str | None, typer.Option(metavar="NAME", help="Of the deep joint experts and the correction.")]
Metric = Annotated[str | None, typer.Option(metavar="NAME", help="Reported first; decides whether mixing paid.")]
Roots = Annotated[list[Path], several("DIR", "Where media lie; else beside the table.")]
Seed = Annotated[int, typer.Option(help="Of every draw.")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where networks are trained.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]


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
    if isinstance(error, OSError) and error.filename is not None:
        got = f"{error.strerror}: {error.filename}"
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
        bar, said = bars.add_task("open the table", total=None), [""]

        def say(stage: str, done: int, total: int) -> None:
            bars.update(bar, description=stage, completed=done, total=total)
            if stage != said[0] and not console.is_terminal:
                typer.echo(stage, err=True)
            said[0] = stage

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


def ranged(value: float | None, ci95: Sequence[float | None] | None, sign: str = "") -> str:
    """A figure with its interval."""
    if value is None:
        return "–"
    low, high = ("–" if v is None else f"{v:{sign}.4g}" for v in ci95 or (None, None))
    return f"{value:{sign}.4g} [{low}, {high}]"


def show_verdict(found: Mapping[str, Any]) -> None:
    """Every input alone and all together, and whether mixing paid."""
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

    if as_json:
        return typer.echo(json.dumps(plain(found), ensure_ascii=False, allow_nan=False))
    warn(found["warnings"])
    for name, target in found["targets"].items():
        lines = [(metric, ranged(value, target["ci95"][metric])) for metric, value in target["metrics"].items()]
        show((f"{name}: {target['n']} rows ({found['part']})", "value [95 %]"), lines)
    return show_verdict(found) if "verdict" in found else None


def divide(option: str, value: str, known: Collection[str]) -> tuple[str, str]:
    """NAME=VALUE at the longest known NAME. Usage error without `=`; ConfigError where no known name stands before one."""
    cuts = [i for i, c in enumerate(value) if c == "="]
    if not cuts:
        raise typer.BadParameter(f"{value!r} holds no '='", param_hint=f"--{option}")
    cut = max((i for i in cuts if value[:i] in known), default=None)
    if cut is None:
        raise unknown("name", value[: cuts[0]], known)
    return value[:cut], value[cut + 1 :]


def new_learner(table: Path, given: Mapping[str, Any]) -> tuple[Any, Any]:
    """The table, and a learner with the roles that the options of `fit` and `crossval` give to its columns."""
    from xmodal.job import Job
    from xmodal.learner import Learner
    from xmodal.modality import MODALITIES
    from xmodal.table import read_table

    rows = read_table(table)
    target, columns = given["target"], rows.data.column_names
    fields = {k: v for k, v in given.items() if k in Job.__dataclass_fields__}
    if "=" in target and target not in columns:
        fields["target"], fields["kind"] = divide("target", target, columns)
    fields["input"] = dict(divide("input", v, {v.split("=", 1)[0]}) for v in given["input"])
    names = {*columns, *fields["input"], "table", "columns"}
    fields["modality"] = dict(divide("modality", v, names) for v in given["modality"])
    fields["encoder"] = dict(divide("encoder", v, {*names, *MODALITIES}) for v in given["encoder"])
    return rows, Learner(**fields | {"media_root": [str(root) for root in given["media_root"]]})


def old_learner(model: Path, media_root: Sequence[Path]) -> Any:
    """A saved learner, its media roots replaced where others are given."""
    from xmodal.learner import Learner

    learner = Learner.load(model)
    if media_root:
        learner.job = replace(learner.job, media_root=tuple(str(root) for root in media_root))
    return learner


def row_given(text: str) -> dict[str, Any]:
    """One row from standard input."""
    try:
        row, got = json.loads(text), "another kind of JSON"
    except ValueError as e:
        row, got = None, str(e)
    if not isinstance(row, dict):
        raise TableError("one row as a JSON object on standard input", got, 'write {"COLUMN": VALUE, …}')
    return row


@app.callback()
def start(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, as XMODAL_DEBUG=1 does.")] = False) -> None:
    """Learn from tables whose columns hold pictures, text and numbers, and say whether mixing them paid."""
    if debug:
        os.environ["XMODAL_DEBUG"] = "1"


@app.command()
@exits()
def fit(
    table: TableFile, *, target: Target, id: Ids, group: Group = None, split: Split = None,
    use: Use, ignore: Ignore, modality: Modality, input: Input, encoder: Encoder, fusion: Fusion = None,
    metric: Metric = None, media_root: Roots, seed: Seed = 0, device: Device = "auto",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the model goes.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the model that is there.")] = False,
) -> None:  # fmt: skip
    """Learn a column of TABLE, write a model, and say whether mixing the inputs paid."""
    given = locals()
    from xmodal.learner import check_free

    check_free(out, force)
    rows, learner = new_learner(table, given)
    with progress_bar() as progress:
        learner.fit(rows, progress=progress)
    learner.save(out, force=force)
    found: Mapping[str, Any] = learner.report
    warn(found["warnings"])
    show_verdict(found)
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    part = ("--part", "test") if found["parts"]["test"] else ()
    typer.echo(f"The model is in {out} ({size / 1e6:.1f} MB). Next:")
    roots = [word for root in media_root for word in ("--media-root", str(root))]  # a model keeps none
    for command in ("evaluate", *part, *roots), ("predict", "--out", "predictions.csv", *roots):
        typer.echo(f"  xmodal {shlex.join((command[0], str(out), str(table), *command[1:]))}")


@app.command()
@exits()
def crossval(
    table: TableFile, *, target: Target, id: Ids, group: Group = None, split: Split = None,
    use: Use, ignore: Ignore, modality: Modality, input: Input, encoder: Encoder, fusion: Fusion = None,
    metric: Metric = None, media_root: Roots, seed: Seed = 0, device: Device = "auto",
    folds: Annotated[int, typer.Option(min=2, help="How many.")] = 5, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Run all of `fit` inside each fold and score its held-out rows. Rows that --split marks test stay out."""
    rows, learner = new_learner(table, locals())
    with progress_bar() as progress:
        found = learner.crossval(rows, folds=folds, progress=progress)
    show_scores(found, as_json)


@app.command()
@exits()
def evaluate(
    model: ModelFolder, table: TableFile, *, media_root: Roots, as_json: AsJson = False,
    part: Annotated[str | None, typer.Option(metavar="train|val|test", help="Only these rows.")] = None,
) -> None:  # fmt: skip
    """Score a model on the labelled rows of TABLE."""
    learner = old_learner(model, media_root)
    with progress_bar() as progress:
        found = learner.evaluate(table, part, progress=progress)
    show_scores(found, as_json)


@app.command()
@exits()
def predict(
    model: ModelFolder, *, media_root: Roots,
    table: Annotated[Path | None, typer.Argument(metavar="[TABLE]", help="None: a row as JSON on standard input.")] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Also the probability of every class.")] = False,
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
    learner = old_learner(model, media_root)
    target, classes = learner.model.answer.task.name, learner.classes
    if proba and classes is None:
        raise ConfigError("a target of classes for --proba", f"target {target!r} of numbers", "leave --proba out")
    row = row_given(sys.stdin.read()) if table is None else {}
    known = {*learner.job.id, target, *learner.model.readings}
    warn(f"column {name!r} is not read: {unknown('column', name, known).do}" for name in row if name not in known)
    rows = read_table(table or [row])
    with progress_bar() as progress:
        prediction, notes = learner.predictions(rows, progress)
    warn(notes)
    columns: dict[str, Any] = {name: rows.data[name] for name in learner.job.id if name in rows.data.column_names}
    columns[target] = learner.decide(prediction.score)
    if proba:
        columns |= {f"probability_{c}": prediction.score[:, i] for i, c in enumerate(classes)}
    answers = pa.table(columns)
    if table is None:
        return typer.echo(json.dumps(answers.to_pylist()[0], ensure_ascii=False))
    with write_beside(out) if out else contextlib.nullcontext(sys.stdout.buffer) as new:
        (parquet.write_table if out and out.suffix == ".parquet" else csv.write_csv)(answers, new)
    return None


@app.command()
@exits()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where table.csv and its pictures go.")],
    rows: Annotated[int, typer.Option(min=40, help="Of training, and as many of test.")] = 2000,
    seed: Seed = 0,
) -> None:
    """Draw a table whose label is told only by picture and sentence together."""
    from xmodal.demo import draw

    table = draw(out, rows, seed)
    roles = ("--target", "label", "--id", "id", "--split", "split", "--ignore", "mood")
    typer.echo(f"Drawn. Next:\n  xmodal {shlex.join(('fit', str(table), *roles, '--out', str(out / 'model')))}")


def main() -> None:
    """The `xmodal` command."""
    app()
