"""How long `xmodal --help` takes."""

import subprocess
import sys

from bench.common import Row, at_most, cpu


def run() -> list[Row]:
    def start() -> None:
        subprocess.run([sys.executable, "-m", "xmodal", "--help"], check=True, stdout=subprocess.DEVNULL)

    return [at_most("xmodal --help, CPU s", min(cpu(start) for _ in range(7)), 0.4, "the quickest of 7 processes")]
