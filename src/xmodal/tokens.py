"""What encoders and fusions hand on.

B rows · N tokens · D width · M inputs · R examples · L label units
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xmodal.job import Key, State


@dataclass(frozen=True)
class Tokens:
    """One input's vectors. The constructor writes exact 0 wherever the mask is False, and the mask is False wherever
    the state is not PRESENT: `NaN * 0` would pass through attention, so absence is written here and nowhere else."""

    x_BND: Float[Tensor, "B N D"]
    mask_BN: Bool[Tensor, "B N"]
    state_B: Int[Tensor, "B"]
    position_BN3: Float[Tensor, "B N 3"] = None  # type: ignore[assignment]  # time, y, x within the cell; 0 if not given
    unit_BN: Int[Tensor, "B N"] = None  # type: ignore[assignment]  # label unit: word, frame; -1 if not given

    def __post_init__(self) -> None:
        mask_BN = self.mask_BN & (self.state_B == State.PRESENT)[:, None]
        object.__setattr__(self, "mask_BN", mask_BN)
        object.__setattr__(self, "x_BND", self.x_BND.masked_fill(~mask_BN[..., None], 0.0))
        if self.position_BN3 is None:
            object.__setattr__(self, "position_BN3", self.x_BND.new_zeros((*mask_BN.shape, 3)))
        if self.unit_BN is None:
            object.__setattr__(self, "unit_BN", torch.full_like(mask_BN, -1, dtype=torch.int64))

    def take(self, row_R: Int[Tensor, "R"], state_R: Int[Tensor, "R"]) -> Tokens:
        """The tokens of these rows; -1 takes none (its state must not be PRESENT)."""
        at = row_R.clamp(min=0)
        return Tokens(self.x_BND[at], self.mask_BN[at], state_R, self.position_BN3[at], self.unit_BN[at])

    def hide(self, off_B: Bool[Tensor, "B"], state: State = State.MISSING) -> Tokens:
        """The same tokens with some rows' cells gone: equal in every bit to rows that never had them."""
        return replace(self, state_B=torch.where(off_B & (self.state_B == State.PRESENT), int(state), self.state_B))

    @staticmethod
    def beside(parts: Sequence[Tokens]) -> Tokens:
        """Several files of one cell: their tokens stand side by side; PRESENT if any is."""
        if len(parts) == 1:
            return parts[0]
        state_B = torch.stack([p.state_B for p in parts]).amin(0)
        mask_BN = torch.cat([p.mask_BN for p in parts], 1)
        x_BND, position, unit = (torch.cat([getattr(p, n) for p in parts], 1) for n in ("x_BND", "position_BN3", "unit_BN"))
        return Tokens(x_BND, mask_BN, state_B, position, unit)


@dataclass(frozen=True)
class Joint:
    """One view of every row of its table in the batch. Token 0 is the summary, never masked; then latents; then the
    inputs' tokens, if the fusion keeps them."""

    x_BND: Float[Tensor, "B N D"]
    mask_BN: Bool[Tensor, "B N"]
    input_N: Int[Tensor, "N"]  # index into `inputs`; -1: summary and latents
    inputs: tuple[Key, ...]
    state_BM: Int[Tensor, "B M"]
    position_BN3: Float[Tensor, "B N 3"]
    unit_BN: Int[Tensor, "B N"]
    penalty_B: Float[Tensor, "B"] | None = None  # KL, L0, expert load: an extra loss

    @classmethod
    def of(cls, summary_BD: Float[Tensor, "B D"], tokens: dict[Key, Tokens], kept: Sequence[Float[Tensor, "B _ D"]] = (),
           penalty_B: Float[Tensor, "B"] | None = None) -> Joint:  # fmt: skip
        """Summary first, then `kept`: one new vector for each token of each input, or () to keep none."""
        inputs = tuple(tokens)
        device = summary_BD.device
        chosen = [tokens[k] for k in inputs] if len(kept) else []
        one = torch.ones((len(summary_BD), 1), dtype=torch.bool, device=device)
        counts = [1, *(t.mask_BN.shape[1] for t in chosen)]
        index = torch.arange(-1, len(chosen), device=device)
        return cls(
            x_BND=torch.cat([summary_BD[:, None], *kept], 1),
            mask_BN=torch.cat([one, *(t.mask_BN for t in chosen)], 1),
            input_N=torch.repeat_interleave(index, torch.tensor(counts, device=device)),
            inputs=inputs,
            state_BM=torch.stack([tokens[k].state_B for k in inputs], 1),
            position_BN3=torch.cat([summary_BD.new_zeros(len(summary_BD), 1, 3), *(t.position_BN3 for t in chosen)], 1),
            unit_BN=torch.cat([torch.full_like(one, -1, dtype=torch.int64), *(t.unit_BN for t in chosen)], 1),
            penalty_B=penalty_B,
        )

    @property
    def rep_BD(self) -> Float[Tensor, "B D"]:
        """The row's joint vector."""
        return self.x_BND[:, 0]

    def take(self, row_R: Int[Tensor, "R"]) -> Joint:
        """These rows, in this order."""
        rows = {n: getattr(self, n)[row_R] for n in ("x_BND", "mask_BN", "state_BM", "position_BN3", "unit_BN")}
        return replace(self, **rows, penalty_B=None if self.penalty_B is None else self.penalty_B[row_R])

    def units(self, key: Key, count: int) -> tuple[Float[Tensor, "B L D"], Bool[Tensor, "B L"]]:
        """One vector a label unit of this input: the mean of the unit's tokens, and which units have one."""
        mine = (self.input_N == self.inputs.index(key)).nonzero()[:, 0]
        x_BnD, unit_Bn = self.x_BND[:, mine], self.unit_BN[:, mine]
        hit_BnL = (unit_Bn[..., None] == torch.arange(count, device=unit_Bn.device)) & self.mask_BN[:, mine, None]
        weight_BLn = hit_BnL.transpose(1, 2).to(x_BnD.dtype)
        total_BL = weight_BLn.sum(-1)
        return weight_BLn @ x_BnD / total_BL.clamp(min=1)[..., None], total_BL > 0
