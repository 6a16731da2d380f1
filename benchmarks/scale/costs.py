"""What a training costs on the machine that measured it, kept as a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

COMMITTED = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes of one training by two workers on two Ray nodes; a lone worker's where it says so."""

    step: float  # forward, backward and update of one worker's share, until the slower of both is done
    all_reduce: float  # the sum of all gradients over both workers, over loopback
    all_reduce_bytes: int
    image: float  # counting one whole image, one worker
    image_pixels: int
    checkpoint: float  # from the end of an epoch to the next: write, hash, copy into storage, tell Ray
    checkpoint_bytes: int
    restore: float  # reading and checking a checkpoint from a local folder
    ray_start: float  # the processes of two nodes
    start: float  # from the call of `train` to the first step: processes, imports, weights
    restart: float  # from the loss of a worker to its successor's first step; it includes a restore
    frame_operations: float  # of a step on one frame of 1024 x 768, counted, not timed
    end: float  # from the last epoch's end to the return of `train`, its checkpoint included


@dataclass(frozen=True)
class Validation:
    """One real training beside its simulation; in one of each pair a worker was killed."""

    epochs: int
    steps: int  # an epoch
    killed_after: float | None  # seconds after the first step
    real: float  # seconds
    simulated: float

    @property
    def error(self) -> float:
        return self.simulated / self.real - 1


def save(costs: Costs, validations: list[Validation], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"costs": asdict(costs), "validations": [asdict(each) for each in validations]}
    file.write_text(json.dumps(content, indent=2) + "\n")


def load(file: Path) -> tuple[Costs, list[Validation]]:
    content = json.loads(file.read_text())
    return Costs(**content["costs"]), [Validation(**each) for each in content["validations"]]
