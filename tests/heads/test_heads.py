from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from tests.contracts.strain import classes

from xmodal.batch import Examples, View
from xmodal.heads.classify import ClassifyHead
from xmodal.heads.multilabel import MultiLabelHead
from xmodal.heads.regress import RegressHead
from xmodal.tasks import MultiLabel, Regress
from xmodal.testing.network import some_tokens
from xmodal.tokens import Joint

JOINT = Joint.of(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), {"t.a": some_tokens(5, 2, 0)})
ONES = torch.ones(5)


def test_classify() -> None:
    head = ClassifyHead(classes("y", 3, ("t", {"t.a"})), 8)
    y_R = torch.tensor([0, 2, -1, 1, 1])
    examples = Examples((None,), y_R, torch.tensor([1.0, 0.5, 1.0, 0.0, 2.0]), torch.randn(5, 3))
    output = head((JOINT,), examples)
    expected = JOINT.rep_BD @ head.last.weight.T + head.last.bias + examples.offset_R
    assert torch.allclose(output["score"], expected, atol=1e-6)
    loss_R, weight_R = head.loss(output, examples)
    assert weight_R.tolist() == [1.0, 0.5, 0.0, 0.0, 2.0], "nothing learns from a class that training lacks"
    for r in (0, 1, 3, 4):
        assert torch.isclose(loss_R[r], expected[r].logsumexp(0) - expected[r, y_R[r]], atol=1e-5)
    soft = head.loss(output, examples._replace(y=torch.full((5, 3), 1 / 3)))
    assert torch.allclose(soft.loss_R, -F.log_softmax(expected, 1).mean(1), atol=1e-5)
    prediction = head.predict(output, examples)
    np.testing.assert_allclose(prediction.score, expected.softmax(1).detach().numpy(), atol=1e-6)
    assert prediction.state_RM[:, 0].tolist() == JOINT.state_BM[:, 0].tolist()


def test_regress_in_the_targets_units() -> None:
    values = pa.array([10.0, 20.0, 30.0, None, 60.0])
    task = Regress("y", (View("t", frozenset({"t.a"})),)).fit(values)
    head = RegressHead(task, 8)
    y_R, weight_R = task.encode(values)
    examples = Examples((None,), y_R, weight_R)
    output = head((JOINT,), examples)
    z_R = JOINT.rep_BD @ head.last.weight[0] + head.last.bias
    mean, deviation = np.mean([10, 20, 30, 60]), np.std([10, 20, 30, 60])
    np.testing.assert_allclose(head.predict(output, examples).score, z_R.detach().numpy() * deviation + mean, rtol=1e-5)
    loss = head.loss(output, examples)
    assert torch.allclose(loss.loss_R[:3], (z_R[:3] - (torch.tensor([10.0, 20, 30]) - mean) / deviation) ** 2, atol=1e-5)
    assert loss.weight_R.tolist() == [1, 1, 1, 0, 1]


@pytest.mark.parametrize("head", [ClassifyHead, RegressHead])
def test_a_loss_needs_y(head: type[ClassifyHead] | type[RegressHead]) -> None:
    made = head(classes("y", 3, ("t", {"t.a"})), 8)
    examples = Examples((None,), None, ONES)
    with pytest.raises(ValueError, match="needs y"):
        made.loss(made((JOINT,), examples), examples)


def test_labels_that_are_not_known_teach_nothing() -> None:
    flags = [pa.array([True, False, None, True, None]), pa.array([False, None, None, True, True])]
    labels = pa.StructArray.from_arrays(flags, names=["a", "b"])
    task = MultiLabel("y", (View("t", frozenset({"t.a"})),)).fit(labels)
    head, (y_RL, weight_R) = MultiLabelHead(task, 8), task.encode(labels)
    assert weight_R.tolist() == [1, 1, 0, 1, 1]
    output = head((JOINT,), Examples((None,), y_RL, weight_R))
    score = output["score"].detach().requires_grad_()
    loss_R, _ = head.loss({"score": score}, Examples((None,), y_RL, weight_R))
    (slope_RL,) = torch.autograd.grad(loss_R.sum(), score)
    assert ((slope_RL == 0) == (y_RL < 0)).all() and loss_R[2] == 0
    assert torch.isclose(loss_R[0], F.binary_cross_entropy_with_logits(score[0], torch.tensor([1.0, 0.0])))
    assert torch.isclose(loss_R[1], F.softplus(score[1, 0]))
    np.testing.assert_allclose(head.predict(output, Examples((None,), None, ONES)).score, score.sigmoid().detach().numpy(), atol=1e-6)
