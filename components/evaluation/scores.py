"""The scores of one experiment: every seed on the same test images, as arrays and as a Parquet file, whose metadata
says what counting an image cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.manifest import read_parquet
from components.errors import UserError
from components.evaluation.score import LEVELS, Score

METADATA = b"dotfield"  # the key of the Parquet file's metadata: the cost, as JSON
GAMES = [f"game_{level}" for level in range(LEVELS)]
SCHEMA = pa.schema(
    [
        ("seed", pa.int64()),
        ("id", pa.string()),
        ("scene", pa.string()),
        ("truth", pa.float64()),
        ("prediction", pa.float64()),
    ]
    + [(name, pa.float64()) for name in GAMES]
)


@dataclass(frozen=True)
class Scores:
    """S seeds on the same n images: truth (n,), prediction (S, n), game (S, n, 4) summed absolute count errors."""

    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    truth: np.ndarray
    prediction: np.ndarray
    game: np.ndarray
    scenes: tuple[str, ...] = ()  # of each image; "" where the data set names none

    def take(self, seeds: np.ndarray, images: np.ndarray) -> Scores:
        """The same scores at these positions, which may repeat."""
        return Scores(
            tuple(self.seeds[i] for i in seeds),
            tuple(self.ids[i] for i in images),
            self.truth[images],
            self.prediction[np.ix_(seeds, images)],
            self.game[np.ix_(seeds, images)],
            tuple(self.scenes[i] for i in images) if self.scenes else (),
        )


@dataclass(frozen=True)
class Cost:
    """What counting a test image took on one thread of a processor: the mean over some of the images."""

    cpu_seconds: float  # per image, preprocessing and network
    megapixels: float  # of these images, on average
    processor: str


def pool_scores(parts: Sequence[Scores]) -> Scores:
    """The images of all parts, on the seeds that they share: the folds of a cross-validation as one test set.

    Raises UserError where an image stands in two parts, or the parts share no seed."""
    seeds = [seed for seed in parts[0].seeds if all(seed in part.seeds for part in parts)]
    ids = tuple(id for part in parts for id in part.ids)
    if not seeds:
        raise UserError("no seed is common to all of these experiments; give them the same `seeds`")
    if len(set(ids)) < len(ids):
        twice = next(id for place, id in enumerate(ids) if id in ids[:place])
        raise UserError(f"image {twice} is tested twice; pool experiments with different test images")
    alike = [
        part.take(np.array([part.seeds.index(seed) for seed in seeds]), np.arange(len(part.ids))) for part in parts
    ]
    return Scores(
        tuple(seeds),
        ids,
        np.concatenate([part.truth for part in alike]),
        np.concatenate([part.prediction for part in alike], axis=1),
        np.concatenate([part.game for part in alike], axis=1),
        tuple(scene for part in alike for scene in part.scenes),
    )


def pool_costs(costs: Sequence[Cost | None], images: Sequence[int]) -> Cost | None:
    """The cost of an image of all parts, which hold so many `images`; None unless all ran on one processor."""
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs) or len({cost.processor for cost in known}) > 1:
        return None
    seconds, megapixels = (
        float(np.average([getattr(cost, name) for cost in known], weights=images))
        for name in ("cpu_seconds", "megapixels")
    )
    return replace(known[0], cpu_seconds=seconds, megapixels=megapixels)


def stack_scores(scores: Mapping[int, list[Score]]) -> Scores:
    """Scores by seed as arrays. Raises UserError where the seeds were scored on different images, or on none."""
    seeds = tuple(sorted(scores))
    ids = [tuple(score.id for score in scores[seed]) for seed in seeds]
    if len(set(ids)) != 1 or not ids[0]:
        raise UserError(f"seeds {seeds} are not scored on one and the same set of images: {[len(i) for i in ids]}")
    return Scores(
        seeds,
        ids[0],
        np.array([score.truth for score in scores[seeds[0]]]),
        np.array([[score.prediction for score in scores[seed]] for seed in seeds]),
        np.array([[score.game for score in scores[seed]] for seed in seeds]),
        tuple(score.scene for score in scores[seeds[0]]),
    )


def write_scores(path: Path, scores: Mapping[int, list[Score]], cost: Cost | None = None) -> None:
    """One row per seed and image, by seed; `cost` stands in the metadata."""
    rows = [
        {"seed": seed, "id": score.id, "scene": score.scene, "truth": score.truth, "prediction": score.prediction}
        | dict(zip(GAMES, score.game, strict=True))
        for seed in sorted(scores)
        for score in scores[seed]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = SCHEMA if cost is None else SCHEMA.with_metadata({METADATA: json.dumps(asdict(cost))})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def read_scores(path: Path) -> Scores:
    """Read what `write_scores` wrote. Raises UserError where the seeds were scored on different images."""
    scores: dict[int, list[Score]] = {}
    for row in read_parquet(path, SCHEMA).to_pylist():
        game = tuple(row[name] for name in GAMES)
        scores.setdefault(row["seed"], []).append(Score(row["id"], row["truth"], row["prediction"], game, row["scene"]))
    return stack_scores(scores)


def read_cost(path: Path) -> Cost | None:
    """The cost that `write_scores` wrote; None where it was not measured."""
    metadata = pq.read_schema(path).metadata or {}
    return Cost(**json.loads(metadata[METADATA])) if METADATA in metadata else None
