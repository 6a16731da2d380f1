"""How long `dvc repro` takes when nothing is stale, beside a bare `import dvc.repo` in the same run.

dotfield run demo && python -m benchmarks.nothing_to_do"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

TIMES = 3
NEEDED_SECONDS = 2.5


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if subprocess.run([sys.executable, "-m", "dvc", "status", "--quiet", "dvc.yaml"]).returncode:
        sys.exit("something is stale, and would run now: give `dotfield run demo` first")
    importing = fastest("-c", "import dvc.repo")
    repro = fastest("-m", "dvc", "repro")
    print(f"import dvc.repo       {importing:5.2f} s")
    print(
        f"dvc repro, all fresh  {repro:5.2f} s, {repro / importing:.1f} times as long; needed: under {NEEDED_SECONDS} s"
    )
    sys.exit(repro > NEEDED_SECONDS)


def fastest(*words: str) -> float:
    """Seconds of the fastest of a few runs. Raises CalledProcessError where one fails."""
    seconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
