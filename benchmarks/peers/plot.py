"""Draws a result file: python -m benchmarks.peers.plot FILE writes an SVG beside it.

It runs in the peers' environment, which has matplotlib.
"""

import json
import sys
from pathlib import Path

from fastnn.bench.plot import picture

from .summary import main_run


def main():
    path = Path(sys.argv[1])
    picture(main_run(json.loads(path.read_text())), path.with_suffix(".svg"))
    print(f"drawn in {path.with_suffix('.svg')}")


if __name__ == "__main__":
    main()
