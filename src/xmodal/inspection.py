"""What a table holds before anything is learnt from it: how columns are read, what is missing or unreadable, what leaks,
and what a fit will cost. Each finding passes, warns or fails, and says what to do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
from scipy.sparse import issparse
from sklearn.preprocessing import normalize

from xmodal.errors import TableError, TargetError
from xmodal.experts.base import Preparer
from xmodal.experts.deep import choose, encoder_class, left_out, say_unread
from xmodal.experts.descriptors import DESCRIPTORS
from xmodal.experts.linear import cells
from xmodal.job import Json, Key, Progress, State, registered
from xmodal.learner import Learner, Ready
from xmodal.modality import MODALITIES, MediaModality
from xmodal.prepare import alike
from xmodal.race import candidates
from xmodal.splits import thin
from xmodal.table import read_table
from xmodal.table.reading import encoded_once

# CPU seconds of one fit, and of each thousand rows more: what benches took on one core.
COST = {"linear": (0.05, 0.4), "boosted": (0.05, 0.6), "forest": (0.35, 1.0), "descriptor": (0.4, 6.0), "raw": (1.0, 20.0)}
NAMES_GROUP = re.compile(
    r"(patient|subject|person|user|customer|client|session|speaker|author|writer|group|family|case)s?([_ ]?(id|no|key))?", re.IGNORECASE
)
NEAR, MOST = 0.97, 20_000  # cosine of the descriptors of near-equal cells; rows compared at most
FEW = 20  # rows of a class below which nothing is sure


@dataclass(frozen=True)
class Finding:
    """`level`: pass, warn or fail. `do` says what to do about it."""

    check: str
    level: Literal["pass", "warn", "fail"]
    says: str
    do: str = ""


def inspect(learner: Learner, source: Any, progress: Progress) -> dict[str, Json]:
    """`rows`, `columns` (how each is read, and its gaps), `findings` and `cost`. A table that cannot be learnt from at all is a
    finding too. Features that are made on the way stay in the store for the fit."""
    table = read_table(source, learner.job.encoding, learner.job.sheet)
    try:
        ready = learner.ready(table, progress)
    except (TableError, TargetError) as e:
        return {
            "rows": table.data.num_rows,
            "columns": [],
            "findings": [asdict(Finding("fit", "fail", f"{e.got}: not {e.expected}", e.do))],
            "cost": {},
        }
    columns = [column(ready, name) for name in ready.opened.readings]
    found = [*notes(ready), *gaps(columns, table.data.num_rows), *copies(ready), *twins(ready), *groups(ready, learner), *classes(ready)]
    found += cuts(ready, learner)
    for check in ("columns", "unreadable", "missing", "target copy", "duplicates", "leak", "groups", "classes"):
        if all(f.check != check for f in found):
            found.append(Finding(check, "pass", "nothing found"))
    order = ("fail", "warn", "pass")
    lines: list[Json] = [asdict(f) for f in sorted(found, key=lambda f: order.index(f.level))]
    return {"rows": table.data.num_rows, "columns": list(columns), "findings": lines, "cost": cost(ready, learner)}


def column(ready: Ready, name: str) -> dict[str, Json]:
    """How an input column is read, and what it lacks."""
    reading, opened = ready.opened.readings[name], ready.opened
    one = next(i for i in opened.inputs.values() if name in i.columns)
    values = opened.table.column(name)
    state_B = reading.parse(values)[1] if one.modality == "table" else ready.data.columns[one.key].state_B
    lacks: dict[str, Json] = {"missing": int((state_B == State.MISSING).sum()), "broken": int((state_B == State.BROKEN).sum())}
    shown: dict[str, Json] = {"name": name, "input": one.name, "modality": reading.modality, "options": dict(reading.options)}
    if one.modality not in ("table", "text"):
        kind = cast(MediaModality, registered("modalities", MODALITIES, one.modality))
        shown["files"] = dict(kind.survey(values, opened.media, reading))
    return {**shown, "reason": reading.reason, "distinct": len(encoded_once(values)[0]), **lacks}


def notes(ready: Ready) -> Iterator[Finding]:
    """What opening the table said, a finding each."""
    for note in ready.opened.notes:
        unreadable = "unreadable" in note or ", row " in note
        yield Finding("unreadable" if unreadable else "columns", "warn", note, "check the cell" if unreadable else "")


def gaps(columns: Sequence[Mapping[str, Any]], rows: int) -> Iterator[Finding]:
    """What is missing or unusable of each column."""
    for one in columns:
        name, missing, broken, moving = one["name"], one["missing"], one["broken"], one.get("files", {}).get("moving")
        if moving:
            yield Finding("columns", "warn", f"{name!r}: {moving} pictures move; of each the first frame is used")
        if missing:
            level: Literal["pass", "warn"] = "warn" if missing > rows / 2 else "pass"
            yield Finding("missing", level, f"{name!r}: {missing} of {rows} cells are missing", "nothing: they are masked, never filled in")
        if broken:
            none: Literal["fail", "warn"] = "fail" if broken + missing == rows else "warn"
            yield Finding("unreadable", none, f"{name!r}: {broken} of {rows} cells cannot be used", "mend them; until then they are masked")


def copies(ready: Ready) -> Iterator[Finding]:
    """Plain and text columns that give the target away."""
    labels = ready.labels.take(pa.array(ready.known))
    if ready.task.kind == "multilabel":
        labels = pa.array(map(str, labels.to_pylist()), pa.string())
    for name, reading in ready.opened.readings.items():
        words = ready.opened.column(name)
        if words is None or not any(name in i.columns and i.modality in ("table", "text") for i in ready.opened.inputs.values()):
            continue
        mine = words.take(pa.array(ready.known))
        if ready.task.kind == "regress":
            x, y = reading.parse(pa.chunked_array([mine]))[0], np.asarray(labels.cast(pa.float64()), float)
            x_B = np.asarray(x, float) if pa.types.is_floating(x.type) else np.full(len(y), np.nan)
            both = np.isfinite(x_B) & np.isfinite(y)
            tells = both.sum() > FEW and np.ptp(x_B[both]) > 0 and abs(np.corrcoef(x_B[both], y[both])[0, 1]) > 0.9999
        else:
            kinds, codes = (np.asarray(a.dictionary_encode().indices.fill_null(-1), np.int64) for a in (mine, labels))
            count = int(codes.max()) + 2
            pairs = np.unique((kinds * count + codes)[kinds >= 0])
            tells = 1 < len(np.unique(kinds)) == len(pairs) < len(kinds) / 5 and len(np.unique(pairs % count)) > 1
        if tells:
            yield Finding(
                "target copy", "warn", f"{name!r} alone tells the target", f"leave it out (--ignore {name}) unless it is known in advance"
            )


def twins(ready: Ready) -> Iterator[Finding]:
    """Equal rows, in one part or in several, and cells of test rows that a training row nearly has."""
    parts, opened = ready.parts, ready.opened
    code_R = alike([words for i in opened.inputs.values() for c in i.columns if (words := opened.column(c)) is not None])
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(np.bincount(code_R)[code_R] > 1).tolist():
        rows_of[code_R[row]].append(row)
    equal = list(rows_of.values())
    if equal:
        labels = {r: str(ready.labels[r].as_py()) for rows in equal for r in rows}  # of several labels, a dict
        other = sum(len({labels[r] for r in rows}) > 1 for rows in equal)
        says = f"{sum(map(len, equal))} rows are equal in all inputs to another row; {other} groups of them differ in the target"
        yield Finding("duplicates", "warn", says, "they are never divided between parts; delete what was entered twice")
    if parts is None:
        return
    test, train = np.flatnonzero(parts == "test"), np.flatnonzero(parts != "test")
    same = sum(1 for rows in equal if {*parts[rows]} > {"test"})
    if same:
        yield Finding("leak", "fail", f"{same} groups of equal rows stand in test and in other parts", "move each into one part")
    for key, one in opened.inputs.items():
        count = 0 if one.modality not in DESCRIPTORS or one.modality == "table" or opened.rows > MOST else near(ready, key, test, train)
        if count:
            says = f"{one.name!r}: {count} of {len(test)} test rows have nearly what a training row has"
            yield Finding("leak", "warn", says, "tie them by a column: --group COL")


def near(ready: Ready, key: Key, test: np.ndarray, train: np.ndarray) -> int:
    """How many test rows have a cell whose descriptor points where that of a training row does."""
    reader: type[Preparer] = DESCRIPTORS[ready.opened.inputs[key].modality]
    part, column = ready.data.prepared(key, reader, {}, np.arange(len(ready.labels)))
    x_UF = normalize(cells(column, int(part.config.get("width", 0))))  # type: ignore[arg-type]
    mine_R, theirs = column.row_BK[test, 0], np.unique(column.row_BK[train])
    tested, other_FU = np.unique(mine_R[mine_R >= 0]), x_UF[theirs[theirs >= 0]].T
    best = [(x_UF[tested[i : i + 512]] @ other_FU).max(1) for i in range(0, len(tested) if other_FU.shape[1] else 0, 512)]
    close = [tested[512 * i + np.flatnonzero((b.toarray().ravel() if issparse(b) else b) > NEAR)] for i, b in enumerate(best)]
    return int(np.isin(mine_R, np.concatenate(close)).sum()) if close else 0


def groups(ready: Ready, learner: Learner) -> Iterator[Finding]:
    """Groups that stand in several parts; columns that look like groups and are not."""
    opened, job = ready.opened, learner.job
    group = opened.column(job.group)
    if group is not None and ready.parts is not None:
        inside = defaultdict(set)
        for name, part in zip(group.to_pylist(), ready.parts, strict=True):
            inside[name].add("test" if part == "test" else "learnt from")
        torn = [name for name, where in inside.items() if name is not None and len(where) > 1]
        if torn:
            says = f"{len(torn)} groups of {job.group!r} stand in test and in other parts, {torn[0]!r} for one"
            yield Finding("groups", "fail", says, f"write each group into one part of {job.split!r}")
    for name in opened.table.data.column_names if group is None else ():
        words = opened.column(name)
        kinds = 0 if words is None else len(words.unique())
        if NAMES_GROUP.fullmatch(name) and 1 < kinds <= 0.8 * len(ready.labels) and name not in (*job.target, job.split, *job.ignore):
            says = f"{name!r} holds {kinds} different values in {len(ready.labels)} rows and is named as groups are"
            yield Finding("groups", "warn", says, f"if rows of one value belong together: --group {name}")


def classes(ready: Ready) -> Iterator[Finding]:
    """Classes that are rare, or that no training row has."""
    if ready.task.kind != "classify":
        return
    learnt = ready.known if ready.parts is None else ready.known[ready.parts[ready.known] != "test"]
    seen = dict.fromkeys(ready.labels.drop_null().unique().to_pylist(), 0)
    seen |= {v["values"]: v["counts"] for v in ready.labels.take(pa.array(learnt)).value_counts().to_pylist()}
    rare = {name: n for name, n in seen.items() if n < FEW}
    if rare:
        shown = ", ".join(f"{name!r} {n}" for name, n in sorted(rare.items(), key=lambda item: item[1])[:5])
        says = f"{len(rare)} of {len(seen)} classes have fewer than {FEW} rows to learn from: {shown}"
        yield Finding("classes", "fail" if min(rare.values()) == 0 else "warn", says, "label more of them, or join classes")


def cuts(ready: Ready, learner: Learner) -> Iterator[Finding]:
    """Texts that a network of the fit would read in part."""
    for one in candidates(learner.job, ready.task, ready.opened.inputs, learnt(ready)):
        for key, given in one.expert.inputs.items():
            if given.modality != "text" or one.expert.settings.get("kind") != "raw" or len(one.expert.inputs) > 1:
                continue
            encoder = encoder_class(choose(given, "raw"))
            column = ready.data.columns[key].rows(thin(ready.known, MOST, learner.job.seed)).compact()
            prepared = encoder.transform(encoder.fit(column, {}, learner.job.seed), column)
            if "unread" in prepared.dense:
                for note in say_unread({given.name: left_out(prepared, np.arange(len(column)))}):
                    yield Finding("columns", "warn", note, "put what decides first or last: the middle is what is left out")


def learnt(ready: Ready) -> int:
    """How many rows a fit would learn from."""
    return len(ready.known) if ready.parts is None else int((ready.parts[ready.known] != "test").sum())


def cost(ready: Ready, learner: Learner) -> dict[str, Json]:
    """What a fit will take, by what benches took."""
    n = learnt(ready)
    field = candidates(learner.job, ready.task, ready.opened.inputs, n)
    training = learner.job.training
    laps = 1 + 2 * training.folds if n < training.small else 1
    one = [COST.get(str(c.expert.settings.get("kind") or c.expert.name), COST["descriptor"]) for c in field]
    seconds = laps * sum(fixed + each * n / 1000 for fixed, each in one)
    features = sum(a.nbytes for c in ready.data.columns.values() for a in c.dense.values())
    return {"rows": n, "experts": len(field), "fits": laps * len(field), "cpu_seconds": round(seconds, 1), "feature_bytes": features}
