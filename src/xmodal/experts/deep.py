"""One network over one input or several: encoders, a fusion, a head."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import ClassVar, cast

import numpy as np
import torch

from xmodal.batch import Examples, Fetch, Plan
from xmodal.context import Identity
from xmodal.experts.base import Data, Expert, Family, Settings, states
from xmodal.experts.networks import choose, encoder_class
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.fusion import FUSIONS
from xmodal.heads import HEADS
from xmodal.heads.base import Head, Output
from xmodal.job import Budget, Input, Key, Recipes, Rows, TaskName, Training, changed, registered
from xmodal.model import Model
from xmodal.tasks import Prediction, Task
from xmodal.tokens import Tokens
from xmodal.training import SCORED, Objective, RowSampler, Step, Supervised, fit, seeded

CACHED = 4096  # rows whose tokens are kept, so that other sets of inputs are fused without encoding again


class Deep(Expert):
    """Settings: `kind` descriptor | raw; `fusion`; `training`; `augment`, 0 to 1."""

    name: ClassVar[str] = "deep"
    family: ClassVar[Family] = "deep"
    fusion: ClassVar[str] = "transformer"
    # The chance that an input of a row is hidden in training. Above 0, a Transformer over three of them did not learn XOR.
    drop: ClassVar[float] = 0.0

    def __init__(self, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], settings: Settings) -> None:
        super().__init__(tasks, inputs, settings)
        self.kind = str(settings.get("kind", "descriptor"))
        self.encoders = {key: choose(value, self.kind) for key, value in self.inputs.items()}
        recipe = getattr(Recipes(), self.name, getattr(Recipes(), self.kind))
        self.training: Training = changed(recipe, cast(Settings, settings.get("training", {})))
        self.table = next(iter(tasks.values())).views[0].table
        self._tokens: tuple[weakref.ref[Data], Rows, list[dict[Key, Tokens]]] | None = None

    def fit(self, data: Data, rows: Rows, valid: Rows | None, budget: Budget, seed: int) -> int:
        """Learns on `rows`; keeps the epoch of the lowest loss on `valid`."""
        found = {k: data.prepared(k, encoder_class(name), {}, rows) for k, name in self.encoders.items()}
        self.parts, columns = {k: part for k, (part, _) in found.items()}, {k: column for k, (_, column) in found.items()}
        examples = {name: data.examples[name] for name in self.tasks}
        sampler = RowSampler(rows, examples, self.training.batch, table=self.table)
        scored = None if valid is None else RowSampler(valid, examples, SCORED, shuffle=False, table=self.table)
        with seeded(seed, budget.threads):
            self.model = self.build().to(budget.device)
            step = Step(self.model, [self.objective()])
            used = fit(step, sampler, Fetch(columns, self.drop), scored, self.training, budget, seed)
        self.model, self._tokens, self.curve = self.model.to("cpu"), None, step.curve
        return used

    def build(self) -> Model:
        """The network of the fitted parts, its weights drawn from torch's seed."""
        width = self.training.width
        encoders = [encoder_class(name)(self.parts[key], width) for key, name in self.encoders.items()]
        fusion = registered("fusions", FUSIONS, str(self.settings.get("fusion", self.fusion)))
        heads = {
            name: registered("heads", HEADS, str(self.settings.get("head") or task.kind))(task, width) for name, task in self.tasks.items()
        }
        uses = {key: i for i, key in enumerate(self.inputs)}
        return Model(encoders, uses, {self.table: fusion(tuple(self.inputs), width, {})}, Identity(), heads)

    def objective(self) -> Objective:
        """What is minimised."""
        return Supervised(float(self.settings.get("augment", 1.0)))  # type: ignore[arg-type]

    def fitted(self) -> Fitted:
        """Encoders' parts by index, the weights, and the settings."""
        weights = {name: value.numpy(force=True) for name, value in self.model.state_dict().items()}
        parts = {str(i): part for i, part in enumerate(self.parts.values())} | {"model": Fitted(arrays=weights)}
        return Fitted.merge(parts, {"settings": dict(self.settings), "encoders": list(self.encoders.values())})

    @classmethod
    def restore(cls, tasks: Mapping[TaskName, Task], inputs: Mapping[Key, Input], fitted: Fitted) -> Deep:
        expert = cls(tasks, inputs, cast(Settings, fitted.config["settings"]))
        expert.encoders = dict(zip(expert.inputs, cast(list[str], fitted.config["encoders"]), strict=True))
        expert.parts = {key: fitted.part(str(i)) for i, key in enumerate(expert.inputs)}
        with seeded(0, torch.get_num_threads()):
            expert.model = expert.build().eval()
        weights = fitted.part("model").arrays
        expert.model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
        return expert

    @torch.inference_mode()
    def predict(self, data: Data, rows: Rows, hide: frozenset[Key] = frozenset()) -> dict[TaskName, Prediction]:
        """One prediction a row, fused from cached tokens where these rows of this data were asked before."""
        state_RM = states(data, self.inputs, rows, hide)
        chunks: dict[TaskName, list[np.ndarray]] = {name: [] for name in self.tasks}
        for tokens in self.tokens(data, rows):
            ones_R = torch.ones(len(tokens[next(iter(self.inputs))].state_B))
            examples = {name: Examples((None,) * len(task.views), None, ones_R) for name, task in self.tasks.items()}
            outputs = self.model.answer(tokens, {}, examples, hide)
            for (name, parts), head in zip(chunks.items(), self.model.heads, strict=True):
                parts.append(self.score(cast(Head, head), outputs[name], examples[name]))
        return {name: Prediction(np.concatenate(parts), state_RM) for name, parts in chunks.items()}

    @torch.inference_mode()
    def embed(self, data: Data, rows: Rows) -> np.ndarray:
        """The joint vector of each row, [R, D]: what the head reads."""
        every = frozenset(self.inputs)
        joints = [self.model.connect(self.model.fuse(tokens, every), {})[self.table] for tokens in self.tokens(data, rows)]
        return torch.cat([joint.rep_BD for joint in joints]).numpy(force=True)

    def score(self, head: Head, output: Output, examples: Examples) -> np.ndarray:
        """What `predict` hands out of a head's output."""
        return head.predict(output, examples).score

    def tokens(self, data: Data, rows: Rows) -> Iterable[dict[Key, Tokens]]:
        """Of all inputs, some hundred rows at a time."""
        if self._tokens and self._tokens[0]() is data and np.array_equal(self._tokens[1], rows):
            return self._tokens[2]
        columns = {k: data.transformed(k, encoder_class(name), self.parts[k]) for k, name in self.encoders.items()}
        fetch, at = Fetch(columns), [rows[i : i + SCORED] for i in range(0, max(len(rows), 1), SCORED)]
        chunks = (self.model.encode(fetch(Plan({}, {self.table: torch.from_numpy(part)}, 0))) for part in at)
        if len(rows) > CACHED:
            return chunks
        self._tokens = (weakref.ref(data), rows, list(chunks))
        return self._tokens[2]


def left_out(column: FeatureColumn, rows: Rows) -> np.ndarray:
    """Of a prepared column, [4]: rows that have a cell, rows whose cell is read in part, and the units of these, all and left out."""
    cell_R = column.row_BK[rows].max(1)
    units_R2 = np.asarray(column.dense["unread"])[cell_R[cell_R >= 0]]
    cut_R = units_R2[:, 1] > 0
    return np.array([len(units_R2), cut_R.sum(), *units_R2[cut_R].sum(0)])


def unread(experts: Iterable[Expert], data: Data, rows: Rows) -> dict[str, np.ndarray]:
    """`left_out` of the inputs, by name, that networks among the experts may read in part."""
    found = {}
    for expert in experts:
        for key, given in expert.inputs.items():
            column = data.columns[key]  # of frozen networks, what they read stands beside what they made of it
            if column.digest_U is not None and "unread" in column.dense:
                continue  # of media that was said when they were read, whoever reads them
            if isinstance(expert, Deep) and "unread" not in column.dense:
                column = data.transformed(key, encoder_class(expert.encoders[key]), expert.parts[key])
            if "unread" in column.dense:
                found[given.name] = left_out(column, rows)
    return found


def say_unread(found: Mapping[str, np.ndarray]) -> list[str]:
    """What to say of it."""
    return [
        f"input {name!r}: {cut:.0f} of {rows:.0f} cells are cut for its network, {100 * left / units:.0f} % of what they hold unread; "
        "classic experts read them whole"
        for name, (rows, cut, units, left) in found.items() if cut
    ]  # fmt: skip
