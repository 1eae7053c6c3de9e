"""The race: every candidate expert is trained apart, scored on rows it has not seen, pooled, and what helps is kept.

n, the rows that are not test, decides: below `training.small` scores are out-of-fold over 5 folds and what is kept is
refitted on all n for the folds' median epoch; from there on they come from the validation rows, and nothing is refitted.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import cast

import numpy as np

from xmodal.answer import Answer, Member, present, to_bits
from xmodal.encoders import ENCODERS
from xmodal.encoders.base import Encoder
from xmodal.encoders.pretrained import called
from xmodal.errors import ConfigError
from xmodal.experts import EXPERTS
from xmodal.experts.base import Expert
from xmodal.experts.classic import Classic
from xmodal.experts.data import TableData
from xmodal.experts.deep import Deep
from xmodal.experts.descriptors import DESCRIPTORS, Descriptor
from xmodal.experts.networks import choose, encoder_class, is_frozen
from xmodal.features.extractors import CLASSIC, Extractor
from xmodal.fusion import FUSIONS
from xmodal.heads import HEADS
from xmodal.job import Budget, Input, Job, Json, Key, Progress, Rows, registered, registry
from xmodal.journal import Journal
from xmodal.pool import LOSSES, SETS, Loss, Pool, Scores, fit_pool, weighted
from xmodal.pretrained.checkpoint import Checkpoint
from xmodal.splits import carve, folds, thin
from xmodal.tasks import Task

SETS_DRAWN = 24  # where there are more than SETS inputs
CLASSES = 20  # above, boosted trees cost more than they bring
BLEND = 0.01  # of its loss: by how much a second family of one input must better the first
KEEP = 0.02  # a joint whose weight is below this in every set is dropped
INNER = 0.2  # of a fold's training rows, to choose its rounds by
SCORED = 20_000  # validation rows at most: more choose no better
SHORT = 0.2  # seconds: no fit of a correction is worth less
COST = {"linear": 0, "forest": 1, "boosted": 2}  # what is tried first where time is limited; networks last
CARVED = 0.15  # validation share where none is given


@dataclass
class Entry:
    """What the race learnt of a candidate."""

    member: Member  # holds the expert of the last fit
    z: dict[int, np.ndarray] = field(default_factory=dict)  # view -> [Q, C]
    rounds: list[int] = field(default_factory=list)
    curves: list[list[float]] = field(default_factory=list)  # validation losses, a fit each
    seconds: float = 0.0  # CPU, all fits
    predict_ms: float = 0.0  # CPU a row, in bulk
    wall: float = 0.0  # seconds that the last lap took
    most: float | None = None  # seconds that a fit of it may take


@dataclass(frozen=True)
class Outcome:
    """The answer, and what was scored on the way."""

    answer: Answer  # what is shipped
    pooled: Answer  # of all kept experts
    entries: list[Entry]
    rows: Rows  # the scored rows Q
    scores: Scores  # of the answer's members on them
    added: dict[str, Json] = field(default_factory=dict)  # of inputs with a frozen network: their best single's loss with and without it


def candidates(job: Job, task: Task, inputs: Mapping[Key, Input], n: int) -> list[Member]:
    """Experts that may enter the answer, not fitted yet: singles of every input, then joints. Raw encoders from scratch take part from
    `training.small` rows on, or where --encoder asks for them."""
    found: list[Member] = []
    described = registry("descriptors", DESCRIPTORS)
    classic = {k: i for k, i in inputs.items() if i.modality in described or is_frozen(i)}

    def add(name: str, kind: str, some: Mapping[Key, Input], network: str | None = None, reads: str | None = None) -> None:
        settings = settings_of(job, network, "transformer") if network else {"reads": reads} if reads else {}
        name += " of all" if name in {c.name for c in found} else ""  # an input may be called "joint"
        expert = registered("experts", EXPERTS, kind)({task.name: task}, some, settings)
        found.append(Member(name, expert, to_bits(inputs, some)))

    def is_raw(one: Input) -> bool:
        forced = one.encoder is not None or one.modality not in described
        return not is_frozen(one) and (n >= job.training.small or forced) and encoder_class(choose(one, "raw")).kind == "raw"

    for key, one in inputs.items():
        if one.modality in described:
            add(f"{one.name}.linear", "linear", {key: one}, reads="classic" if is_frozen(one) else None)
        if is_frozen(one):
            add(f"{one.name}.pretrained", "linear", {key: one}, reads="frozen")
        if one.modality == "table":
            add(f"{one.name}.boosted", "boosted", {key: one})
        if is_raw(one) and (one.encoder is None or choose(one, "raw") == one.encoder):
            add(f"{one.name}.{called(choose(one, 'raw'))}", "deep", {key: one}, "raw")
    if len(inputs) > 1:
        for kind in ("linear", "boosted", "forest"):
            if len(classic) > 1 and (kind != "boosted" or task.width <= CLASSES):
                add(f"joint.{kind}", kind, classic)
        media = {k: i for k, i in inputs.items() if i.modality in CLASSIC}
        if len(media) > 1 and (task.kind, task.width) == ("classify", 2) and n < job.training.small:
            add("joint.agreement", "agreement", media)
        add("fusion.descriptor", "deep", inputs, "descriptor")
        if any(map(is_raw, inputs.values())):
            add("fusion.raw", "deep", inputs, "raw")
    for kind in sorted(registry("experts", EXPERTS).keys() - EXPERTS.keys()):
        for some in [{key: one} for key, one in classic.items()] + [classic] * (len(classic) > 1):
            add(f"{'joint' if len(some) > 1 else next(iter(some.values())).name}.{kind}", kind, some)
    return found


def settings_of(job: Job, recipe: str, fusion: str) -> dict[str, Json]:
    """Of a deep expert."""
    kind = "raw" if recipe == "raw" else "descriptor"
    return {"kind": kind, "fusion": job.fusion or fusion, "head": job.head, "training": asdict(getattr(job.training, recipe))}


def check_names(job: Job, task: Task, inputs: Mapping[Key, Input]) -> None:
    """Raises ConfigError for a fusion that isn't known, a head that answers other tasks, or an encoder that cannot read its input."""
    registered("fusions", FUSIONS, job.fusion or "transformer")
    if job.head and not issubclass(registered("heads", HEADS, job.head), usual := HEADS[task.kind]):
        raise ConfigError(f"a head that is a {usual.__name__}, for a target to {task.kind}", f"{job.head!r}", "give another --head")
    for one in inputs.values():
        if one.encoder is not None and one.modality not in (reads := encoder_class(one.encoder).modality):
            got = f"{one.encoder!r}, which reads {', '.join(sorted(reads))}"
            raise ConfigError(f"an encoder of {one.modality} for input {one.name!r}", got, "give another --encoder")


def extractors_of(some: Iterable[Member]) -> dict[Key, list[Extractor]]:
    """The extractors of each input that these experts read, each once."""
    found: dict[Key, dict[str, Extractor]] = {}
    for one in some:
        for key, readers in readers_of(one.expert).items():
            extractors = [e for r in readers for m, e in r.extractor.items() if m == one.expert.inputs[key].modality]
            found.setdefault(key, {}).update({e.spec.digest: e for e in extractors})
    return {key: list(each.values()) for key, each in found.items()}


def readers_of(expert: Expert) -> dict[Key, list[type[Descriptor] | type[Encoder]]]:
    """What prepares each input of an expert; of one that reads what a frozen network makes, its encoder and the classic one."""
    found: dict[Key, list[type[Descriptor] | type[Encoder]]] = {}
    for key, given in expert.inputs.items():
        frozen = [encoder_class(str(given.encoder))] if is_frozen(given) else []
        if isinstance(expert, Deep):
            found[key] = [encoder_class(expert.encoders[key]), *([ENCODERS["descriptor"]] if frozen else [])]
        elif isinstance(expert, Classic):
            found[key] = [expert.reader(key), *(frozen if expert.settings.get("reads") != "classic" else [])]
        else:
            found[key] = [registered("descriptors", DESCRIPTORS, given.modality)]
    return found


def checkpoints(some: Iterable[Member]) -> list[Checkpoint]:
    """The pretrained networks that these experts read, each once; without the weights where those that learnt hold their own."""
    found: dict[str, Checkpoint] = {}
    for reader in (r for one in some for each in readers_of(one.expert).values() for r in each):
        if (c := getattr(reader, "checkpoint", None)) is not None:
            c = c.plain if getattr(reader, "mode", "") == "full" else c
            found[c.weights] = c
    return list(found.values())


def views_of(inputs: int, seed: int) -> list[int]:
    """The sets of two inputs or more that joints are scored under, the full one last: all, or where there are many, drawn ones."""
    if inputs <= SETS:
        return [v for v in range(1 << inputs) if v.bit_count() >= 2]
    random = np.random.default_rng(seed)
    drawn = {(1 << inputs) - 1}
    while len(drawn) <= SETS_DRAWN:
        some = random.choice(inputs, int(random.integers(2, inputs)), replace=False)
        drawn.add(int((1 << some).sum()))
    return sorted(drawn)


@dataclass
class Race:
    """One race over the rows of a fit, or of an outer fold."""

    job: Job
    task: Task
    inputs: Mapping[Key, Input]
    data: TableData
    groups: np.ndarray  # rows that may not be divided, over the whole table
    strata: np.ndarray
    budget: Budget
    progress: Progress
    journal: Journal = field(default_factory=Journal)
    until: float = math.inf  # of time.monotonic()
    skipped: list[str] = field(default_factory=list)  # what the time limit left out
    laps: int = 1

    def run(self, train: Rows, valid: Rows | None) -> Outcome:
        """Train, score, pool, correct, keep, refit."""
        rows = train if valid is None else np.sort(np.concatenate([train, valid]))
        small = len(rows) < self.job.training.small
        entries = [Entry(c) for c in candidates(self.job, self.task, self.inputs, len(rows))]
        if self.until < math.inf:
            entries.sort(key=lambda e: (COST.get(e.member.expert.name, 3), not e.member.single))
        views = views_of(len(self.inputs), self.job.seed) if len(self.inputs) > 1 else []
        if small:
            scored, fold_Q = rows, self.fold(rows)
            self.laps = count = int(fold_Q.max()) + 1
            for f in range(count):
                self.lap(entries, rows[fold_Q != f], scored, fold_Q == f, views, (f, count))
                self.data.forget()
                if self.laps < count:  # there is time for no more: what the first fold chose is shipped as it is
                    self.skipped.append(f"{count - 1} of {count} folds, and learning again from all rows")
                    scored, small = rows[fold_Q == 0], False
                    for entry in entries:
                        entry.z = {view: z[fold_Q == 0] for view, z in entry.z.items()}
                    break
        else:
            train, scored = (train, valid) if valid is not None else carve(self.groups, self.strata, rows, CARVED, self.job.seed)
            scored = thin(scored, SCORED, self.job.seed)
            self.lap(entries, train, scored, np.ones(len(scored), bool), views, (0, 1))
        entries, views = self.reached(entries, views)
        outcome = self.pool(entries, scored, views)
        outcome = self.refit(outcome, rows) if small else outcome
        return self.shipped(outcome) if self.job.ship == "fusion" else outcome

    def reached(self, entries: list[Entry], views: list[int]) -> tuple[list[Entry], list[int]]:
        """The same; or where the time limit came before some input was learnt from, the singles of the others, now all inputs."""
        there = {key for entry in entries if entry.member.single for key in entry.member.expert.inputs}
        late = [one.name for key, one in self.inputs.items() if key not in there]
        if not late:
            return entries, views
        self.skipped += [f"input {name}" for name in late] + [e.member.name for e in entries if not e.member.single]
        self.inputs = {key: one for key, one in self.inputs.items() if key in there}
        entries = [entry for entry in entries if entry.member.single]
        for entry in entries:
            bits = to_bits(self.inputs, entry.member.expert.inputs)
            entry.member, entry.z = replace(entry.member, bits=bits), {bits: entry.z[entry.member.bits]}
        return entries, views_of(len(self.inputs), self.job.seed) if len(self.inputs) > 1 else []

    def shipped(self, outcome: Outcome) -> Outcome:
        """The deep fusion as the answer."""
        member = outcome.pooled.fusion
        if member is None:
            raise ConfigError("a deep fusion for --ship fusion", "only classic experts", "name a network for an input with --encoder")
        at = outcome.pooled.members.index(member)
        scores = replace(outcome.scores, z=[outcome.scores.z[at]], reads=(member.bits,), residual=(False,))
        return replace(outcome, answer=outcome.pooled.alone(member), scores=scores)

    def fold(self, rows: Rows) -> np.ndarray:
        """The fold of each row; fewer folds where there are fewer groups."""
        count = min(self.job.training.folds, max(2, len(np.unique(self.groups[rows]))))
        return folds(self.groups[rows], self.strata[rows], count, self.job.seed)

    def lap(self, entries: list[Entry], train: Rows, scored: Rows, at: np.ndarray, views: Sequence[int], lap: tuple[int, int]) -> None:
        """Fit every candidate on `train` and score it on the scored rows that `at` marks. Where there are several laps,
        rounds are chosen inside `train`: chosen on the rows that score them, experts look better than they are."""
        valid = scored[at]
        for number, entry in enumerate(entries.copy()):
            self.progress(f"train {entry.member.title(len(self.inputs))}", lap[0] * len(entries) + number, lap[1] * len(entries))
            start, first = time.monotonic(), lap[0] == 0 and self.until < math.inf and not entry.member.residual
            if first and not self.affords(entries, entry):
                continue
            inner, stop = (train, valid) if lap[1] == 1 else carve(self.groups, self.strata, train, INNER, self.job.seed)
            used = self.learn(entry, f"fold {lap[0]}", inner, stop)
            entry.rounds.append(used)
            entry.curves.append(entry.member.expert.curve)
            if lap[1] > 1:
                self.learn(entry, f"fold {lap[0]} whole", train, None, used)
            middle = time.process_time()
            for view, z in entry.member.scores(self.task, self.inputs, self.data, valid, views).items():
                entry.z.setdefault(view, np.zeros((len(scored), z.shape[1])))[at] = z
            self.data.rest()
            entry.predict_ms = 1000 * (time.process_time() - middle) / max(len(valid) * max(len(entry.z), 1), 1)
            entry.wall = time.monotonic() - start
            if first:
                self.affords(entries, entry)
        self.progress("train", (lap[0] + 1) * len(entries), lap[1] * len(entries))

    def affords(self, entries: list[Entry], entry: Entry) -> bool:
        """Whether there is time for all laps and the refit of an expert, judged before its first lap by the dearest so far and after
        it by its own; if not, it is left out. Where there is none for the first expert of an input, one lap is all; the very first
        expert is always trained, so that there is an answer."""
        tried, after = [e for e in entries if e.rounds], bool(entry.rounds)
        needed = entry.member.single and not any(e.member.bits == entry.member.bits for e in tried if e is not entry)
        if needed and self.left(tried) < 0:
            self.laps = 1
        left, times = self.left(tried), self.laps + (self.laps > 1)
        entry.most = entry.most if after else max(left, 0) / times / 4  # it is fitted twice a lap; half is for those after it
        fits = left >= 0 if after or needed else left > times * max(e.wall for e in tried)
        if fits or not tried or (needed and after):
            return True
        self.skipped.append(entry.member.name)
        entries.remove(entry)
        return False

    def left(self, tried: list[Entry]) -> float:
        """Seconds, less those that the experts so far will take yet."""
        return self.until - time.monotonic() - sum(e.wall for e in tried) * (self.laps if self.laps > 1 else 0)

    def loss_of(self, scored: Rows) -> Callable[[np.ndarray], Loss]:
        """The loss of z at some of the scored rows."""
        examples = self.data.examples[self.task.name]
        assert examples.y is not None
        y_Q, weight_Q = examples.y.numpy()[scored], examples.weight_R.numpy()[scored]
        return lambda at: weighted(LOSSES[self.task.kind](y_Q[at]), weight_Q[at])

    def mean_loss(self, z_QC: np.ndarray, scored: Rows) -> float:
        """Of all scored rows."""
        return float(self.loss_of(scored)(np.arange(len(scored)))(z_QC)[0].mean())

    def pool(self, entries: list[Entry], scored: Rows, views: Sequence[int]) -> Outcome:
        """The best families of each input, all joints, the correction; weights; joints that bring nothing dropped."""
        best: dict[Key, list[Entry]] = {}
        added: dict[str, Json] = {}
        for single in sorted((e for e in entries if e.member.single), key=lambda e: self.alone([e], scored)):
            (given,) = single.member.expert.inputs.values()
            mine = best.setdefault(given.key, [])
            if not mine or self.alone([*mine, single], scored) < (1 - BLEND) * self.alone(mine, scored):
                mine.append(single)
            if is_frozen(given):
                which = "with" if single.member.expert.settings.get("reads") == "frozen" else "without"
                cast(dict[str, Json], added.setdefault(given.name, {})).setdefault(which, self.alone([single], scored))
        kept = [*(e for k in self.inputs for e in best[k]), *(e for e in entries if not e.member.single)]
        pool, scores = self.fitted(kept, scored)
        if len(self.inputs) > 1:
            if correction := self.correct(pool, scores, scored, views, sum(e.wall for e in kept)):
                entries.append(correction)
                kept.append(correction)
                pool, scores = self.fitted(kept, scored)
            heaviest = np.max([pool.weight_E, *pool.by_set.values()], 0)
            deep = [e for e in kept if e.member.expert.family == "deep" and not e.member.single]
            embeds = min(deep, key=lambda e: self.mean_loss(e.z[views[-1]], scored), default=None)
            kept = [e for e, w in zip(kept, heaviest, strict=True) if w >= KEEP or e.member.single or e is embeds]
            pool, scores = self.fitted(kept, scored)
        order = tuple(sorted(best, key=lambda key: self.alone(best[key], scored)))
        answer = Answer(self.task, self.inputs, tuple(e.member for e in kept), pool, order)
        return Outcome(answer, answer, entries, scored, scores, added)

    def fitted(self, kept: list[Entry], scored: Rows) -> tuple[Pool, Scores]:
        """The pool of these entries."""
        reads, residual = tuple(e.member.bits for e in kept), tuple(e.member.residual for e in kept)
        scores = Scores([e.z for e in kept], reads, residual, present(self.data, self.inputs, scored))
        return fit_pool(scores, self.task.prior, self.loss_of(scored), len(self.inputs), self.job.seed), scores

    def alone(self, entries: Sequence[Entry], scored: Rows) -> float:
        """Mean loss over all scored rows of the answer that these singles of one input would be."""
        bits = entries[0].member.bits
        there_Q = (present(self.data, self.inputs, scored) & bits > 0).astype(np.int64)
        scores = Scores([{1: e.z[bits]} for e in entries], (1,) * len(entries), (False,) * len(entries), there_Q)
        pool = fit_pool(scores, self.task.prior, self.loss_of(scored), 1, self.job.seed)
        return self.mean_loss(pool.add(scores, 1), scored)

    def correct(self, pool: Pool, scores: Scores, scored: Rows, views: Sequence[int], owed: float) -> Entry | None:
        """The correction, cross-fitted over folds of the scored rows against what the others pool there; None where no time is left
        beside what refits are `owed`."""
        full = (1 << len(self.inputs)) - 1
        offset_BC = np.zeros((len(self.groups), self.task.width))
        offset_BC[scored] = pool.add(scores, full)
        race = replace(self, data=self.data.offset(self.task.name, offset_BC), progress=lambda stage, done, total: None)
        expert = EXPERTS["correction"]({self.task.name: self.task}, self.inputs, settings_of(self.job, "correction", "mean"))
        entry, fold_Q = Entry(Member("correction", expert, full)), self.fold(scored)
        count = int(fold_Q.max()) + 1
        if self.until < math.inf:
            entry.most = (self.until - time.monotonic() - owed) / (2 * count + 1)
            if entry.most < SHORT:
                self.skipped.append("correction")
                return None
        for f in range(count):
            race.lap([entry], scored[fold_Q != f], scored, fold_Q == f, views, (f, count))
        race.learn(entry, "whole", scored, None, round(statistics.median(entry.rounds)))
        return entry

    def learn(self, entry: Entry, key: str, rows: Rows, valid: Rows | None, rounds: int | None = None) -> int:
        """Give the entry a new expert fitted on these rows, where rounds are given for exactly so many, or the one in the journal; its
        rounds. What is journalled is read back, so that an interrupted fit and another go on from the same bits."""
        key, old, start = f"{entry.member.name} {key}", entry.member.expert, time.process_time()
        expert, part = type(old)(old.tasks, old.inputs, old.settings), self.journal.get(key)
        if part is None:
            budget = replace(self.budget, epochs=rounds, seconds=entry.most, folder=self.journal.under(key))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The number of unique classes")  # of which the target's note tells
                used = expert.fit(self.data, rows, valid, budget, self.job.seed)
            kept: dict[str, Json] = {"rounds used": used, "seconds used": time.process_time() - start, "curve": list(expert.curve)}
            part = expert.fitted()
            part = replace(part, config={**part.config, **kept})
            self.journal.put(key, part)
        if self.journal.folder is not None:
            expert = type(old).restore(old.tasks, old.inputs, part)
            expert.curve = cast(list[float], part.config["curve"])
        entry.member = replace(entry.member, expert=expert)
        entry.seconds += cast(float, part.config["seconds used"])
        return cast(int, part.config["rounds used"])

    def refit(self, outcome: Outcome, rows: Rows) -> Outcome:
        """Every member again on all rows; the correction has seen them all."""
        names, entries = [m.name for m in outcome.answer.members], {e.member.name: e for e in outcome.entries}
        for number, name in enumerate(names):
            self.progress(f"refit {entries[name].member.title(len(self.inputs))}", number, len(names))
            if not entries[name].member.residual:
                self.learn(entries[name], "whole", rows, None, round(statistics.median(entries[name].rounds)))
        self.progress("refit", len(names), len(names))
        answer = replace(outcome.answer, members=tuple(entries[name].member for name in names))
        return replace(outcome, answer=answer, pooled=answer)
