"""Killed once, run again: the bits of the weights. `python -m bench.resume [COUNT]` kills so many fits at seeded random moments."""

from __future__ import annotations

import sys

from bench.kills import run

if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else 20, fresh=True))
