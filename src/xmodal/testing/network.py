"""What every encoder, fusion and head must hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from xmodal.batch import Batch, Cells, Examples, blank, gather, tensors
from xmodal.context import Identity
from xmodal.encoders.base import Encoder
from xmodal.features.column import FeatureColumn, Fitted
from xmodal.fusion.base import Fusion
from xmodal.heads.base import Head
from xmodal.job import Json, Key, State
from xmodal.model import Model
from xmodal.tasks import Task
from xmodal.tokens import Joint, Tokens

NEAR = 1e-5  # sums in another order
WIDTH = 16


def check_encoder(kind: type[Encoder], column: FeatureColumn, settings: Mapping[str, Json] | None = None) -> None:
    """A blank cell; a cell alone, and in a longer batch, as among others; one encoder under two inputs; the same after save
    and load; a gradient in every parameter, if there are several cells; views that depend on their seeds alone. Of a column without
    any cell, the blank one. Raises AssertionError."""
    fitted = kind.fit(column.compact(), settings or {}, 0)
    prepared = kind.transform(fitted, column)
    torch.manual_seed(0)
    encoder = kind(fitted, WIDTH).eval()
    cells = np.arange(prepared.cells)
    x = tensors(prepared.take(cells)) if len(cells) else blank(prepared)
    tokens = encoder(x)
    assert (tokens.state_B == State.PRESENT).all() and tokens.x_BND.shape[2] == WIDTH, "every cell is PRESENT, D wide"
    assert torch.isfinite(tokens.x_BND).all() and torch.isfinite(encoder(blank(prepared)).x_BND).all(), "not finite"
    for cell in cells.tolist():
        row = np.flatnonzero((column.row_BK == cell).any(1))[:1]
        same_tokens(encoder(tensors(prepared.take(cells[cell : cell + 1]))), tokens.take(*at(cell)), "a cell alone differs")
        if len(row) and column.row_BK.shape[1] == 1:
            alone = kind.transform(fitted, column.rows(row).compact())
            same_tokens(encoder(tensors(alone.take(np.zeros(1, np.int64)))), tokens.take(*at(cell)), "prepared alone it differs")
    longer = {n: nn.functional.pad(v, (0, 0) * (v.ndim - 2) + (0, 3)) if n in prepared.ragged else v for n, v in x.items()}
    same_tokens(encoder(longer), tokens, "padding counts")
    loaded = Fitted(json.loads(json.dumps(fitted.config)), fitted.arrays, fitted.files)
    again = kind(loaded, WIDTH).eval()
    again.load_state_dict(encoder.state_dict())
    reread = kind.transform(loaded, column)
    x_again = tensors(reread.take(cells)) if len(cells) else blank(reread)
    assert torch.equal(again(x_again).x_BND, tokens.x_BND), "other after load"
    shared = gather(prepared, np.arange(len(column)), column.state_B)
    batch = Batch({}, {"t.a": shared, "t.b": Cells(x, None, tokens.state_B)}, {}, {}, 0)
    both = Model([encoder], {"t.a": 0, "t.b": 0}, {}, Identity(), {}).encode(batch)
    assert torch.equal(both["t.b"].x_BND, tokens.x_BND) and both["t.a"].x_BND.shape[0] == len(column), "not shared"
    (tokens.x_BND * torch.randn_like(tokens.x_BND)).sum().backward()
    lost = [n for n, p in encoder.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert len(cells) < 2 or not lost, f"no gradient in {lost}"
    seeds, half = torch.arange(len(tokens.state_B)) + 5, len(tokens.state_B) // 2
    view, part = encoder.augment(x, 1.0, seeds), encoder.augment({n: v[half:] for n, v in x.items()}, 1.0, seeds[half:])
    assert all(torch.equal(view[n][half:].nan_to_num(), part[n].nan_to_num()) for n in x), "a view depends on more than its seed"


def check_fusion(kind: type[Fusion], settings: Mapping[str, Json] | None = None) -> None:
    """Hidden is dropped is missing, and what stands behind a mask counts for nothing, in every bit; free of the mapping's
    order, of padding, of why a cell is gone; free of the other rows, in training too where it draws nothing (Dropout is
    set to 0); finite and with a gradient where nothing is there. Raises AssertionError."""
    torch.manual_seed(0)
    keys: tuple[Key, ...] = ("t.b", "t.a", "t.c")
    fusion = kind(keys, WIDTH, settings or {}).eval()
    tokens = {key: some_tokens(7, n, i) for i, (key, n) in enumerate(zip(keys, (4, 1, 3), strict=True))}
    joint = fusion(tokens)
    assert joint.mask_BN[:, 0].all() and not joint.x_BND[~joint.mask_BN].any(), "summary masked, or no 0 behind the mask"
    assert all(torch.equal(joint.state_BM[:, m], tokens[k].state_B) for m, k in enumerate(joint.inputs)), "states of others"
    for value in (torch.nan, 1e30):
        behind = {k: replace(t, x_BND=t.x_BND.masked_fill(~t.mask_BN[..., None], value)) for k, t in tokens.items()}
        equal(fusion(behind), joint, f"{value} behind a mask counts")
    off_B, row_B = torch.arange(7) % 2 == 0, torch.arange(7)
    gone_B = torch.where(off_B & (tokens["t.b"].state_B == State.PRESENT), int(State.MISSING), tokens["t.b"].state_B)
    x_BND, mask_BN = tokens["t.b"].x_BND, tokens["t.b"].mask_BN
    missing = Tokens(torch.where(off_B[:, None, None], 0.0, x_BND), mask_BN & ~off_B[:, None], gone_B)
    hidden = fusion({**tokens, "t.b": tokens["t.b"].hide(off_B)})
    equal(hidden, fusion({**tokens, "t.b": tokens["t.b"].take(torch.where(off_B, -1, row_B), gone_B)}), "hidden is not dropped")
    equal(hidden, fusion({**tokens, "t.b": missing}), "hidden is not missing")
    other = {k: replace(t, state_B=(t.state_B % 3 + 1) * (t.state_B > 0)) for k, t in tokens.items()}  # MISSING, BROKEN … in turn
    equal(fusion(other), joint, "why a cell is gone counts")
    close(fusion(dict(reversed(tokens.items()))).rep_BD, joint.rep_BD, "the order of inputs counts")
    padded = {
        k: Tokens(nn.functional.pad(t.x_BND, (0, 0, 0, 2)), nn.functional.pad(t.mask_BN, (0, 2)), t.state_B) for k, t in tokens.items()
    }
    close(fusion(padded).rep_BD, joint.rep_BD, "padding counts")
    for row in row_B:
        alone = fusion({key: t.take(row[None], t.state_B[row][None]) for key, t in tokens.items()})
        close(alone.rep_BD[0], joint.rep_BD[row], "other rows count")
    assert fusion({key: t.take(row_B[:0], t.state_B[:0]) for key, t in tokens.items()}).rep_BD.shape == (0, WIDTH), "not of no row"
    nothing = fusion({key: t.hide(torch.ones(7, dtype=torch.bool)) for key, t in tokens.items()})
    (nothing.rep_BD * torch.randn(7, WIDTH)).sum().backward()
    grads = [p.grad for p in fusion.parameters() if p.grad is not None]
    assert torch.isfinite(nothing.x_BND).all() and all(torch.isfinite(g).all() for g in grads), "not finite where nothing is there"
    assert any(g.abs().sum() > 0 for g in grads), "no gradient where nothing is there"
    for module in fusion.train().modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    learning, some = fusion(tokens).rep_BD, {key: t.take(row_B[:4], t.state_B[:4]) for key, t in tokens.items()}
    if torch.equal(fusion(tokens).rep_BD, learning):
        close(fusion(some).rep_BD, learning[:4], "other rows count in training")


def check_head(kind: type[Head], task: Task, y_R: Tensor) -> None:
    """`loss` and `predict` read no parameter, `forward` reads no y; examples need not be the rows; weight 0 teaches nothing;
    an offset is added; a distribution that is certain is a class. `y_R` as `task.encode` makes it. Raises AssertionError."""
    torch.manual_seed(0)
    head, rows = kind(task, WIDTH).eval(), torch.arange(len(y_R)) % 3
    tokens = {"t.a": some_tokens(5, 2, 0), "t.b": some_tokens(5, 1, 1)}
    joint = Joint.of(torch.randn(5, WIDTH), tokens).take(rows)
    weight_R = (torch.arange(len(y_R)) % 2).float()
    examples = Examples((rows,) * len(task.views), y_R, weight_R)
    joints = (joint,) * len(task.views)
    output, other = head(joints, examples), head(joints, examples._replace(y=None))
    assert output.keys() == other.keys() and all(torch.equal(output[n], other[n]) for n in output), "forward reads y"
    offset_RC = torch.randn_like(output["score"])
    moved = head(joints, examples._replace(offset_R=offset_RC))["score"]
    close(moved, output["score"] + offset_RC, "an offset is not added to the score")
    before, answer = head.loss(output, examples), head.predict(output, examples)
    assert torch.isfinite(before.loss_R).all() and (before.weight_R[weight_R == 0] == 0).all(), "weight 0 teaches"
    assert len(before.loss_R) == len(answer.score) == len(answer.state_RM) == len(y_R) and np.isfinite(answer.score).all()
    head.zero_grad()
    zero = head.loss(head(joints, examples), examples._replace(weight_R=0 * weight_R))
    torch.autograd.backward((zero.loss_R * zero.weight_R).sum())
    assert all(p.grad is None or not p.grad.any() for p in head.parameters()), "weight 0 has a gradient"
    if not y_R.is_floating_point():
        soft = examples._replace(y=nn.functional.one_hot(y_R.clamp(min=0), task.width).float(), weight_R=before.weight_R)
        certain = before.weight_R > 0
        close(head.loss(output, soft).loss_R[certain], before.loss_R[certain], "a certain distribution is no class")
    for parameter in head.parameters():
        parameter.data.fill_(torch.nan)
    after = head.loss(output, examples)
    assert torch.equal(after.loss_R, before.loss_R), "loss reads a parameter"
    assert np.array_equal(head.predict(output, examples._replace(y=None)).score, answer.score), "predict reads a parameter, or y"


def some_tokens(rows: int, count: int, seed: int) -> Tokens:
    """Random ones; row 0 has none, row 1 is BROKEN, the others are whole or in part there."""
    random = torch.Generator().manual_seed(seed)
    state_B = torch.zeros(rows, dtype=torch.int64)
    state_B[:2] = torch.tensor([State.MISSING, State.BROKEN])
    mask_BN = torch.rand(rows, count, generator=random) < 0.7
    mask_BN[3:, 0] = True
    return Tokens(torch.randn(rows, count, WIDTH, generator=random), mask_BN, state_B)


def at(cell: int) -> tuple[Tensor, Tensor]:
    """One present row, for `Tokens.take`."""
    return torch.tensor([cell]), torch.zeros(1, dtype=torch.int64)


def same_tokens(one: Tokens, two: Tokens, what: str) -> None:
    """The same vectors behind the masks, whatever the padding."""
    assert torch.equal(one.mask_BN.sum(1), two.mask_BN.sum(1)), what
    close(one.x_BND[one.mask_BN], two.x_BND[two.mask_BN], what)


def equal(one: Joint, two: Joint, what: str) -> None:
    """In every bit."""
    assert torch.equal(one.x_BND, two.x_BND) and torch.equal(one.mask_BN, two.mask_BN), what


def close(one: Tensor, two: Tensor, what: str) -> None:
    """Within NEAR."""
    assert torch.allclose(one, two, rtol=NEAR, atol=NEAR), f"{what} ({(one - two).abs().max():.1e})"
