"""Zones: a partition's parts sum to the whole, areas are exact, and every way to write polygons gives the same ones."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import shapely
import shapely.ops

from components.counting.zones import Ground, Zone, fit, parse_ground, read_zones, zone_shares
from components.errors import UserError

TRIANGLE = [[10.0, 10.0], [90.0, 10.0], [10.0, 70.0]]


def test_the_parts_of_a_partition_sum_to_the_whole() -> None:
    """A picture of 130 x 100 px in cells of 8.125 x 8 px, cut by slanted lines into four parts."""
    size, cells, grid = (130, 100), (130 / 16, 8.0), (13, 16)
    density = np.random.default_rng(0).random(grid)
    whole = shapely.box(0, 0, *size)
    halves = shapely.ops.split(whole, shapely.LineString([(31, -1), (77, 101)])).geoms
    parts = [
        part for half in halves for part in shapely.ops.split(half, shapely.LineString([(-1, 20), (131, 61)])).geoms
    ]
    assert len(parts) == 4
    counts = [(zone_shares(part, size, grid, cells, "part") * density).sum() for part in parts]
    assert sum(counts) == pytest.approx(density.sum(), rel=1e-12)
    assert all(count > 0 for count in counts)


def test_a_cell_counts_by_the_share_of_its_part_of_the_picture() -> None:
    """The last cells are cut by the picture's edge: only what is of the picture counts as theirs."""
    shares = zone_shares(shapely.box(0, 0, 4, 20), (20, 20), (3, 3), (8.0, 8.0), "left")
    np.testing.assert_allclose(shares, [[0.5, 0, 0]] * 3)
    shares = zone_shares(shapely.box(16, 0, 18, 20), (20, 20), (3, 3), (8.0, 8.0), "right")
    np.testing.assert_allclose(shares, [[0, 0, 0.5]] * 3)


def test_a_zone_outside_of_the_picture_is_an_error() -> None:
    with pytest.raises(UserError, match="zone far lies outside of the picture of 20 x 16 px"):
        zone_shares(shapely.box(30, 30, 40, 40), (20, 16), (2, 3), (8.0, 8.0), "far")


@pytest.mark.parametrize(
    "content",
    [
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "properties": {"name": "stage"},
                    "geometry": {"type": "Polygon", "coordinates": [TRIANGLE + TRIANGLE[:1]]},
                }
            ],
        },
        {
            "type": "Feature",
            "id": "stage",
            "properties": None,
            "geometry": {"type": "Polygon", "coordinates": [TRIANGLE + TRIANGLE[:1]]},
        },
        {
            "shapes": [
                {"label": "stage", "shape_type": "polygon", "points": TRIANGLE},
                {"label": "dot", "shape_type": "point", "points": [[1, 1]]},
            ],
            "imageWidth": 100,
            "imageHeight": 80,
        },
        {"stage": TRIANGLE},
    ],
    ids=["collection", "feature", "labelme", "mapping"],
)
def test_every_way_to_write_a_polygon(tmp_path: Path, content: dict) -> None:
    (tmp_path / "zones.json").write_text(json.dumps(content))
    (zone,) = read_zones(tmp_path / "zones.json")
    assert zone.name == "stage"
    assert zone.area.area == pytest.approx(80 * 60 / 2)


def test_polygons_without_names_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "zones.json").write_text(json.dumps([TRIANGLE, [[0, 0], [4, 0], [4, 4], [0, 4]]]))
    assert [(zone.name, zone.area.area) for zone in read_zones(tmp_path / "zones.json")] == [
        ("zone 1", 2400),
        ("zone 2", 16),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no polygon"),
        ('{"type": "Point", "coordinates": [1, 2]}', "a Point among them"),
        ("[[[0, 0], [1, 1]]]", "holds no polygons as GeoJSON, LabelMe or supervision"),
        ("[[[0, 0], [9, 9], [9, 0], [0, 9]]]", "Self-intersection"),
        ('"text"', "holds no polygons"),
        ("7", "holds no polygons"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "zones.json").write_text(content)
    with pytest.raises(UserError, match=rf"zones\.json: .*{why}"):
        read_zones(tmp_path / "zones.json")


def test_a_zone_follows_the_picture_that_it_was_drawn_in() -> None:
    zone = Zone("stage", shapely.Polygon(TRIANGLE), (100, 80))
    assert fit(zone, (200, 160)).area == pytest.approx(4 * zone.area.area)
    assert fit(zone, (100, 80)).equals(zone.area)
    with pytest.raises(UserError, match="zone stage was drawn in a picture of 100 x 80 px, which has another shape"):
        fit(zone, (80, 100))


def test_square_metres_of_ground_seen_in_perspective() -> None:
    """A pinhole camera 5 m above the ground looks down by 30 degrees at a rectangle of 4 x 6 m."""
    down = math.radians(30)

    def seen(x: float, z: float) -> tuple[float, float]:
        depth = z * math.cos(down) + 5 * math.sin(down)
        return 500 + 800 * x / depth, 400 + 800 * (5 * math.cos(down) - z * math.sin(down)) / depth

    ground = Ground([seen(-2, 14), seen(2, 14), seen(2, 8), seen(-2, 8)], (4.0, 6.0))
    assert ground.square_metres(ground.quadrilateral, "a") == pytest.approx(24)
    near = shapely.Polygon([seen(0, 9), seen(1, 9), seen(1, 11), seen(0, 11)])
    far = shapely.Polygon([seen(-8, 30), seen(-5, 30), seen(-5, 25), seen(-8, 25)])
    assert ground.square_metres(near, "a") == pytest.approx(2)
    assert ground.square_metres(far, "a") == pytest.approx(15)
    with pytest.raises(UserError, match="zone sky reaches the horizon"):
        ground.square_metres(shapely.box(0, -500, 100, 500), "sky")


@pytest.mark.parametrize(
    ("corners", "size", "why"),
    [
        ("1,2 3,4 5,6", "2x3", "must go around a quadrilateral"),
        ("0,0 10,0 0,10 10,10", "2x3", "must go around a quadrilateral"),
        ("0,0 10,0 2,2 0,10", "2x3", "bends inwards nowhere"),
        ("a,0 10,0 10,10 0,10", "2x3", 'write "X,Y X,Y X,Y X,Y"'),
        ("0,0 10,0 10,10 0,10", "2", 'and "AxB"'),
        ("0,0 10,0 10,10 0,10", "0x3", "metres above 0"),
        ("0,0 10,0 10,10 0,10", "nanx3", "metres above 0"),
        ("0,0 inf,0 10,10 0,10", "2x3", "corners are numbers"),
    ],
)
def test_a_ground_that_is_none_is_refused(corners: str, size: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        parse_ground(corners, size)


def test_a_ground_that_is_one() -> None:
    assert parse_ground("0,0 10,0 10,10 0,10", "2x3").square_metres(shapely.box(0, 0, 5, 10), "a") == pytest.approx(3)
