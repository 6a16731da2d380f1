"""People in zones of a picture, and people per square metre of ground.

A zone is a polygon in pixels of the upright picture. Cells of the density map that a zone cuts count by the share of
their area inside it, so that zones which divide a picture divide its count. Polygons are handled by Shapely."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.geometry
from shapely.geometry.base import BaseGeometry

from components.errors import UserError

Point = tuple[float, float]


@dataclass(frozen=True)
class Zone:
    """A named polygon (or several). `size`: the (width, height) of the picture in which it was drawn, if said."""

    name: str
    area: BaseGeometry
    size: tuple[int, int] | None = None


class Ground:
    """A rectangle on the ground, seen in perspective: its four corners in the picture, in order around it, and its
    sides in metres, the first from the first corner to the second."""

    def __init__(self, corners: Sequence[Point], sides: tuple[float, float]) -> None:
        """Raises UserError: the corners are not those of a rectangle that is seen from above the ground."""
        self.quadrilateral = shapely.Polygon(corners)
        outline = self.quadrilateral
        if len(corners) != 4 or not outline.is_valid or outline.area == 0 or outline.convex_hull.area > outline.area:
            raise UserError(f"the corners {list(corners)} must go around a quadrilateral that bends inwards nowhere")
        self._homography = _homography(corners, [(0, 0), (sides[0], 0), sides, (0, sides[1])])

    def square_metres(self, area: BaseGeometry, name: str) -> float:
        """The area on the ground of a zone called `name`. Raises UserError: it reaches the horizon."""
        x, y = shapely.get_coordinates(area).T
        depth = self._homography[2] @ [x, y, np.ones_like(x)]
        sign = np.sign(self._homography[2] @ [*self.quadrilateral.centroid.coords[0], 1])
        if (depth * sign <= 0).any():
            raise UserError(f"zone {name} reaches the horizon of the ground: draw it on the ground alone")
        seen_from_above: BaseGeometry = shapely.transform(area, self._project)
        return float(seen_from_above.area)

    def _project(self, points: np.ndarray) -> np.ndarray:
        x, y, depth = self._homography @ np.vstack([points.T, np.ones(len(points))])
        return np.stack([x / depth, y / depth], axis=1)


def parse_ground(corners: str, size: str) -> Ground:
    """The ground of "X,Y X,Y X,Y X,Y" in pixels and "AxB" in metres. Raises UserError: they are written otherwise."""
    try:
        points = [(float(x), float(y)) for x, y in (point.split(",") for point in corners.split())]
        first, second = (float(side) for side in size.lower().split("x"))
    except ValueError:
        raise UserError(f'--ground {corners!r} --ground-size {size!r}: write "X,Y X,Y X,Y X,Y" and "AxB"') from None
    if not (0 < first < math.inf and 0 < second < math.inf and np.isfinite(points).all()):
        raise UserError(f"--ground {corners!r} --ground-size {size!r}: corners are numbers, and sides metres above 0")
    return Ground(points, (first, second))


def _homography(source: Sequence[Point], target: Sequence[Point]) -> np.ndarray:
    """The 3 x 3 matrix that takes four points to four others (Hartley & Zisserman, "Multiple View Geometry", 4.1)."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(rows, values), 1.0).reshape(3, 3)


@lru_cache(maxsize=256)  # the frames of a camera have one size, and each of them the same zones
def zone_shares(
    area: BaseGeometry, size: tuple[int, int], grid: tuple[int, int], cells: tuple[float, float], name: str
) -> np.ndarray:
    """The share of each cell's part of the picture that lies in an area: `grid` (rows, columns) float64.

    `size` is the picture's (width, height), `cells` a cell's (width, height), both in pixels of the picture. Raises
    UserError: the area, called `name`, lies outside of the picture."""
    rows, columns = np.arange(grid[0])[:, None] * cells[1], np.arange(grid[1]) * cells[0]
    boxes = shapely.box(columns, rows, np.minimum(columns + cells[0], size[0]), np.minimum(rows + cells[1], size[1]))
    inside: np.ndarray = shapely.area(shapely.intersection(boxes, area)) / shapely.area(boxes)
    if not inside.any():
        raise UserError(f"zone {name} lies outside of the picture of {size[0]} x {size[1]} px")
    return inside


def fit(zone: Zone, size: tuple[int, int]) -> BaseGeometry:
    """A zone's polygon in pixels of a picture of `size` (width, height).

    Raises UserError: it was drawn in a picture of another shape."""
    if zone.size is None or zone.size == size:
        return zone.area
    (drawn_width, drawn_height), (width, height) = zone.size, size
    if abs(drawn_width * height - drawn_height * width) > max(drawn_width, drawn_height, width, height):
        raise UserError(
            f"zone {zone.name} was drawn in a picture of {drawn_width} x {drawn_height} px, which has another shape "
            f"than this one of {width} x {height} px"
        )
    scaled: BaseGeometry = shapely.transform(zone.area, lambda points: points * np.divide(size, zone.size))
    return scaled


def read_zones(file: Path) -> list[Zone]:
    """The zones of a file: GeoJSON in pixels, a LabelMe file, or polygons as supervision has them: a list of lists of
    [x, y], or a mapping from names to such lists.

    Raises UserError, which names the file: it cannot be read, or holds something else than polygons."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{file}: is not JSON ({error})") from None
    try:
        zones = list(_zones(content))
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise UserError(f"{file}: holds no polygons as GeoJSON, LabelMe or supervision write them ({error})") from None
    if not zones:
        raise UserError(f"{file}: holds no polygon")
    for zone in zones:
        if not zone.area.is_valid or zone.area.area == 0:
            raise UserError(f"{file}: zone {zone.name}: {shapely.is_valid_reason(zone.area)}, area {zone.area.area:g}")
    if len({zone.name for zone in zones}) < len(zones):
        raise UserError(f"{file}: two zones have one name: {', '.join(zone.name for zone in zones)}")
    return zones


def _zones(content: Any) -> list[Zone]:
    if isinstance(content, list):
        content = {f"zone {number}": polygon for number, polygon in enumerate(content, 1)}
    if "shapes" in content:
        size = (int(content["imageWidth"]), int(content["imageHeight"])) if content.get("imageWidth") else None
        shapes = [
            shape for shape in content["shapes"] if shape.get("shape_type", "polygon") in ("polygon", "rectangle")
        ]
        return _named([(shape.get("label"), _shape(shape)) for shape in shapes], size)
    if content.get("type") == "FeatureCollection":
        return _named([(_name(each), shapely.geometry.shape(each["geometry"])) for each in content["features"]])
    if content.get("type") == "Feature":
        return _named([(_name(content), shapely.geometry.shape(content["geometry"]))])
    if "coordinates" in content:
        return _named([(None, shapely.geometry.shape(content))])
    return _named([(name, shapely.Polygon(polygon)) for name, polygon in content.items()])


def _named(areas: Sequence[tuple[Any, BaseGeometry]], size: tuple[int, int] | None = None) -> list[Zone]:
    """Zones in order; one without a name is called by its number, and so is a second one of the same name."""
    zones: list[Zone] = []
    for number, (name, area) in enumerate(areas, 1):
        if area.geom_type not in ("Polygon", "MultiPolygon"):
            raise ValueError(f"a {area.geom_type} among them")
        called = str(name) if name else f"zone {number}"
        taken = any(zone.name == called for zone in zones)
        zones.append(Zone(f"{called} {number}" if taken else called, area, size))
    return zones


def _name(feature: Mapping[str, Any]) -> Any:
    return (feature.get("properties") or {}).get("name") or feature.get("id")


def _shape(shape: Mapping[str, Any]) -> BaseGeometry:
    points = shape["points"]
    return shapely.box(*points[0], *points[1]) if shape.get("shape_type") == "rectangle" else shapely.Polygon(points)
