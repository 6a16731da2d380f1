"""`params/gate.yaml`: when a candidate may replace the counter in use. A key that is not known is an error.

Numbers that say "share" are fractions: 0.05 is five in a hundred."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from components.config.options import Choice, Options
from components.errors import UserError

Group = Literal["density", "camera", "bias", "empty", "game", "latency", "memory", "questions", "disagreement"]


class HeldOut(Options):
    """Labelled images on which no counter is trained, and by which none is chosen but here."""

    source: Choice = Field(description="the data set, as in a study: its kind and that kind's options")
    half: Literal["train", "val", "test"] | None = Field(
        None, description="of a data set with halves of its own, the one that is used; none: every image"
    )
    camera: str | None = Field(
        None, description="a regular expression in ids whose first group names the camera; none: the data set's scenes"
    )
    sha256: str | None = Field(
        None, description="of these images and their dots, as `dotfield gate` prints it: another set is refused"
    )

    @field_validator("camera")
    @classmethod
    def _check_camera(cls, camera: str | None) -> str | None:
        try:
            if camera is not None and re.compile(camera).groups != 1:
                raise UserError(f"{camera!r} must have one group in parentheses, such as '^(cam[0-9]+)'")
        except re.error as error:
            raise UserError(f"{camera!r} is not a regular expression: {error}") from None
        return camera


class Accuracy(Options):
    """Critical: the errors on all held-out images, paired with those of the counter in use."""

    tolerance: float = Field(
        0.05, ge=0, description="the upper bound of (candidate's MAE - current MAE), at most this share of current MAE"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the bound, one-sided, by a bootstrap over cameras")
    fewest_pairs: int = Field(10, ge=2, description="images below which a number is insufficient")
    fewest_cameras: int = Field(
        5, ge=2, description="with fewer, the bootstrap draws images of each camera, and says nothing of other cameras"
    )
    first: float = Field(
        0.5, gt=0, description="where no counter is in use: the bound of MAE, at most this share of the mean count"
    )


class Supporting(Options):
    """Checks of parts of the held-out images, and of other numbers. `blocking` says which of them can say NO-GO; where
    no counter is in use yet, none can."""

    blocking: tuple[Group, ...] = Field(
        ("density", "camera", "bias", "empty", "latency", "memory"),
        description="groups of which a check that fails is a NO-GO; others only warn",
    )
    part: float = Field(
        0.25, ge=0, description="MAE of a range of densities or a camera: worse, beyond noise, by more than this share"
    )
    bias: float = Field(0.1, ge=0, description="|people counted - people there| as a share, over all images")
    empty: float = Field(1.0, ge=0, description="people seen in an image that shows nobody, on average")
    game_level: Literal[1, 2, 3] = Field(2, description="GAME(L): errors summed over 4^L regions of an image")
    game: float = Field(0.1, ge=0, description="GAME(L) worse, beyond noise, by more than this share")
    questions: int = Field(
        50, ge=1, description="answers got from the same held-out images after which they are no longer fresh"
    )
    recent: str | None = Field(
        None,
        description="pictures without labels, as `dotfield count` takes them: a folder, a pattern, an s3:// address",
    )
    recent_images: int = Field(32, ge=1, description="of these, so many of the last by name")
    disagreement: float = Field(
        0.3, ge=0, description="the differences from the current counts of recent pictures, as a share of these"
    )


class Sanity(Options):
    """Critical, without labels. All but `images` are shares of the people counted, beside one person for each image;
    a candidate that is steadier than the counter in use passes too."""

    images: int = Field(4, ge=1, description="held-out images that are looked at; made ones where there are none")
    negative: float = Field(0.05, ge=0, description="people below zero in cells")
    tiles: float = Field(0.2, ge=0, description="the sum of the four quarters of an image, counted apart")
    flip: float = Field(0.1, ge=0, description="the mirrored image")
    resize: float = Field(0.25, ge=0, description="the image 10 % smaller, and 10 % larger")
    frames: float = Field(0.05, ge=0, description="the same image with a grey level of noise")


class Costs(Options):
    """What counting costs, measured in turns with the counter in use, on one thread of a processor."""

    latency: float = Field(1.1, gt=0, description="times the time of the counter in use")
    memory: float = Field(1.2, gt=0, description="times the memory for weights and maps of the counter in use")
    repeats: int = Field(3, ge=1, description="how often each image is counted")


class Leaks(Options):
    """Critical: held-out images, or copies of them, among the images from which the candidate learned or was chosen."""

    required: bool = Field(
        True, description="whether the answer is INCONCLUSIVE where the training images are not here"
    )
    data: Path | None = Field(None, description="the prepared training data; none: those of the candidate's study")


class Policy(Options):
    """All of the gate's options."""

    held_out: HeldOut | None = Field(None, description="without it, every answer is INCONCLUSIVE")
    accuracy: Accuracy = Accuracy()
    supporting: Supporting = Supporting()
    sanity: Sanity = Sanity()
    costs: Costs = Costs()
    leaks: Leaks = Leaks()
