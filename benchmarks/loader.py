"""How fast and how lean the data are read: memory of manifests, bytes read of a pack, and the loader beside a mock.

    OMP_NUM_THREADS=1 python -m benchmarks.loader [--records 1000 1000000]

Three ratios. The resident memory that opening a manifest of many records adds, each record with ten people, in a
process of its own; what share of a pack of large images is read from disk to cut one crop of each; and the steps a
second of a training loop of MCNN fed by the loader, beside the same steps on batches that are there already."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from components.crowd import Window
from components.data.manifest import SCHEMA, Prepared
from components.data.packed import PackWriter
from components.density_maps.crops import padded
from components.training.assemble import assemble, open_data, samples
from components.training.epoch import Communicator, train_step
from components.training.optimisers import build_optimisers
from components.training.samples import prefetch
from components.workspace.layout import PreparedPaths
from tests import crowds

PEOPLE = 10  # in each record
CHUNK = 50_000  # records that are generated at a time
LARGE, LARGE_IMAGES, CROP = (2000, 3000), 5, (128, 128)  # pixels, of the images and crops whose bytes are counted
IMAGES = 32  # of 256 x 192, which the loop trains on
ROUNDS = 5
BOUND = 0.95  # of the steps a second on batches that lie ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs=2, default=[1000, 1_000_000])
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)  # what a process of its own measures
    options = parser.parse_args()
    if options.open:
        print(added_memory(options.open))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        added = [measure_manifest(folder / str(records), records) for records in options.records]
        for records, size in zip(options.records, added, strict=True):
            print(f"manifest   {records:9,} records: {size / 2**20:7.1f} MiB, {size / records:7.0f} bytes a record")
        print(f"crops      {100 * share_read(folder / 'large'):9.1f} % of a pack is read to cut a crop of each image")
        ratio = loader_ratio(folder / "small")
        print(f"loader     {ratio:9.3f} of the steps a second on batches that lie ready; wanted: {BOUND}")
    sys.exit(ratio < BOUND)


def measure_manifest(folder: Path, records: int) -> int:
    write_manifest(folder, records)
    command = [sys.executable, "-m", "benchmarks.loader", "--open", str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write_manifest(folder: Path, records: int) -> None:
    """A prepared data set of so many records, all of which show the same small image."""
    paths = PreparedPaths(folder)
    with PackWriter(paths.images, np.uint8) as images:
        images.append(np.zeros((8, 8, 3), np.uint8))
    np.save(paths.images / "index.npy", np.repeat(np.load(paths.images / "index.npy"), records, axis=0))
    random = np.random.default_rng(0)
    with pq.ParquetWriter(paths.manifest, SCHEMA) as writer:
        for first in range(0, records, CHUNK):
            writer.write_table(generated(random, range(first, min(first + CHUNK, records))))


def generated(random: np.random.Generator, numbers: range) -> pa.Table:
    count = len(numbers)
    offsets = np.arange(count + 1, dtype=np.int32) * PEOPLE
    dots = [pa.ListArray.from_arrays(offsets, random.random(count * PEOPLE) * 8) for _ in "xy"]
    columns = {
        "id": [f"camera/frame-{number:08d}" for number in numbers],
        "split": ["val" if number % 5 == 0 else "train" for number in numbers],
        **{side: np.full(count, 8, np.int32) for side in ("height", "width")},
        "scale": np.ones(count),
        "x": dots[0],
        "y": dots[1],
        "group": np.array(numbers, np.int32),
        "sha256": [""] * count,
        "scene": ["camera"] * count,
        "perspective": pa.nulls(count, pa.list_(pa.float64())),
        "region": pa.nulls(count, pa.int32()),
    }
    return pa.table(columns, schema=SCHEMA)


def added_memory(folder: Path) -> int:
    """Bytes of resident memory that opening this data set adds, and reading some of its rows."""
    process = psutil.Process()
    before = process.memory_info().rss
    prepared = Prepared(folder)
    rows = prepared.split("train")
    assert all(len(rows[number].dots) == PEOPLE for number in range(0, len(rows), max(1, len(rows) // 100)))
    return process.memory_info().rss - before


def share_read(folder: Path) -> float:
    """What is read from disk, as a share of a pack, to cut one crop from each of its large images."""
    made = crowds.write(folder, [LARGE] * LARGE_IMAGES, ["train"] * (LARGE_IMAGES - 1) + ["val"])
    file = made[0] / "images" / "data.npy"
    with file.open("rb") as written:
        os.fsync(written.fileno())
        os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # or it would be read from memory
    images = open_data(*made).prepared.images
    before = psutil.Process().io_counters().read_bytes
    for number, random in enumerate(np.random.default_rng(0).spawn(LARGE_IMAGES)):
        top, left = random.integers(0, np.subtract(LARGE, CROP))
        padded(images[number], Window(int(top), int(left), *CROP)).sum()
    return (psutil.Process().io_counters().read_bytes - before) / file.stat().st_size


def loader_ratio(folder: Path) -> float:
    """Steps on what the loader reads, against the same steps on batches that lie ready; round by round in turn, and
    of each the fastest, since other work on the machine comes and goes."""
    made = crowds.write(folder, [(192, 256)] * IMAGES + [(192, 256)], ["train"] * IMAGES + ["val"])
    plan = crowds.plan(batch_size=4, crop=[144, 192])
    model = assemble(plan, 0)
    training, optimisers, seconds = samples(plan, 0, open_data(*made), 4)[0], build_optimisers(model), ([], [])
    for epoch in range(ROUNDS):
        for times, batches in (
            (seconds[0], [*training.batches(epoch, 4)]),
            (seconds[1], prefetch(training.batches(epoch, 4))),
        ):
            started = time.perf_counter()
            for batch, images in batches:
                train_step(model, [optimisers["counter"]], batch, images, False, Communicator())
            times.append(time.perf_counter() - started)
    ready, loaded = (min(times) for times in seconds)
    return ready / loaded


if __name__ == "__main__":
    main()
