"""What a table holds before anything is learnt from it: how columns are read, what is missing or unreadable, what leaks,
and what a fit will cost. Each finding passes, warns or fails, and says what to do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
from sklearn import config_context
from sklearn.neighbors import NearestNeighbors

from xmodal.answer import Member
from xmodal.errors import TableError, TargetError
from xmodal.experts.base import Expert, Preparer
from xmodal.experts.data import MOST
from xmodal.experts.deep import left_out, say_unread
from xmodal.experts.descriptors import DESCRIPTORS
from xmodal.experts.linear import cells
from xmodal.experts.networks import choose, encoder_class
from xmodal.job import Job, Json, Key, Progress, Recipes, Rows, State, Training, registered
from xmodal.learner import Learner, Ready
from xmodal.modality import MODALITIES, MediaModality
from xmodal.prepare import alike
from xmodal.race import candidates
from xmodal.splits import thin
from xmodal.table import canonical, read_table
from xmodal.table.reading import encoded_once

CHECKS = ("columns", "unreadable", "missing", "target copy", "duplicates", "leak", "groups", "classes")
LEVELS = ("fail", "warn", "pass")
# CPU seconds of one fit, and of each thousand rows: of a network for each epoch and each input but plain columns, too. From
# `fit_cpu_seconds` and the curves in report.json of `xmodal demo` on one core (OMP_NUM_THREADS=1), of 2,000 training rows and of 300:
# picture.linear .65, joint.forest 1.7, picture.cnn 10.8 in 11 epochs, fusion.raw 43 in 30. Raw ones are rounded up for the correction
# and for what scores the fit: 78 in all.
COST = {
    "linear": (0.0, 0.2), "boosted": (0.03, 0.07), "forest": (0.1, 0.8), "descriptor": (0.1, 0.045), "raw": (0.2, 0.5),
    "agreement": (0.5, 9.0),
}  # fmt: skip
NAMES_GROUP = re.compile(
    r"(patient|subject|person|user|customer|client|session|speaker|author|writer|group|family|case)s?([_ ]?(id|no|key))?", re.IGNORECASE
)
NEAR, COMPARED = 0.97, 20_000  # cosine of the descriptors of near-equal cells; rows compared at most
READ = 2000  # rows whose texts are cut into subwords, to estimate how many are too long
FEW = 20  # rows of a class below which nothing is sure
Finding = dict[str, Json]


def finding(check: str, level: Literal["pass", "warn", "fail"], says: str, do: str = "") -> Finding:
    """`do` says what to do about it."""
    return {"check": check, "level": level, "says": says, "do": do}


def inspect(learner: Learner, source: Any, progress: Progress) -> dict[str, Json]:
    """`rows`, `columns` (how each is read, and its gaps), `findings` and `cost`. A table that cannot be learnt from at all is a
    finding too. Features that are made on the way stay in the store for the fit."""
    job = learner.job
    table = read_table(source, job.encoding, job.sheet)
    rows = table.data.num_rows
    try:
        ready = learner.ready(table, progress)
    except (TableError, TargetError) as e:
        failed = finding("fit", "fail", f"{e.got}: not {e.expected}", e.do)
        return {"rows": rows, "columns": [], "findings": [failed], "cost": {}}
    columns = [column(ready, name) for name in ready.opened.readings]
    field = candidates(job, ready.task, ready.opened.inputs, len(learnt(ready)))
    found = [
        *notes(ready), *(f for one in columns for f in gaps(one, rows)), *copies(ready), *twins(ready),
        *groups(ready, job), *classes(ready), *cuts(ready, field, job.seed),
    ]  # fmt: skip
    found += [finding(check, "pass", "nothing found") for check in CHECKS if all(f["check"] != check for f in found)]
    found.sort(key=lambda f: LEVELS.index(str(f["level"])))
    return {"rows": rows, "columns": list[Json](columns), "findings": list[Json](found), "cost": cost(ready, field, job.training)}


def column(ready: Ready, name: str) -> dict[str, Any]:
    """How an input column is read, and what it lacks."""
    reading, opened = ready.opened.readings[name], ready.opened
    one = next(i for i in opened.inputs.values() if name in i.reads)
    values = opened.table.column(reading.column)
    state_B = reading.parse(values)[1] if one.modality == "table" else ready.data.columns[one.key].state_B
    shown: dict[str, Any] = {"name": name, "input": one.name, "modality": reading.modality, "options": dict(reading.options)}
    if one.modality not in ("table", "text", "vector"):
        kind = cast(MediaModality, registered("modalities", MODALITIES, one.modality))
        shown["files"] = dict(Counter(kind.survey(values, opened.media, reading)).most_common())
    lacks = {state.name.lower(): int((state_B == state).sum()) for state in (State.MISSING, State.BROKEN)}
    return {**shown, "reason": reading.reason, "distinct": len(encoded_once(values)[0]), **lacks}


def notes(ready: Ready) -> Iterator[Finding]:
    """What opening the table said, a finding each."""
    for note in ready.opened.told:
        unreadable = "unreadable" in note or ", row " in note
        yield finding("unreadable" if unreadable else "columns", "warn", note, "check the cell" if unreadable else "")


def gaps(one: dict[str, Any], rows: int) -> Iterator[Finding]:
    """What is missing or unusable of a column."""
    name, missing, broken, moving = one["name"], one["missing"], one["broken"], one.get("files", {}).get("moving")
    if moving:
        yield finding("columns", "warn", f"{name!r}: {moving} pictures move; of each the first frame is used")
    if missing:
        says = f"{name!r}: {missing} of {rows} cells are missing"
        yield finding("missing", "warn" if missing > rows / 2 else "pass", says, "nothing: they are masked, never filled in")
    if broken:
        says = f"{name!r}: {broken} of {rows} cells cannot be used"
        yield finding("unreadable", "fail" if broken + missing == rows else "warn", says, "mend them; until then they are masked")


def codes(values: pa.Array) -> np.ndarray:
    """A number a row, equal where values are; -1: null."""
    if pa.types.is_struct(values.type):  # several labels
        values = pa.array([None if one is None else str(one) for one in values.to_pylist()], pa.string())
    return np.asarray(values.dictionary_encode().indices.fill_null(-1), np.int64)


def pairs(code_R: np.ndarray, other_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which codes stand together in some row, each pair once."""
    count = other_R.max(initial=0) + 2  # from -1 on
    first, second = np.divmod(np.unique(code_R * count + other_R + 1), count)
    return first, second


def copies(ready: Ready) -> Iterator[Finding]:
    """Plain and text columns that give the target away."""
    label_R, opened = codes(ready.labels)[ready.known], ready.opened
    for name, reading in opened.readings.items():
        words = opened.column(reading.column)
        if words is None or not any(name in i.reads and i.modality in ("table", "text") for i in opened.inputs.values()):
            continue
        mine = words.take(pa.array(ready.known))
        if ready.task.kind == "regress":
            x, y_R = reading.parse(pa.chunked_array([mine]))[0], np.asarray(ready.labels, float)[ready.known]
            x_R = np.asarray(x, float) if pa.types.is_floating(x.type) else np.full(len(y_R), np.nan)
            both = np.isfinite(x_R) & np.isfinite(y_R)
            tells = both.sum() > FEW and np.ptp(x_R[both]) > 0 and abs(np.corrcoef(x_R[both], y_R[both])[0, 1]) > 0.9999
        else:
            code_R = codes(mine)
            kinds, told = pairs(code_R[code_R >= 0], label_R[code_R >= 0])
            tells = 1 < len(np.unique(code_R)) == len(kinds) < len(code_R) / 5 and len(np.unique(told)) > 1
        if tells:
            do = f"leave it out (--ignore {name}) unless it is known in advance"
            yield finding("target copy", "warn", f"{name!r} alone tells the target", do)


def twins(ready: Ready) -> Iterator[Finding]:
    """Equal rows, in one part or in several, and cells of test rows that a training row nearly has."""
    parts, opened = ready.parts, ready.opened
    code_R = alike([words for i in opened.inputs.values() for c in i.columns if (words := opened.column(c)) is not None])
    equal_R = np.bincount(code_R)[code_R] > 1
    if equal_R.any():
        other = (np.bincount(pairs(code_R[equal_R], codes(ready.labels)[equal_R])[0]) > 1).sum()
        says = f"{equal_R.sum()} rows are equal in all inputs to another row; {other} groups of them differ in the target"
        yield finding("duplicates", "warn", says, "they are never divided between parts; delete what was entered twice")
    if parts is None:
        return
    test_R = parts == "test"
    same = np.intersect1d(code_R[test_R], code_R[~test_R])
    if len(same):
        yield finding("leak", "fail", f"{len(same)} groups of equal rows stand in test and in other parts", "move each into one part")
    for key, one in opened.inputs.items():
        if one.modality in DESCRIPTORS and one.modality != "table" and opened.rows <= COMPARED and (count := near(ready, key, test_R)):
            says = f"{one.name!r}: {count} of {test_R.sum()} test rows have nearly what a training row has"
            yield finding("leak", "warn", says, "tie them by a column: --group COL")


def near(ready: Ready, key: Key, test_R: np.ndarray) -> int:
    """How many test rows have a cell whose descriptor points where that of a training row does."""
    reader: type[Preparer] = DESCRIPTORS[ready.opened.inputs[key].modality]
    part, column = ready.data.prepared(key, reader, {}, np.arange(len(ready.labels)))
    x_UF = cells(column, int(cast(int, part.config.get("width", 0))))
    mine_R, theirs_U = column.row_BK[test_R, 0], np.unique(column.row_BK[~test_R])
    tested_U, theirs_U = np.unique(mine_R[mine_R >= 0]), theirs_U[theirs_U >= 0]
    if not (len(tested_U) and len(theirs_U) and x_UF.shape[1]):
        return 0
    with config_context(working_memory=64):
        nearest = NearestNeighbors(n_neighbors=1, metric="cosine").fit(x_UF[theirs_U])
        distance_U1, _ = nearest.kneighbors(x_UF[tested_U])
    return int(np.isin(mine_R, tested_U[distance_U1[:, 0] < 1 - NEAR]).sum())


def groups(ready: Ready, job: Job) -> Iterator[Finding]:
    """Groups that stand in several parts; columns that look like groups and are not."""
    opened, group = ready.opened, ready.opened.column(job.group)
    if group is not None and ready.parts is not None:
        test_R = ready.parts == "test"
        tested, others = (set(group.filter(pa.array(part_R)).drop_null().unique().to_pylist()) for part_R in (test_R, ~test_R))
        if torn := sorted(tested & others):
            says = f"{len(torn)} groups of {job.group!r} stand in test and in other parts, {torn[0]!r} for one"
            yield finding("groups", "fail", says, f"write each group into one part of {job.split!r}")
    for name in opened.table.data.column_names if group is None else ():
        if NAMES_GROUP.fullmatch(name) and name not in (*job.target, job.split, *job.ignore):
            kinds = len(canonical(opened.table.data[name]).unique())
            if 1 < kinds <= 0.8 * opened.rows:
                says = f"{name!r} holds {kinds} different values in {opened.rows} rows and is named as groups are"
                yield finding("groups", "warn", says, f"if rows of one value belong together: --group {name}")


def classes(ready: Ready) -> Iterator[Finding]:
    """Classes that are rare, or that no training row has."""
    if ready.task.kind != "classify":
        return
    seen = dict.fromkeys(ready.labels.drop_null().unique().to_pylist(), 0)
    seen |= {v["values"]: v["counts"] for v in ready.labels.take(pa.array(learnt(ready))).value_counts().to_pylist()}
    rare = {name: n for name, n in seen.items() if n < FEW}
    if rare:
        shown = ", ".join(f"{name!r} {n}" for name, n in sorted(rare.items(), key=lambda item: item[1])[:5])
        says = f"{len(rare)} of {len(seen)} classes have fewer than {FEW} rows to learn from: {shown}"
        yield finding("classes", "fail" if min(rare.values()) == 0 else "warn", says, "label more of them, or join classes")


def cuts(ready: Ready, field: Sequence[Member], seed: int) -> Iterator[Finding]:
    """Texts and sequences that a network of the fit would read in part."""
    frozen = {i.name: c for k, i in ready.opened.inputs.items() if "unread" in (c := ready.data.columns[k]).dense and c.digest_U is None}
    for note in say_unread({name: left_out(c, ready.known) for name, c in frozen.items()}):
        yield finding("columns", "warn", note, "put what decides first")
    for one in field:
        given = next(iter(one.expert.inputs.values()))
        if one.single and one.expert.settings.get("kind") == "raw" and given.modality in ("text", "sequence"):
            encoder = encoder_class(choose(given, "raw"))
            rows = thin(ready.known, READ, seed)
            column = ready.data.columns[given.key].rows(rows).compact()
            prepared = encoder.transform(encoder.fit(column, {}, seed), column)
            cut = {given.name: left_out(prepared, np.arange(len(column)))} if "unread" in prepared.dense else {}
            drawn = f"an estimate from {READ:,} rows: " if len(rows) < len(ready.known) else ""
            for note in say_unread(cut):
                yield finding("columns", "warn", f"{drawn}{note}", "put what decides first or last: the middle is what is left out")


def learnt(ready: Ready) -> Rows:
    """The rows that a fit would learn from."""
    return ready.known if ready.parts is None else ready.known[ready.parts[ready.known] != "test"]


def cost(ready: Ready, field: Sequence[Member], training: Recipes) -> dict[str, Json]:
    """What a fit will take, by what it took before."""
    n = len(learnt(ready))
    laps = 1 + 2 * training.folds if n < training.small else 1
    seconds = laps * sum(seconds_of(one.expert, n, training) for one in field)
    features = sum(a.nbytes for c in ready.data.columns.values() for a in c.dense.values())
    return {"rows": n, "experts": len(field), "fits": laps * len(field), "cpu_seconds": round(seconds, 1), "feature_bytes": features}


def seconds_of(expert: Expert, n: int, training: Recipes) -> float:
    """CPU seconds of one fit on `n` rows. A network sees all of them and stops halfway between its fewest and its most epochs."""
    network = expert.settings.get("kind")
    if network is None:
        fixed, each = COST.get(expert.name, COST["forest"])
        return fixed + each * min(n, MOST) / 1000
    recipe: Training = getattr(training, str(network))
    epochs = (min(recipe.minimum, recipe.epochs) + recipe.epochs) / 2
    fixed, each = COST[str(network)]
    return fixed + each * n / 1000 * epochs * max(1, sum(one.modality != "table" for one in expert.inputs.values()))
