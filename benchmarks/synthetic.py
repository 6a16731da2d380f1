"""How long the made crowd takes: `python -m benchmarks.synthetic` draws 300 scenes of 256 x 192 on one core."""

from __future__ import annotations

import argparse
import time

from components.datasets.synthetic import Params, build


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = Params(images=300, height=192, width=256)
    start = time.process_time()
    people = sum(len(sample.dots) for sample in build(params).samples([]))
    seconds = time.process_time() - start
    print(f"{params.images} images of {params.width} x {params.height} px, {people} people: {seconds:.1f} CPU seconds")


if __name__ == "__main__":
    main()
