"""The whole way from Python: fit, predict, evaluate, crossval, save, load.

R rows · C classes
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from xmodal import __version__, artefact, prepare, splits
from xmodal.errors import ConfigError, TargetError, UserError, unknown
from xmodal.evaluate import Held, Judge, asked
from xmodal.experts.data import TableData
from xmodal.experts.deep import Deep, say_unread, unread
from xmodal.features import Broken, Counts, build_row
from xmodal.features.column import Fitted
from xmodal.features.corrupt import SEVERITIES, Corruption, called, known
from xmodal.features.worker import Kept
from xmodal.files import part_of, swappable, write_beside
from xmodal.identity import settled
from xmodal.job import Budget, Job, Json, Key, Progress, Rows, seconds_of
from xmodal.journal import Journal
from xmodal.media import Cell, Media
from xmodal.metrics import main_metric
from xmodal.modality.joined import joined, sources
from xmodal.notebook import progress_in_notebook, silent
from xmodal.race import Outcome, Race, candidates, check_names, extractors_of
from xmodal.report import Shown, drawn, page
from xmodal.report.html import tag
from xmodal.table import Table, read_table
from xmodal.table.reading import valid
from xmodal.tasks import Classify, MultiLabel, Prediction, Task, mark_of

CORRUPTED = 2000  # rows that are corrupted at most
BLOCK = 20_000  # rows that are predicted at once
PLURAL = ("target", "id", "use", "ignore", "media_root", "join")


class OutOfTime(Exception):
    """Ends an extraction that takes too long; it never leaves this module."""


@dataclass(frozen=True)
class Ready:
    """A table to learn from, made ready once for a fit or for every fold of a crossval."""

    opened: prepare.Opened
    data: TableData
    counts: Counts
    labels: pa.Array
    weights: np.ndarray
    known: Rows  # labelled rows
    parts: np.ndarray | None  # as the split column says
    task: Task  # fitted on all rows that may be learnt from
    groups: np.ndarray
    strata: np.ndarray
    skipped: list[str]  # what the time limit left out

    def notes(self, limit: str | None) -> list[str]:
        """What was said on the way, and what the limit left out, each once."""
        late = [f"the time limit of {limit} left out: {', '.join(dict.fromkeys(self.skipped))}"] if self.skipped else []
        return [*self.opened.told, *late]


class Learner:
    """Learn one target from a table whose columns hold different kinds of thing.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"size": [1, 2, 3, 4, 5, 6] * 10, "kind": ["a", "b"] * 30, "label": ["x", "y"] * 30})
    >>> Learner(target="label", id="size").fit(rows).predict(rows[:2]).tolist()
    ['x', 'y']

    `roles` are the fields of `xmodal.job.Job`; an unknown one raises ConfigError naming the nearest. A name in place of the job is the
    target's. A source is a path (CSV, Parquet, Arrow), a pandas or pyarrow frame, or rows as dicts. `join`: files, or {name: file, frame
    or array}; what is joined when a model predicts may be another, which is set as `learner.join`.
    """

    def __init__(self, job: Job | str | None = None, **roles: Any) -> None:
        if isinstance(job, str) and "target" not in roles:
            job, roles = None, {**roles, "target": job}
        if not isinstance(job, Job | None):
            raise ConfigError("a Job, or the name of the one target", repr(job), 'write Learner(target="COL"), each role by its name')
        self.join: Mapping[str, Any] = roles.pop("join") if isinstance(roles.get("join"), Mapping) else {}
        several = {k: [roles[k]] if isinstance(roles[k], (str, Path)) else roles[k] for k in PLURAL if k in roles}
        plain = roles | {k: [str(v) for v in values] for k, values in several.items()}
        self.job = Job.from_json({**(job or Job()).to_json(), **plain})
        self.report: dict[str, Json] = {}
        self.journal = Journal()
        self._model: artefact.Model | None = None

    def fit(self, source: Any, progress: Progress | None = None, folder: str | Path | None = None, resume: bool = False) -> Learner:
        """Learn. Test rows are scored once, at the end; what was measured is in `report`. A notebook shows progress, where none is given to
        call. What is finished goes to `folder` until `save`;
        with `resume`, a fit that was interrupted goes on from there, with the same bits. Of a time limit, at most half is for
        features (an input that takes longer is left out) and a fifth for the evaluation; what is learnt by then is the answer."""
        limit, start, began = seconds_of(self.job.time_limit), time.process_time(), time.monotonic()
        progress = progress or progress_in_notebook()
        self.journal = Journal(None if folder is None else Path(folder))
        if folder is not None and not Path(folder).exists():  # where nothing can be written, that is found out before anything is learnt
            Path(folder).mkdir(parents=True)
            Path(folder).rmdir()
        ready = self.ready(source, progress, began + limit / 2)
        parts = ready.parts
        if parts is None and self.job.time is not None:
            parts = prepare.by_time(ready.opened, self.job, ready.groups)
        if parts is None:
            parts = np.array(splits.PARTS)[splits.allocate(ready.groups, ready.strata, splits.SHARES, self.job.seed)]
        if ready.parts is None:
            ready.opened.notes.extend(splits.uneven(parts[ready.known], ready.groups[ready.known]))
        train, valid, test = (ready.known[parts[ready.known] == p] for p in splits.PARTS)
        if folder is not None:
            job = replace(self.job, table=None, out="model", time_limit=None).to_json()
            goes_on = self.journal.begin({"version": __version__, "job": job, "table": fingerprint(ready, parts)}, resume)
            if resume and not goes_on:
                ready.opened.notes.append("there is nothing to resume: the fit began anew")
        outcome, data = self._race(ready, train, valid if len(valid) else None, progress, began + 0.8 * limit, self.journal)
        notes = ready.notes(self.job.time_limit)
        scored = self._judge(outcome.answer.task, data, outcome.rows, ready.groups)
        score = outcome.answer.task.unpool(outcome.answer.pool.add(outcome.scores, outcome.answer.full))
        task = scored.settled(score, scored.metric)
        answer = replace(outcome.answer, task=task)
        outcome = replace(outcome, answer=answer, pooled=answer if outcome.pooled is outcome.answer else outcome.pooled)
        notes.extend(say_unread(unread((m.expert for m in answer.members), data, ready.known)))
        if len(ready.known) < len(ready.labels):
            notes.append(f"{len(ready.labels) - len(ready.known)} rows have no label or weight 0: nothing is learnt from them")
        if self.job.ship == "fusion":
            notes.extend(self._judge(task, data, outcome.rows, ready.groups).below(outcome))
        measured = self._judge(task, data, test, ready.groups).summary(outcome, data)
        details: Any = measured["details"]
        picked = details.pop("extremes", [])
        examples = drawn(ready.opened, data.columns, picked) if self.job.examples else []
        warnings = [*notes, *prepare.unseen(task, ready.labels, test)]
        self.report = showing({
            "target": task.name, "task": task.kind, "seed": self.job.seed,
            "parts": {p: len(r) for p, r in zip(splits.PARTS, (train, valid, test), strict=True)},
            **measured,
            "warnings": list[Json](warnings if self.job.examples else prepare.unquoted(warnings, ready.opened)),
            "inputs": ready.counts.inputs, "made": prepare.made(ready.opened.table, __version__),
            "counts": {n: getattr(ready.counts, n) for n in ("decoded", "extracted", "reused", "inferred")},
            "pretrained": outcome.added,
            "skipped": list(ready.skipped),
            "cpu_seconds": time.process_time() - start,
        })  # fmt: skip
        part = np.searchsorted(sorted(splits.PARTS), parts).astype(np.uint8)
        rows = {"identity": settled(prepare.row_keys(ready.opened, data, task, answer.inputs, self.job), part), "part": part}
        readings, target = ready.opened.readings, ready.opened.target
        if not self.job.examples:
            readings, target = {name: prepare.untold(one) for name, one in readings.items()}, prepare.untold(target)
        self._model = artefact.Model(self.job, readings, target, outcome.answer, self.report, rows, examples)
        return self

    def crossval(self, source: Any, folds: int = 5, progress: Progress | None = None) -> dict[str, Json]:
        """The whole race inside each fold; metrics, verdict and subsets on the out-of-fold rows. Rows that a split
        column marks test are left out."""
        limit, began = seconds_of(self.job.time_limit), time.monotonic()
        if self.job.time is not None:
            do = "use fit, whose test part is the latest rows, or leave --time out"
            raise ConfigError("no --time for crossval", "folds in which the future would train the past", do)
        watched = progress or progress_in_notebook()
        ready = self.ready(source, watched, began + limit / 2)
        known = ready.known if ready.parts is None else ready.known[ready.parts[ready.known] != "test"]
        fold = splits.folds(ready.groups[known], ready.strata[known], folds, self.job.seed)
        held, answers = [], []
        for f in range(folds):

            def say(stage: str, done: int, total: int, at: str = f"fold {f + 1} of {folds}") -> None:
                watched(f"{at}: {stage}", done, total)

            until = time.monotonic() + (began + 0.9 * limit - time.monotonic()) / (folds - f)
            outcome, data = self._race(ready, known[fold != f], None, say, until, Journal())
            if len(outcome.answer.inputs) < len(ready.opened.inputs):
                late = ", ".join(i.name for key, i in ready.opened.inputs.items() if key not in outcome.answer.inputs)
                do = "give a longer --time-limit, or leave inputs out with --ignore"
                raise ConfigError("time to learn from each input in each fold", f"none for {late} in fold {f + 1} of {folds}", do)
            held.append(Held.of(outcome, data, known[fold == f]))
            answers.append(outcome.answer)
            ready.opened.notes.extend(f"fold {f + 1}: {n}" for n in prepare.unseen(outcome.answer.task, ready.labels, known[fold == f]))
        whole = Held.stitched(held)
        data = prepare.asking(ready.data, ready.task, ready.labels, ready.weights, self.job.seed)
        judge = self._judge(ready.task, data, whole.rows, ready.groups)
        found = judge.evaluation(whole.score[answers[0].full], "out_of_fold", ready.notes(self.job.time_limit))
        return Shown(found | {"folds": np.bincount(fold, minlength=folds).tolist()} | judge.comparison(whole, answers))

    def read(self, source: Any, new: bool = False) -> Table:
        """A table with all that is joined to it. `new`: to learn from. Raises TableError, ConfigError."""
        table = read_table(source, self.job.encoding, self.job.sheet)
        known = None if new else self.model.readings
        taken = [*table.data.column_names, *(n for n, r in (known or {}).items() if r.modality != "vector")]
        return joined(table, sources(self.job.join, self.join, taken), self.job.id, known, self.job.encoding)

    @property
    def model(self) -> artefact.Model:
        """What was learnt. Raises ConfigError before `fit` or `load`."""
        if self._model is None:
            raise ConfigError("a fitted learner", "one that has learnt nothing", "call fit or load first")
        return self._model

    @property
    def classes(self) -> list[str] | None:
        """Class names, or labels, in the order of the probabilities; None for a regression."""
        task = self.model.answer.task
        return task.classes if isinstance(task, (Classify, MultiLabel)) else None

    def predictions(self, source: Any, progress: Progress = silent) -> tuple[Prediction, list[str]]:
        """Probabilities [R, C] or values [R], and the state of every input of every row; columns and cells that could not be read."""
        return self.outcomes(source, progress)[:2]

    def outcomes(self, source: Any, progress: Progress = silent) -> tuple[Prediction, list[str], dict[str, Rows]]:
        """The same, and in which rows something of a column could not be read. Some thousand rows at a time, so that features and what is
        made of them stay small."""
        answer, table, parts, notes = self.model.answer, self.read(source), [], dict[str, None]()
        cut, broken = dict[str, np.ndarray](), Broken()
        for start in range(0, table.data.num_rows, BLOCK):
            opened, data = self._again(table.part(start, BLOCK), progress)
            rows = np.arange(opened.rows)
            parts.append(answer.predict(data, rows))
            found = unread((m.expert for m in answer.members), data, rows)
            cut = {name: cut.get(name, 0) + count for name, count in found.items()}
            notes |= dict.fromkeys(opened.notes)
            broken.add(opened.broken)
        said = [*notes, *broken.notes(), *say_unread(cut)]
        return Prediction(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("score", "state_RM"))), said, broken.rows

    def embed(self, source: Any, progress: Progress = silent) -> np.ndarray:
        """The deep fusion's joint vector of each row, float32 [R, D]. Raises ConfigError where the model has no deep expert."""
        return self.embeddings(source, progress)[0]

    def embeddings(self, source: Any, progress: Progress = silent) -> tuple[np.ndarray, list[str]]:
        """The same, and what to tell of columns and of cells that were missing or could not be read."""
        opened, data = self._again(self.read(source), progress)
        member = self.model.answer.fusion
        if member is None:
            raise ConfigError("a model with a deep expert", "only classic experts", "name a network for an input with fit --encoder")
        lacks = [
            f"column {name!r}: {count} of {opened.rows} cells are missing"
            for name, count in opened.missing.items()
            if name in opened.table.data.column_names
        ]  # of others it is said that they are not there
        return cast(Deep, member.expert).embed(data, np.arange(opened.rows)), [*opened.told, *lacks]

    def predict(self, source: Any) -> Any:
        """Classes [R] or values [R], in row order; of a pandas frame, a series with its index. Classes are of the type that the fit's
        table had: bool or numbers where the whole column was; else, and of a file of text, their names."""
        said = self.decide(self.predictions(source)[0].score)
        if given := self.model.target.options.get("given"):
            said = said == "True" if given == "bool" else said.astype(str(given))
        return type(source.iloc[:, 0])(said, index=source.index, name=self.model.answer.task.name) if hasattr(source, "iloc") else said

    def predict_proba(self, source: Any) -> np.ndarray:
        """Probabilities [R, C], in the order of `classes`."""
        return self.predictions(source)[0].score

    def decide(self, score: np.ndarray) -> np.ndarray:
        """Class names, labels joined, or values."""
        return self.model.answer.task.decide(score)

    def intervals(self, score: np.ndarray) -> dict[str, np.ndarray]:
        """`low` and `high` of values, or the `set` of classes, that hold the truth of `coverage` of unseen rows. Raises ConfigError
        for labels, and where the fit had too few rows to say."""
        task = self.model.answer.task
        if not np.isfinite(most := task.most_misfit):
            got = "none for a multilabel target" if task.kind == "multilabel" else "none: too few rows to choose by at fit"
            raise ConfigError("intervals", got, "leave --intervals out" + (", or fit on more rows" if task.kind != "multilabel" else ""))
        if isinstance(task, Classify):
            names, mark = np.array(task.classes), mark_of(task.classes)
            return {"set": np.array([mark.join(names[there]) for there in task.sets(score)], object)}
        return {"low": score - most, "high": score + most}

    def evaluate(
        self, source: Any, part: str | None = None, progress: Progress = silent, corrupt: Mapping[str, str] | Literal["all"] | None = None
    ) -> dict[str, Json]:
        """Every metric with its interval over the labelled rows, all or those of one part of the split. `corrupt`: the cells of an input
        (or of all of a modality) made worse first, as in {"picture": "noise:3"}; "all": each corruption of each input alone, at every
        severity, as `corruptions` beside."""
        opened, data = self._again(self.read(source), progress)
        answer = self.model.answer
        rows = np.arange(opened.rows) if part is None else self._part(opened, data, part)
        notes = opened.told
        if part is None and (known := self._known(opened, data)):
            notes.append(f"{known} of {len(rows)} rows were learnt from, so that the figures flatter: score others, or --part test")
        if corrupt:  # of these rows alone, and of no more than are needed
            if len(rows) > CORRUPTED:
                notes.append(f"of {len(rows)} rows {CORRUPTED} are drawn, as each is corrupted anew")
            some = splits.thin(rows, CORRUPTED, self.job.seed)
            opened, data = self._again(replace(opened.table, data=opened.table.data.take(pa.array(some))), progress)
            rows = np.arange(len(some))
        judge = self._judge(answer.task, data, rows, splits.ties([], opened.column(self.job.group), opened.rows))
        count = int(judge.keep_R.sum())
        if not count:
            raise TargetError(
                f"labels in column {answer.task.name!r}", f"none in {len(rows)} rows of {opened.table.source}", "give labelled rows"
            )
        if count < len(rows):
            notes.append(f"{len(rows) - count} of {len(rows)} rows have no label and are not scored")
        notes.extend(prepare.unseen(answer.task, opened.labels, rows))
        if corrupt == "all":
            curves: dict[str, Json] = {"corruptions": list[Json](self._curves(opened, data, judge, progress))}
            return Shown(judge.evaluation(answer.predict(data, rows).score, part or "all", notes) | curves)
        for name, text in (corrupt or {}).items():
            items = [item for item in opened.inputs.values() if name in called(item)]
            if not items:
                raise unknown("input or modality", name, {n for i in opened.inputs.values() for n in called(i)})
            for item in items:
                data = self._worse(opened, data, item.key, Corruption.of(item, text, self.job.seed))
                notes.append(f"input {item.name!r} is made worse: {text}")
        return Shown(judge.evaluation(answer.predict(data, rows).score, part or "all", notes))

    def _worse(self, opened: prepare.Opened, data: TableData, key: Key, corruption: Corruption) -> TableData:
        column = prepare.worse(opened, key, extractors_of(self.model.answer.members), corruption)
        return replace(data, columns={**data.columns, key: column}, cache={}, some={})

    def _curves(self, opened: prepare.Opened, data: TableData, judge: Judge, progress: Progress) -> Iterator[dict[str, Json]]:
        """The first metric under each corruption of each input, by severity; 0 is none."""
        clean = judge.measured(self.model.answer.predict(data, judge.rows).score)
        every = [(item, name) for item in opened.inputs.values() for name in known(item)]
        for done, (item, name) in enumerate(every):
            yield {"input": item.name, "corruption": name, "severity": 0, **clean}
            for severity in SEVERITIES:
                progress(f"{name} of {item.name}", done * len(SEVERITIES) + severity, len(every) * len(SEVERITIES))
                worse = self._worse(opened, data, item.key, Corruption.of(item, f"{name}:{severity}", self.job.seed))
                found = judge.measured(self.model.answer.predict(worse, judge.rows).score)
                yield {"input": item.name, "corruption": name, "severity": severity, **found}

    def save(self, folder: str | Path, force: bool = False) -> None:
        """Write a model folder, whole or not at all. Raises ConfigError where something else is there."""
        check_free(Path(folder), force)
        artefact.save(self.model, Path(folder), __version__)
        self.journal.end()

    def write_report(self, file: str | Path, evaluation: Mapping[str, Any] | None = None) -> None:
        """All that was measured, as one HTML page; with what `evaluate` of `corrupt="all"` gave, how much the answer bears too. Raises
        ConfigError for a path where it cannot stand."""
        path = Path(file).resolve()
        if path.suffix.lower() not in (".html", ".htm") or not path.parent.is_dir():
            raise ConfigError("a FILE.html in a folder that is there", str(file), "give another name, or make the folder first")
        if any(artefact.is_model(folder) for folder in path.parents):
            raise ConfigError("a file outside of model folders, whose files are counted", str(file), "write it beside the model")
        if "made" not in self.report:
            raise ConfigError("a model that a fit with a report wrote", "one of an earlier xmodal", "fit it again")
        with part_of(Path("report.json"), "what was measured"):
            shown = page(self.model, (evaluation or {}).get("corruptions", ()))
        with write_beside(path) as new:
            new.write_text(shown, "utf-8", errors="replace")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        name = f"Learner of {self.job.target!r}"
        return tag("h3", name) + Shown(self.report)._repr_html_() if self._model else tag("p", f"{name} that has learnt nothing yet")

    @classmethod
    def load(cls, folder: str | Path) -> Learner:
        """Read a model folder. Raises ArtefactError where it is damaged."""
        model = artefact.load(Path(folder))
        learner = cls(model.job)
        learner._model, learner.report = model, showing(model.report)
        return learner

    def ready(self, source: Any, progress: Progress, until: float = math.inf) -> Ready:
        """Everything checked that can be, before anything is trained. Media inputs whose features take longer than `until` are left out;
        what was extracted of them stays in the store. Raises ConfigError where no input is left."""
        opened = prepare.open_new(self.read(source, new=True), self.job)
        labels, parts = opened.labels, prepare.parts_of(opened, self.job)
        weights = prepare.weights_of(opened, self.job)
        known = np.flatnonzero(~labels.is_null().to_numpy(zero_copy_only=False) & (weights > 0))
        learn = known if parts is None else known[parts[known] != "test"]
        if not len(learn if parts is None else known[parts[known] == "train"]):
            raise ConfigError("labelled training rows", f"none in {opened.table.source}", "check --target and --split")
        device_of(self.job.device)
        skipped, late, begun = list[str](), list[str](), dict[str, float]()

        def watched(stage: str, done: int, total: int) -> None:
            progress(stage, done, total)
            begun.setdefault(stage, time.monotonic())
            if time.monotonic() > until and done < total and stage.startswith("features of "):
                needed = 2 * math.ceil((time.monotonic() - begun[stage]) * (total - done) / max(done, 1) + 1)
                late[:] = [stage.removeprefix("features of "), f"{done} of {total} new cells done", f"{needed} seconds more"]
                raise OutOfTime

        while True:
            task = prepare.new_task(opened).fit(labels.take(pa.array(learn)))
            check_names(self.job, task, opened.inputs)
            task = asked(task, self.job.positive, self.job.cost)
            main_metric(task.kind, task.width, self.job.metric)
            try:
                data, counts = prepare.load(opened, extractors_of(candidates(self.job, task, opened.inputs, len(learn))), watched)
                break
            except OutOfTime:
                opened = replace(opened, inputs={k: i for k, i in opened.inputs.items() if late[0] not in (i.name, *i.columns)})
                skipped.append(f"input {late[0]} ({late[1]}; the next fit goes on from there)")
                if not opened.inputs:
                    do = f"run it again, it goes on from there, or allow about {late[2]} with --time-limit"
                    raise ConfigError("features within half the time limit", f"{late[1]} of input {late[0]!r}", do) from None
        groups = prepare.ties_of(opened, data, self.job)
        data = replace(data, private=not self.job.examples)
        return Ready(opened, data, counts, labels, weights, known, parts, task, groups, prepare.strata_of(task, labels), skipped)

    def _race(
        self, ready: Ready, train: Rows, valid: Rows | None, progress: Progress, until: float, journal: Journal
    ) -> tuple[Outcome, TableData]:
        task = ready.task.recount(ready.labels.take(pa.array(train if valid is None else np.concatenate([train, valid]))))
        data = prepare.asking(ready.data, task, ready.labels, ready.weights, self.job.seed)
        budget = Budget(device=device_of(self.job.device))
        given = (self.job, task, ready.opened.inputs, data, ready.groups, ready.strata, budget, progress)
        return Race(*given, journal=journal, until=until, skipped=ready.skipped).run(train, valid), data

    def _judge(self, task: Task, data: TableData, rows: Rows, groups: np.ndarray) -> Judge:
        metric = main_metric(task.kind, task.width, self.job.metric)
        return Judge(task, metric, data.examples[task.name], groups, rows, self.job.seed, self.job.coverage)

    def _again(self, table: Table, progress: Progress) -> tuple[prepare.Opened, TableData]:
        model = self.model
        opened = prepare.open_again(table, self.job, model.readings, model.target, model.answer.inputs)
        data, _ = prepare.load(opened, extractors_of(model.answer.members), progress)
        return opened, prepare.asking(data, model.answer.task, opened.labels, prepare.weights_of(opened, self.job), self.job.seed)

    def _known(self, opened: prepare.Opened, data: TableData) -> int:
        """How many rows the fit learnt from or chose by."""
        said, count = len(opened.notes), 0
        for part in ("train", "val"):
            with contextlib.suppress(UserError):  # it has none
                count += len(self._part(opened, data, part))
        del opened.notes[said:]  # what only `part` has to tell
        return count

    def _part(self, opened: prepare.Opened, data: TableData, part: str) -> Rows:
        """The rows of a part: by the split column, else by the assignment that the fit saved."""
        if part not in splits.PARTS:
            raise ConfigError("part train, val or test", repr(part), "use one of those")
        parts = prepare.parts_of(opened, self.job)
        if parts is None:
            answer = self.model.answer
            parts = prepare.part_again(opened, prepare.row_keys(opened, data, answer.task, answer.inputs, self.job), self.model.rows)
        rows = np.flatnonzero(parts == part)
        if not len(rows):
            raise ConfigError(f"rows of part {part!r}", f"none in {opened.table.source}", "give the table of the fit, or leave --part out")
        return rows


class Predictor:
    """One row at a time, built once: no Arrow, no store, no hashing. Paths in a row are relative to `media_root`, else to
    the learner's, else to the working folder.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"size": [1, 2, 3, 4] * 15, "kind": ["a", "b"] * 30, "label": ["x", "y"] * 30})
    >>> Predictor(Learner(target="label").fit(rows)).row({"size": 3, "kind": "a"})["label"].score.shape
    (1, 2)
    """

    def __init__(self, learner: Learner, media_root: str | Path | None = None) -> None:
        self.model = learner.model
        self.media = prepare.media_of(learner.job, "") if media_root is None else Media((Path(media_root),))
        self.extractors, self.kept = extractors_of(self.model.answer.members), Kept()

    def row(self, cells: Mapping[str, Cell]) -> dict[str, Prediction]:
        """The prediction of one row, by task; a column that isn't given is missing."""
        answer = self.model.answer
        cells = {valid(name): cell for name, cell in cells.items()}
        columns = build_row(cells, self.model.readings, answer.inputs, self.extractors, self.media, self.kept)
        return {answer.task.name: answer.predict(TableData(columns, {}), np.zeros(1, np.int64))}


def showing(report: Mapping[str, Any]) -> Shown:
    """A report whose verdict shows itself too."""
    return Shown({**report, "verdict": Shown(report["verdict"])})


def device_of(asked: str) -> str:
    """`auto`: a GPU where there is one. Raises ConfigError for one that isn't there."""
    if asked not in ("auto", "cpu", "cuda"):
        raise ConfigError("device auto, cpu or cuda", repr(asked), "use one of those")
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ConfigError("a CUDA device", "none on this machine", "say --device cpu")
    return "cuda" if there and asked != "cpu" else "cpu"


def fingerprint(ready: Ready, parts: np.ndarray) -> str:
    """Of all that is learnt from."""
    arrays = {"parts": parts.astype("S5"), "groups": ready.groups, "weights": ready.weights}
    for key, column in ready.data.columns.items():
        ragged = {f"{n}.{i}": a for n, pair in column.ragged.items() for i, a in enumerate(pair)}
        own = {**column.dense, **ragged, "row": column.row_BK, "state": column.state_B}
        arrays |= {f"{key}/{name}": array for name, array in own.items()}
    return Fitted({"labels": repr(ready.labels.to_pylist())}, arrays).digest


def unshared() -> None:
    """In a forked child: one thread, as those of OpenMP's pools stayed with the parent and waiting for them would never end."""
    threadpool_limits(1)
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=unshared)


def check_free(folder: Path, force: bool) -> None:
    """Raises ConfigError where saving there would overwrite something that isn't ours, or ours without `force`."""
    folder = swappable(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not artefact.is_model(folder):
        raise ConfigError("a new folder or a model of ours", f"{folder}, which holds something else", "give another folder")
    if not force:
        raise ConfigError("a new folder", f"{folder}, which holds a model", "give another folder, or --force to replace it")
