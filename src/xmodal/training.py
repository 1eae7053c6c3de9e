"""The training loop: objectives, the step, the order of rows, AdamW with early stopping."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch import distributed as dist

from xmodal.batch import Batch, Cells, Examples, Plan, Sampler
from xmodal.encoders.base import Encoder
from xmodal.features.column import Fitted
from xmodal.heads.base import Head, Loss
from xmodal.job import MAIN, Budget, Json, Rows, TableName, TaskName, Training
from xmodal.journal import Journal
from xmodal.model import Model

SCORED = 512  # rows a batch where nothing is learnt
EVERY = 1.0  # seconds between two checkpoints at least: what is done in less is done again


class Objective(nn.Module, ABC):
    """What is minimised: a loss a task (or a name of its own) on one batch."""

    @abstractmethod
    def forward(self, model: Model, batch: Batch) -> dict[TaskName, Loss]: ...

    def after_step(self, model: Model) -> None:
        """Called after each step of the optimiser: moving averages."""


class Supervised(Objective):
    """Every task's own loss. `strength` of the encoders' augmentation, 0 to 1, in training alone."""

    def __init__(self, strength: float = 0.0) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, model: Model, batch: Batch) -> dict[TaskName, Loss]:
        if self.strength and self.training:
            batch = augmented(model, batch, self.strength)
        outputs = model(batch)
        heads = {name: cast(Head, head) for name, head in zip(model.tasks, model.heads, strict=True)}
        return {name: heads[name].loss(output, batch.examples[name]) for name, output in outputs.items()}


def augmented(model: Model, batch: Batch, strength: float) -> Batch:
    """Another view of every cell. Its draws depend on the step's seed and on the last row that has the cell."""
    cells = dict(batch.cells)
    for key, i in model.uses.items():
        encoder, old = cast(Encoder, model.encoders[i]), batch.cells[key]
        if type(encoder).augment is Encoder.augment:
            continue  # nothing is safe
        ids_B = batch.ids[key.split(".", 1)[0]] + 1
        if old.row_BK is not None:
            count = len(next(iter(old.x.values())))
            ids_BK = torch.where(old.row_BK >= 0, ids_B[:, None], 0)
            zeros_U = ids_B.new_zeros(count)
            ids_B = zeros_U.scatter_reduce(0, old.row_BK.clamp(min=0).flatten(), ids_BK.flatten(), "amax")
        cells[key] = Cells(encoder.augment(old.x, strength, ids_B + batch.seed * 1_000_003 % 2**62), old.row_BK, old.state_B)
    return replace(batch, cells=cells)


class Step(nn.Module):
    """Batch -> the number to minimise: the sum over tasks of weight * sum(w l) / sum(w), both sums over all ranks. The
    one module that a distributed wrapper sees; the ranks' gradients add up to one process's."""

    def __init__(self, model: Model, objectives: Sequence[Objective]) -> None:
        super().__init__()
        self.model, self.objectives = model, nn.ModuleList(objectives)
        self.curve: list[float] = []  # the validation loss of each epoch

    def forward(self, batch: Batch) -> Float[Tensor, ""]:
        terms = []
        for name, (loss_R, weight_R) in self.losses(batch):
            share_R = weight_R * (self.weight(name) / over_ranks(weight_R.sum()).clamp(min=1e-12))  # no gradient: cheaper first
            terms.append(loss_R @ share_R)
        return sum(terms[1:], terms[0])

    def losses(self, batch: Batch) -> Iterator[tuple[TaskName, Loss]]:
        """Of every objective."""
        for objective in self.objectives:
            yield from objective(self.model, batch).items()

    def weight(self, name: TaskName) -> float:
        """A task's; 1 for an objective's own loss."""
        return self.model.tasks[name].weight if name in self.model.tasks else 1.0


def over_ranks(total: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The sum over all processes."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
    return total


@lru_cache(maxsize=4)
def permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch, a function of its arguments alone."""
    return np.random.default_rng([seed, epoch]).permutation(count)


@dataclass(frozen=True)
class RowSampler:
    """Random access to the steps over some rows of a table. Every row once an epoch; rows of a batch in table order."""

    rows: Rows
    examples: Mapping[TaskName, Examples]  # of the whole table
    batch: int
    shuffle: bool = True
    table: TableName = MAIN

    def steps(self, epoch: int) -> int:
        return -(-len(self.rows) // self.batch)

    def plan(self, seed: int, epoch: int, step: int) -> Plan:
        at = slice(step * self.batch, (step + 1) * self.batch)
        chosen = np.sort(self.rows[permutation(len(self.rows), seed, epoch)[at]]) if self.shuffle else self.rows[at]
        rows = torch.from_numpy(chosen)
        examples = {name: at_rows(e, rows) for name, e in self.examples.items()}
        return Plan(examples, {self.table: rows}, ((seed * 10_007 + epoch) * 100_003 + step) % 2**62)


def at_rows(examples: Examples, rows: Tensor) -> Examples:
    """One example a row."""
    y, offset_R = (None if t is None else t[rows] for t in (examples.y, examples.offset_R))
    return Examples((None,), y, examples.weight_R[rows], offset_R)


@contextmanager
def seeded(seed: int, threads: int) -> Iterator[None]:
    """Draws of torch and its threads are set inside and as they were outside."""
    before = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


Fetcher = Callable[[Plan], Batch]


def fit(step: Step, sampler: Sampler, fetch: Fetcher, valid: Sampler | None, training: Training, budget: Budget, seed: int) -> int:
    """Epochs used. With `valid`: that of its lowest loss, whose weights are kept; else exactly `budget.epochs` (as long
    as the schedule where None). Stops after the epoch in which `budget.seconds` are over. Every second at most an epoch's end is
    kept in `budget.folder`; where one is there, it goes on from it and ends with the same bits."""
    limit = training.epochs if valid else budget.epochs or training.epochs
    horizon = sum(map(sampler.steps, range(max(limit, training.epochs))))
    optimiser = torch.optim.AdamW(paced(step), training.rate, weight_decay=training.decay, fused=True)
    rates = schedule(horizon, training)
    best, kept, used = math.inf, step.model.state_dict(), limit
    saved = time.monotonic()
    until, journal, start = saved + (math.inf if budget.seconds is None else budget.seconds), Journal(budget.folder), 0
    if part := journal.get("epoch"):
        start, best, used, step.curve = (cast(Any, part.config[name]) for name in ("epoch", "best", "used", "curve"))
        kept = {name: value if valid is None else tensors(part, "kept")[name] for name, value in kept.items()}
        reload(step, optimiser, part)
        rates = islice(rates, sum(map(sampler.steps, range(start))), None)
    for epoch in range(start, limit):
        if epoch and (time.monotonic() > until or (valid is not None and epoch >= max(training.minimum, used + training.patience))):
            used = epoch if valid is None else used
            break
        if epoch > start and time.monotonic() - saved >= EVERY:
            config: dict[str, Json] = {"epoch": epoch, "best": best, "used": used, "curve": list(step.curve)}
            journal.put("epoch", checkpoint(step, optimiser, {} if valid is None else kept, config))
            saved = time.monotonic()
        batches = (fetch(sampler.plan(seed, epoch, i)).to(budget.device) for i in range(sampler.steps(epoch)))
        run_epoch(step, batches, optimiser, rates, training.clip)
        if valid is None:
            continue
        loss = validate(step, (fetch(valid.plan(seed, 0, i)).to(budget.device) for i in range(valid.steps(0))))
        step.curve.append(loss)
        if loss < best:
            best, used = loss, epoch + 1
            kept = {name: value.clone() for name, value in step.model.state_dict().items()}
    step.model.load_state_dict(kept)
    step.eval()
    return used


def paced(step: Step) -> list[dict[str, Any]]:
    """What is learnt, grouped by the share of the learning rate that it takes."""
    encoders = [cast(Encoder, e) for e in step.model.encoders]
    pace = {id(p): e.pace(name) for e in encoders for name, p in e.named_parameters()}
    groups: dict[float, list[nn.Parameter]] = {}
    for p in step.parameters():
        if p.requires_grad:
            groups.setdefault(pace.get(id(p), 1.0), []).append(p)
    return [{"params": some, "pace": share} for share, some in groups.items()]


def checkpoint(step: Step, optimiser: torch.optim.Optimizer, kept: Mapping[str, Tensor], config: dict[str, Json]) -> Fitted:
    """All that decides what the epochs to come do."""
    parts: dict[str, Mapping[str, Any]] = {"step": step.state_dict(), "kept": kept, "random": {"cpu": torch.get_rng_state()}}
    if torch.cuda.is_available():
        parts["random"] = {**parts["random"], "cuda": torch.cuda.get_rng_state()}
    parts["optimiser"] = {f"{i}.{n}": v for i, state in optimiser.state_dict()["state"].items() for n, v in state.items()}
    return Fitted(config, {f"{p}/{n}": v.numpy(force=True) for p, values in parts.items() for n, v in values.items()})


def tensors(part: Fitted, name: str) -> dict[str, Tensor]:
    """One of the parts of a checkpoint."""
    return {n.removeprefix(f"{name}/"): torch.from_numpy(a) for n, a in part.arrays.items() if n.startswith(f"{name}/")}


def reload(step: Step, optimiser: torch.optim.Optimizer, part: Fitted) -> None:
    """Inverse of `checkpoint`."""
    step.load_state_dict(tensors(part, "step"))
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors(part, "optimiser").items():
        states.setdefault(int(name.split(".")[0]), {})[name.split(".")[1]] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
    random = tensors(part, "random")
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])


def schedule(steps: int, training: Training) -> Iterator[float]:
    """The learning rate of each step: linear warm-up, then half a cosine to 0 (Loshchilov and Hutter 2017)."""
    warm = max(1, round(steps * training.warmup))
    for i in range(steps):
        rest = max(0.0, (i - warm) / max(1, steps - warm))
        yield training.rate * min((i + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * rest))


def run_epoch(step: Step, batches: Iterator[Batch], optimiser: torch.optim.Optimizer, rates: Iterator[float], clip: float) -> None:
    """One pass. Nothing is read back from the device."""
    step.train()
    parameters = list(step.parameters())
    for batch in batches:
        rate = next(rates)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["pace"]
        step(batch).backward()
        nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()
        optimiser.zero_grad()
        for objective in step.objectives:
            cast(Objective, objective).after_step(step.model)


@torch.no_grad()
def validate(step: Step, batches: Iterator[Batch]) -> float:
    """The loss of all these batches as if they were one."""
    step.eval()
    sums: dict[TaskName, Tensor] = {}
    for batch in batches:
        for name, (loss_R, weight_R) in step.losses(batch):
            pair = torch.stack([(loss_R * weight_R).sum(), weight_R.sum()])
            sums[name] = sums[name] + pair if name in sums else pair
    return sum(float(total / weight.clamp(min=1e-12)) * step.weight(name) for name, (total, weight) in sums.items())
