"""What is shipped: a pool of experts trained apart, never below the best input present because it is built so.

R rows · C classes · M inputs. A set of inputs is an integer, bit m for the m-th input in sorted order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xmodal.experts.base import Data, Expert, states
from xmodal.job import Input, Key, Rows, State
from xmodal.pool import Pool, Scores
from xmodal.tasks import Prediction, Task

BLOCK = 4096  # rows


def to_bits(inputs: Iterable[Key], keys: Iterable[Key]) -> int:
    """These keys as a set."""
    wanted = frozenset(keys)
    return sum(1 << m for m, key in enumerate(inputs) if key in wanted)


def to_keys(inputs: Iterable[Key], bits: int) -> frozenset[Key]:
    """The inputs of a set."""
    return frozenset(key for m, key in enumerate(inputs) if bits >> m & 1)


def present(data: Data, inputs: Mapping[Key, Input], rows: Rows) -> np.ndarray:
    """The set each row has, [R]."""
    there_RM = states(data, inputs, rows, frozenset()) == State.PRESENT
    return np.asarray(there_RM @ (1 << np.arange(len(inputs))), np.int64)


@dataclass(frozen=True)
class Member:
    """One expert of the pool, under the name that JSON shows."""

    name: str
    expert: Expert
    bits: int

    @property
    def single(self) -> bool:
        """Reads one input alone."""
        return self.bits.bit_count() == 1

    @property
    def residual(self) -> bool:
        """Answers with what it adds to the others, not with a score of its own."""
        return self.expert.family == "hybrid"

    def title(self, count: int) -> str:
        """Its name in plain words, where there are so many inputs."""
        return titled(self.name, [i.name for i in self.expert.inputs.values()], count)

    def scores(
        self, task: Task, inputs: Mapping[Key, Input], data: Data, rows: Rows, views: Sequence[int], least: int = 2
    ) -> dict[int, np.ndarray]:
        """z of the rows, [R, C], under each view; of a single, under its own input; the prior where fewer than `least` are left."""
        found: dict[int, list[np.ndarray]] = {view: [] for view in ([self.bits] if self.single else views)}
        for some in blocks(rows):  # all views of these before the next: their tokens are kept meanwhile
            for view, parts in found.items():
                if not self.single and (view & self.bits).bit_count() < least:
                    parts.append(np.repeat(task.prior[None], len(some), 0))
                    continue
                value = self.expert.predict(data, some, to_keys(inputs, self.bits & ~view))[task.name].score
                parts.append(task.prior + value.reshape(len(some), task.width) if self.residual else task.pool(value))
        return {view: np.concatenate(parts) for view, parts in found.items()}


def titled(name: str, inputs: Sequence[str], count: int) -> str:
    """An expert's name in plain words, "linear, all inputs": JSON has `name`. `count`: of all inputs that there are."""
    kind = name.removesuffix(" of all").removeprefix(f"{inputs[0]}." if len(inputs) == 1 else "joint.")
    kind = f"{kind[7:]} fusion" if kind.startswith("fusion.") else kind
    where = inputs[0] if len(inputs) == 1 else "all inputs" if len(inputs) == count else " + ".join(inputs)
    return f"{kind}, {where}"


def blocks(rows: Rows) -> list[Rows]:
    """Some thousand rows at a time, so that memory doesn't grow with their number."""
    return [rows[i : i + BLOCK] for i in range(0, max(len(rows), 1), BLOCK)]


@dataclass(frozen=True)
class Answer:
    """The pool. `inputs` in sorted order; `order` ranks them, best first, by the rows that the fit scored."""

    task: Task
    inputs: Mapping[Key, Input]
    members: tuple[Member, ...]
    pool: Pool
    order: tuple[Key, ...]

    @property
    def full(self) -> int:
        """The set of all inputs."""
        return (1 << len(self.inputs)) - 1

    @property
    def weights(self) -> dict[str, float]:
        """Of each member, where all inputs are there."""
        return dict(zip((m.name for m in self.members), self.pool.weights(self.full).tolist(), strict=True))

    def best_single(self, view: int) -> Key:
        """The best input of a set, chosen on the rows that the fit scored."""
        return next(key for key in self.order if key in to_keys(self.inputs, view))

    @property
    def fusion(self) -> Member | None:
        """The deep expert over most inputs, of these the heaviest: its joint vectors are the embeddings."""
        deep, weights = [m for m in self.members if m.expert.family == "deep"], self.weights
        return max(deep, key=lambda m: (m.bits.bit_count(), weights[m.name]), default=None)

    def alone(self, member: Member) -> Answer:
        """One member as the whole answer, calibrated, whatever is there."""
        at = self.members.index(member)
        pool = Pool(self.pool.prior_C, (member.bits,), self.pool.temperature_E[at : at + 1], np.ones(1), {}, 0 * self.pool.offset_MC)
        return replace(self, members=(member,), pool=pool)

    def scores(self, data: Data, rows: Rows, views: Sequence[int]) -> Scores:
        """What each expert says of these rows under each view; one without weight there isn't asked."""
        present_R = present(data, self.inputs, rows)
        used_E = sum((self.pool.weights(int(s)) for s in np.unique(present_R[:, None] & np.array(views))), np.zeros(len(self.members)))
        asked = (self.task, self.inputs, data, rows, views, self.pool.least)
        z = [m.scores(*asked) if w else {} for m, w in zip(self.members, used_E, strict=True)]
        return Scores(z, self.pool.reads, tuple(m.residual for m in self.members), present_R)

    def predict(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> Prediction:
        """One prediction a row, in order, as if the hidden inputs had no cell."""
        view = self.full & ~to_bits(self.inputs, hide)
        z_RC = self.pool.add(self.scores(data, rows, [view]), view)
        return Prediction(self.task.unpool(z_RC), states(data, self.inputs, rows, hide))
