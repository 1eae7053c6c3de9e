"""The race: every candidate expert is trained apart, scored on rows it has not seen, pooled, and what helps is kept.

n, the rows that are not test, decides: below `training.small` scores are out-of-fold over 5 folds and what is kept is
refitted on all n for the folds' median epoch; from there on they come from the validation rows, and nothing is refitted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from xmodal.answer import Answer, Member, present, to_bits
from xmodal.errors import ConfigError
from xmodal.experts import EXPERTS
from xmodal.experts.base import Expert
from xmodal.experts.data import TableData
from xmodal.experts.deep import choose, encoder_class
from xmodal.experts.descriptors import DESCRIPTORS
from xmodal.features.extractors import Extractor
from xmodal.fusion import FUSIONS
from xmodal.job import Budget, Input, Job, Json, Key, Progress, Rows, registered, registry
from xmodal.pool import LOSSES, Loss, Pool, Scores, fit_pool, weighted
from xmodal.splits import carve, folds, thin
from xmodal.tasks import Task

SETS_LISTED = 6  # up to so many inputs every set of them is scored
SETS_DRAWN = 24  # above, so many random ones
CLASSES = 20  # above, boosted trees cost more than they bring
KEEP = 0.02  # a joint whose weight is below this in every set is dropped
INNER = 0.2  # of a fold's training rows, to choose its rounds by
SCORED = 20_000  # validation rows at most: more choose no better
CARVED = 0.15  # validation share where none is given


@dataclass(frozen=True)
class Candidate:
    """An expert that may enter the answer."""

    name: str
    kind: str  # in EXPERTS
    inputs: Mapping[Key, Input]
    settings: Mapping[str, Json]
    bits: int

    def build(self, task: Task) -> Expert:
        """A new, unfitted one."""
        made: Expert = registered("experts", EXPERTS, self.kind)({task.name: task}, self.inputs, self.settings)
        return made


@dataclass
class Entry:
    """What the race learnt of a candidate."""

    candidate: Candidate
    z: dict[int, np.ndarray] = field(default_factory=dict)  # view -> [Q, C]
    rounds: list[int] = field(default_factory=list)
    seconds: float = 0.0  # CPU, all fits
    predict_ms: float = 0.0  # CPU a row, in bulk
    expert: Expert | None = None

    @property
    def single(self) -> bool:
        """Reads one input alone."""
        return self.candidate.bits.bit_count() == 1

    @property
    def family(self) -> str:
        """features, deep or hybrid."""
        return registered("experts", EXPERTS, self.candidate.kind).family

    @property
    def member(self) -> Member:
        """Its last trained expert."""
        assert self.expert is not None
        return Member(self.candidate.name, self.expert, self.candidate.bits)


@dataclass(frozen=True)
class Outcome:
    """The answer, and what was scored on the way."""

    answer: Answer  # what is shipped
    pooled: Answer  # of all kept experts
    entries: list[Entry]
    rows: Rows  # the scored rows Q
    scores: Scores  # of the answer's members on them


def candidates(job: Job, task: Task, inputs: Mapping[Key, Input], n: int) -> list[Candidate]:
    """Singles of every input, then joints. Raw encoders from scratch take part from `training.small` rows on, or where
    --encoder asks for them."""
    found: list[Candidate] = []
    described = registry("descriptors", DESCRIPTORS)
    classic = {k: i for k, i in inputs.items() if i.modality in described}

    def add(name: str, kind: str, some: Mapping[Key, Input], network: str | None = None) -> None:
        deep = settings_of(job, network, "transformer") if network else {}
        found.append(Candidate(name, kind, some, deep, to_bits(inputs, some)))

    def is_raw(one: Input) -> bool:
        forced = one.encoder is not None or one.modality not in described
        return (n >= job.training.small or forced) and encoder_class(choose(one, "raw")).kind == "raw"

    for key, one in inputs.items():
        if one.modality in described:
            add(f"{one.name}.linear", "linear", {key: one})
        if one.modality == "table":
            add(f"{one.name}.boosted", "boosted", {key: one})
        if is_raw(one) and (one.encoder is None or choose(one, "raw") == one.encoder):
            add(f"{one.name}.{choose(one, 'raw')}", "deep", {key: one}, "raw")
    if len(inputs) > 1:
        for kind in ("linear", "boosted", "forest"):
            if len(classic) > 1 and (kind != "boosted" or task.width <= CLASSES):
                add(f"joint.{kind}", kind, classic)
        add("fusion.descriptor", "deep", inputs, "descriptor")
        if any(map(is_raw, inputs.values())):
            add("fusion.raw", "deep", inputs, "raw")
    for kind in registry("experts", EXPERTS).keys() - EXPERTS.keys():
        add(f"{'joint' if len(inputs) > 1 else one.name}.{kind}", kind, inputs)
    return found


def settings_of(job: Job, recipe: str, fusion: str) -> dict[str, Json]:
    """Of a deep expert."""
    kind = "raw" if recipe == "raw" else "descriptor"
    return {"kind": kind, "fusion": job.fusion or fusion, "training": asdict(getattr(job.training, recipe))}


def check_names(job: Job, inputs: Mapping[Key, Input]) -> None:
    """Raises ConfigError for a fusion that isn't known, or an encoder that cannot read its input."""
    registered("fusions", FUSIONS, job.fusion or "transformer")
    for one in inputs.values():
        if one.encoder is not None and one.modality not in (reads := encoder_class(one.encoder).modality):
            got = f"{one.encoder!r}, which reads {', '.join(sorted(reads))}"
            raise ConfigError(f"an encoder of {one.modality} for input {one.name!r}", got, "give another --encoder")


def extractors_of(some: Iterable[Candidate | Member]) -> dict[Key, list[Extractor]]:
    """The extractors of each input that these experts read, each once."""
    found: dict[Key, dict[str, Extractor]] = {}
    for one in some:
        settings, inputs = (one.settings, one.inputs) if isinstance(one, Candidate) else (one.expert.settings, one.expert.inputs)
        network = settings.get("kind")
        for key, given in inputs.items():
            reader: Any = encoder_class(choose(given, str(network))) if network else registered("descriptors", DESCRIPTORS, given.modality)
            found.setdefault(key, {}).update({e.spec.digest: e for m, e in reader.extractor.items() if m == given.modality})
    return {key: list(each.values()) for key, each in found.items()}


def views_of(inputs: int, seed: int) -> list[int]:
    """The sets of two inputs or more that joints are scored under, the full one among them."""
    full = (1 << inputs) - 1
    if inputs <= SETS_LISTED:
        return [v for v in range(full + 1) if v.bit_count() >= 2]
    random = np.random.default_rng(seed)
    drawn = {full}
    while len(drawn) <= SETS_DRAWN:
        size = int(random.integers(2, inputs))
        drawn.add(sum(1 << int(m) for m in random.choice(inputs, size, replace=False)))
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

    def run(self, train: Rows, valid: Rows | None) -> Outcome:
        """Train, score, pool, correct, keep, refit."""
        rows = train if valid is None else np.sort(np.concatenate([train, valid]))
        small = len(rows) < self.job.training.small
        entries = [Entry(c) for c in candidates(self.job, self.task, self.inputs, len(rows))]
        views = views_of(len(self.inputs), self.job.seed) if len(self.inputs) > 1 else []
        if small:
            scored, fold_Q = rows, self.fold(rows)
            for f in range(count := int(fold_Q.max()) + 1):
                self.lap(entries, rows[fold_Q != f], scored, fold_Q == f, views, (f, count))
                self.data.forget()
        else:
            train, scored = (train, valid) if valid is not None else carve(self.groups, self.strata, rows, CARVED, self.job.seed)
            scored = thin(scored, SCORED, self.job.seed)
            self.lap(entries, train, scored, np.ones(len(scored), bool), views, (0, 1))
        outcome = self.pool(entries, scored, views)
        outcome = self.refit(outcome, rows) if small else outcome
        return self.shipped(outcome) if self.job.ship == "fusion" else outcome

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
        for number, entry in enumerate(entries):
            self.progress(f"train {entry.candidate.name}", lap[0] * len(entries) + number, lap[1] * len(entries))
            entry.expert, start = entry.candidate.build(self.task), time.process_time()
            inner, stop = (train, valid) if lap[1] == 1 else carve(self.groups, self.strata, train, INNER, self.job.seed)
            entry.rounds.append(entry.expert.fit(self.data, inner, stop, self.budget, self.job.seed))
            entry.seconds += time.process_time() - start
            if lap[1] > 1:
                entry.expert = self.again(entry, train, entry.rounds[-1])
            middle = time.process_time()
            for view, z in entry.member.scores(self.task, self.inputs, self.data, valid, views).items():
                entry.z.setdefault(view, np.zeros((len(scored), z.shape[1])))[at] = z
            entry.predict_ms = 1000 * (time.process_time() - middle) / max(len(valid) * max(len(entry.z), 1), 1)
        self.progress("train", (lap[0] + 1) * len(entries), lap[1] * len(entries))

    def loss_of(self, scored: Rows) -> Callable[[np.ndarray], Loss]:
        """The loss of z at some of the scored rows."""
        examples = self.data.examples[self.task.name]
        y_Q = examples.y.numpy()[scored] if examples.y is not None else np.zeros(0)
        weight_Q = examples.weight_R.numpy()[scored]
        return lambda at: weighted(LOSSES[self.task.kind](y_Q[at]), weight_Q[at])

    def pool(self, entries: list[Entry], scored: Rows, views: Sequence[int]) -> Outcome:
        """The best family of each input, all joints, the correction; weights; joints that bring nothing dropped."""
        present_Q, loss_of = present(self.data, self.inputs, scored), self.loss_of(scored)
        losses = {id(e): self.alone(e, present_Q, loss_of) for e in entries if e.single}
        best = {
            k: min((e for e in entries if e.candidate.bits == to_bits(self.inputs, [k])), key=lambda e: losses[id(e)]) for k in self.inputs
        }
        order = tuple(sorted(self.inputs, key=lambda k: losses[id(best[k])]))
        kept = [*best.values(), *(e for e in entries if not e.single)]
        pool, scores = self.fitted(kept, present_Q, loss_of)
        if len(self.inputs) > 1:
            entries.append(self.correct(pool, scores, scored, views))
            kept.append(entries[-1])
            pool, scores = self.fitted(kept, present_Q, loss_of)
            heaviest = np.max([pool.weight_E, *pool.by_set.values()], 0)
            deep = [e for e in kept if e.family == "deep" and not e.single]
            embeds = min(deep, key=lambda e: float(loss_of(np.arange(len(scored)))(e.z[views[-1]])[0].mean()), default=None)
            kept = [e for e, w in zip(kept, heaviest, strict=True) if w >= KEEP or e.single or e is embeds]
            pool, scores = self.fitted(kept, present_Q, loss_of)
        members = tuple(e.member for e in kept)
        answer = Answer(self.task, self.inputs, members, pool, order)
        return Outcome(answer, answer, entries, scored, scores)

    def fitted(self, kept: list[Entry], present_Q: np.ndarray, loss_of: Callable[[np.ndarray], Loss]) -> tuple[Pool, Scores]:
        """The pool of these entries."""
        scores = Scores([e.z for e in kept], tuple(e.candidate.bits for e in kept), tuple(e.family == "hybrid" for e in kept), present_Q)
        return fit_pool(scores, self.task.prior, loss_of, len(self.inputs), self.job.seed), scores

    def alone(self, entry: Entry, present_Q: np.ndarray, loss_of: Callable[[np.ndarray], Loss]) -> float:
        """Mean loss over all scored rows of the answer that this single alone would be."""
        bits = entry.candidate.bits
        scores = Scores([{1: entry.z[bits]}], (1,), (False,), (present_Q & bits > 0).astype(np.int64))
        z_QC = fit_pool(scores, self.task.prior, loss_of, 1, self.job.seed).add(scores, 1)
        return float(loss_of(np.arange(len(z_QC)))(z_QC)[0].mean())

    def correct(self, pool: Pool, scores: Scores, scored: Rows, views: Sequence[int]) -> Entry:
        """The correction, cross-fitted over folds of the scored rows against what the others pool there."""
        full = (1 << len(self.inputs)) - 1
        offset_BC = np.zeros((len(self.groups), self.task.width))
        offset_BC[scored] = pool.add(scores, full)
        race = replace(self, data=self.data.offset(self.task.name, offset_BC), progress=lambda stage, done, total: None)
        settings = settings_of(self.job, "correction", "mean")
        entry, fold_Q = Entry(Candidate("correction", "correction", self.inputs, settings, full)), self.fold(scored)
        for f in range(count := int(fold_Q.max()) + 1):
            race.lap([entry], scored[fold_Q != f], scored, fold_Q == f, views, (f, count))
        entry.expert = race.again(entry, scored, round(statistics.median(entry.rounds)))
        return entry

    def again(self, entry: Entry, rows: Rows, rounds: int) -> Expert:
        """The expert once more, on all these rows, for exactly so many rounds."""
        expert, start = entry.candidate.build(self.task), time.process_time()
        expert.fit(self.data, rows, None, replace(self.budget, epochs=rounds), self.job.seed)
        entry.seconds += time.process_time() - start
        return expert

    def refit(self, outcome: Outcome, rows: Rows) -> Outcome:
        """Every member again on all rows; the correction has seen them all."""
        entries, members = {e.candidate.name: e for e in outcome.entries}, list(outcome.answer.members)
        for number, member in enumerate(members):
            self.progress(f"refit {member.name}", number, len(members))
            if not member.residual:
                entry = entries[member.name]
                members[number] = replace(member, expert=self.again(entry, rows, round(statistics.median(entry.rounds))))
        self.progress("refit", len(members), len(members))
        answer = replace(outcome.answer, members=tuple(members))
        return replace(outcome, answer=answer, pooled=answer)
