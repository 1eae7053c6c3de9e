"""Two processes whose gradients add up to those of one, though an input is missing in all of one shard."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from tests.contracts.strain import WIDTH, classes, encoder, vectors

from xmodal.batch import Examples, Fetch, Plan
from xmodal.context import Identity
from xmodal.fusion.transformer import Transformer
from xmodal.heads.classify import ClassifyHead
from xmodal.model import Model
from xmodal.training import Step, Supervised

ROWS = 24


def gradients(rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of the step over these rows of the global batch: the second half of the table has no sound."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    row_B = np.arange(ROWS)
    columns = {
        "main.picture": vectors(random.normal(size=(ROWS, 2, 3)), np.where(row_B % 5 == 0, -1, row_B)),
        "main.sound": vectors(random.normal(size=(ROWS, 1, 3)), np.where(row_B < ROWS // 2, row_B, -1)),
    }
    model = Model(
        [encoder(c) for c in columns.values()],
        {k: i for i, k in enumerate(columns)},
        {"main": Transformer(tuple(columns), WIDTH, {})},
        Identity(),
        {"y": ClassifyHead(classes("y", 3, ("main", set(columns))), WIDTH)},
    ).eval()
    weight_B = torch.from_numpy(random.random(ROWS)).float() * (torch.arange(ROWS) % 7 > 0)
    examples = Examples((None,), torch.arange(ROWS)[rows] % 3, weight_B[rows])
    Step(model, [Supervised()])(Fetch(columns)(Plan({"y": examples}, {"main": rows}, 0))).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def work(rank: int, port: int) -> None:
    whole = gradients(torch.arange(ROWS))
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    mine = gradients(torch.arange(ROWS).chunk(2)[rank])
    for name, gradient in mine.items():
        dist.all_reduce(gradient)
        torch.testing.assert_close(gradient, whole[name], rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert mine.keys() == whole.keys(), "a rank lacks gradients that the others wait for"
    dist.destroy_process_group()


def test_two_processes() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [subprocess.Popen([sys.executable, __file__, str(r), str(port)], env=env, stderr=subprocess.PIPE, text=True) for r in (0, 1)]
    try:
        said = [rank.communicate(timeout=100)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], said


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]))
