"""The schema of `params/retrain.yaml`: which pictures a study is retrained on, and what a night may do by itself.

Credentials are never written here: those of S3 and of notifications come from the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from components.config.options import Name, Options, Seed
from components.errors import UserError

Format = Literal["JPEG", "PNG", "WEBP", "BMP", "TIFF"]  # Pillow's names
Event = Literal["failed", "crashed", "no-go", "deployed"]


class Limits(Options):
    """What a picture and its label may be; checked before anything is decoded."""

    formats: tuple[Format, ...] = Field(("JPEG", "PNG"), min_length=1, description="of pictures, by their contents")
    picture_bytes: int = Field(32 * 2**20, ge=1, description="size of a picture's file")
    label_bytes: int = Field(4 * 2**20, ge=1, description="size of a label's file")
    pixels: int = Field(50_000_000, ge=1, description="width times height of a picture")
    shortest_side: int = Field(32, ge=1, description="pixels; smaller pictures are refused")
    longest_side: int = Field(16_384, ge=1, description="pixels; larger pictures are refused")


class Tolerance(Options):
    """How far a night's pictures may be from those before them. Drift is the Kolmogorov-Smirnov distance of two
    distributions, 0 (alike) to 1 (apart), where it is beyond chance (p < 0.01); null: it is only said."""

    refused: float = Field(0.25, ge=0, le=1, description="share of the night's pictures that are refused")
    lost: float = Field(0.05, ge=0, le=1, description="share of the whole raw set's images that cannot be used")
    counts: float | None = Field(0.6, ge=0, le=1, description="drift of people per picture")
    sizes: float | None = Field(None, ge=0, le=1, description="drift of width times height")
    new_cameras: int | None = Field(None, ge=0, description="cameras that were never seen before")


class Retrain(Options):
    """How the counter of one study is kept up to date."""

    inbox: str = Field(min_length=1, description="a folder or s3://BUCKET/PREFIX; it is only read")
    study: Name = Field(description="the study that is retrained")
    experiment: Name = Field(description="whose counter is the candidate, and whose data set gets the pictures")
    seed: Seed = Field(0, description="of the experiment's seeds, the one whose run is the candidate")
    folder: str = Field(
        "", description="below the data set's root, where pictures go; none: `halves.train`, or the root itself"
    )
    camera: str = Field(
        r"^(?:(.*)/)?[^/]*$",
        description="a regular expression whose first group is the camera in an object's name; as it is: its folder",
    )
    settle: float = Field(300.0, ge=0, description="seconds: what changed later than that may still be uploaded")
    patience: float = Field(24.0, ge=0, description="hours after which a picture that is cut off is refused")
    limits: Limits = Limits()
    tolerance: Tolerance = Tolerance()
    registry: str | None = Field(None, description="address of the deployed counters; none: as `dotfield deployed`")
    gate: Path = Field(Path("params/gate.yaml"), description="the policy of the gate")
    push: bool = Field(False, description="whether data and results are pushed to DVC's default remote")
    branch: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9/_-]*$", description="Git branch to which lock files are committed"
    )
    notify: tuple[Event, ...] = Field(
        ("failed", "crashed", "no-go", "deployed"),
        description="what is told to the Apprise addresses in DOTFIELD_NOTIFY",
    )

    @field_validator("camera")
    @classmethod
    def _check_camera(cls, camera: str) -> str:
        try:
            groups = re.compile(camera).groups
        except re.error as error:
            raise UserError(f"{camera!r} is not a regular expression: {error}") from None
        if groups < 1:
            raise UserError(f"{camera!r} has no group: put the camera's part in brackets, such as '(cam[0-9]+)'")
        return camera

    @model_validator(mode="after")
    def _check_sides(self) -> Retrain:
        if self.limits.shortest_side > self.limits.longest_side:
            raise UserError("limits.shortest_side: is larger than longest_side")
        return self
