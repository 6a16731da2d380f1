"""What the workers of a Ray Train run tell: checkpoints to Ray, and progress, stacks and mistakes to the driver."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
import ray.train
from ray.train import Checkpoint
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from components.training.checkpoints import write_state
from components.training.epoch import Record
from components.training.fit import DivergedError, State
from components.workspace.layout import hung_worker

PROGRESS_INTERVAL = 1.0  # seconds between two reports of progress within an epoch
OnProgress = Callable[[float, Record | None], None]

log = logging.getLogger(__name__)


class Reports:
    """What a worker reports: checkpoints to Ray, and progress to the driver's queue. Both are worker 0's, but for that
    all workers wait for each other at a checkpoint."""

    def __init__(self, queue: Queue, rank: int, interval: float, started_from: str) -> None:
        self._queue, self._rank, self._interval, self._started_from = queue, rank, interval, started_from
        self._saved = self._told = time.monotonic()

    def save(self, record: Record | None, state: State) -> None:
        """Write a checkpoint, and tell of the epoch that ended, if one did."""
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if self._rank == 0:
                write_state({"state": state, "started_from": self._started_from}, Path(folder))
                checkpoint = Checkpoint.from_directory(folder)
                if record is not None:
                    self._queue.put((record["epoch"], record))
            ray.train.report({"epoch": state["epoch"]}, checkpoint=checkpoint)
        self._saved = time.monotonic()

    def part_is_due(self) -> bool:
        """Whether the last checkpoint is longer ago than the interval, in seconds."""
        return time.monotonic() - self._saved > self._interval

    def progress(self, epochs: float) -> None:
        """Tell how many epochs are done so far, unless that was told just now."""
        if self._rank == 0 and time.monotonic() - self._told > PROGRESS_INTERVAL:
            self._told = time.monotonic()
            self._queue.put((epochs, None))


@contextmanager
def listening(
    run: str, on_progress: OnProgress, on_resume: Callable[[list[Record]], None]
) -> Iterator[tuple[Queue, list[DivergedError]]]:
    """A queue on the driver's node, not to be lost with a worker's, whose messages reach these two here; and the
    mistakes of the workers, by rank, that were sent through it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue, mistakes = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here}), list[DivergedError]()

    def listen() -> None:
        while (message := queue.get()) is not None:
            epochs, content = message
            if epochs is None:
                mistakes[:] = [DivergedError(*each) for each in content]
            elif isinstance(content, str):
                _save_stacks(run, int(epochs), content)
            elif isinstance(content, list):
                on_resume(content)
            else:
                on_progress(epochs, content)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield queue, mistakes
    finally:
        queue.put(None)
        thread.join(timeout=60)
        queue.shutdown()


def _save_stacks(run: str, rank: int, stacks: str) -> None:
    file = hung_worker(run, rank)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(stacks)
    log.warning("warning: worker %d did nothing for too long and is started again; where it hung: %s", rank, file)
