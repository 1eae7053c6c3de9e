"""Trees as flat arrays, walked all at once, a level at a time. N nodes · T trees · L leaves · B rows · F features"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Nodes = Mapping[str, np.ndarray]


def pack(trees: Sequence[Nodes]) -> dict[str, np.ndarray]:
    """Trees with `feature`, `threshold`, `left`, `right`, `missing` (goes left), `leaf` and `value` a node, one after
    the other. A leaf is its own left child; its right one is its row of `value` [L, C]."""
    joined = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    size = np.array([len(tree["leaf"]) for tree in trees])
    root = np.cumsum(size) - size
    leaf, shift = joined.pop("leaf").astype(bool), np.repeat(root, size)
    return {
        "root": root.astype(np.int32),
        "feature": np.where(leaf, 0, joined["feature"]).astype(np.int16),
        "threshold": joined["threshold"],
        "missing": joined["missing"].astype(bool),
        "left": np.where(leaf, np.arange(len(leaf)), joined["left"] + shift).astype(np.int32),
        "right": np.where(leaf, np.cumsum(leaf) - 1, joined["right"] + shift).astype(np.int32),
        "value": joined["value"][leaf],
    }


def walk(nodes: Nodes, x_BF: np.ndarray) -> np.ndarray:
    """The row of `value` of the leaf of each tree that a row falls in, [B, T]."""
    at_BT, row_B1 = np.repeat(nodes["root"][None], len(x_BF), 0), np.arange(len(x_BF))[:, None]
    while True:
        left_BT = nodes["left"][at_BT]
        leaf_BT = left_BT == at_BT
        if leaf_BT.all():
            return np.asarray(nodes["right"][at_BT])
        x_BT = x_BF[row_B1, nodes["feature"][at_BT]]
        go_BT = leaf_BT | (x_BT <= nodes["threshold"][at_BT]) | (np.isnan(x_BT) & nodes["missing"][at_BT])
        at_BT = np.where(go_BT, left_BT, nodes["right"][at_BT])
