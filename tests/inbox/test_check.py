"""The gate before training: what it lets pass, and what it stops."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from components.inbox.check import Checked, check_accepted, keep_version
from components.inbox.ingest import Ingested
from components.workspace.atomic import write_lines
from tests.inbox.conftest import Yard, label, picture

Arrived = Callable[[int], Yard]


def check(yard: Yard, ingested: Ingested | None = None) -> Checked:
    return check_accepted(yard.settings, yard.raw, yard.paths, ingested or Ingested())


def values(checked: Checked) -> dict[str, float | None]:
    return {each.id: each.value for each in checked.checks}


@pytest.fixture
def versioned(arrived: Arrived) -> Yard:
    """Twelve pictures of two people each are a version."""
    yard = arrived(12)
    yard.ingest()
    write_lines(yard.paths.new_version, check(yard).images)
    keep_version(yard.paths)
    return yard


def test_the_first_version_has_nothing_to_be_compared_with(arrived: Arrived) -> None:
    yard = arrived(3)
    checked = check(yard, yard.ingest())
    assert not checked.failed
    assert checked.new == 3
    assert [(image["camera"], image["people"], image["pixels"]) for image in checked.images] == [
        ("cam0", 2, 64 * 48),
        ("cam0", 2, 64 * 48),
        ("cam1", 2, 64 * 48),
    ]
    assert json.loads(yard.paths.report.read_text())["splits"]["all"]["dots"] == 6


def test_what_a_killed_night_refused_counts_until_a_decision(versioned: Yard) -> None:
    for number in range(30):
        versioned.put(f"odd-{number}.png", b"no picture")
        versioned.put(f"odd-{number}.json", label(1, number))
    versioned.arrive("cam0/good", 100, 2)
    for _ in range(2):  # the second time nothing is new
        assert values(check(versioned, versioned.ingest()))["refused"] == pytest.approx(30 / 31)
    keep_version(versioned.paths)
    assert values(check(versioned, versioned.ingest()))["refused"] is None


@pytest.mark.parametrize(("people", "stopped"), [(2, []), (9, ["drift-people"])])
def test_drift_of_counts_stops_a_night_beyond_the_tolerance(people: int, stopped: list[str], versioned: Yard) -> None:
    for seed in range(100, 112):
        versioned.arrive(f"cam0/new-{seed}", seed, people)
    checked = check(versioned, versioned.ingest())
    assert [each.id for each in checked.failed] == stopped
    assert values(checked)["drift-people"] == (1.0 if stopped else 0.0), "all below all others is a distance of 1"


def test_fewer_than_ten_pictures_say_nothing_of_drift(versioned: Yard) -> None:
    for seed in range(100, 109):
        versioned.arrive(f"cam0/new-{seed}", seed, 30)
    assert values(check(versioned, versioned.ingest()))["drift-people"] is None


def test_other_sizes_and_cameras_are_said_and_stop_only_if_told_so(versioned: Yard) -> None:
    for seed in range(100, 110):
        versioned.put(f"cam7/{seed}.png", picture(seed, (128, 96)))
        versioned.put(f"cam7/{seed}.json", label(2, seed).replace(b"64", b"128").replace(b"48", b"96"))
    ingested = versioned.ingest()
    checked = check(versioned, ingested)
    assert not checked.failed
    assert (values(checked)["drift-pixels"], values(checked)["new-cameras"]) == (1.0, 1)
    versioned.configure(tolerance={"sizes": 0.5, "new_cameras": 0})
    assert [each.id for each in check(versioned, ingested).failed] == ["drift-pixels", "new-cameras"]


@pytest.mark.parametrize(
    ("good", "bad", "stopped"), [(4, 5, []), (9, 3, []), (9, 4, ["refused"])], ids=["too few to say", "a few", "many"]
)
def test_a_few_odd_pictures_do_not_stop_a_night_but_many_do(
    good: int, bad: int, stopped: list[str], arrived: Arrived
) -> None:
    yard = arrived(good)
    for number in range(bad):
        yard.put(f"odd-{number}.png", b"GIF89a")
        yard.put(f"odd-{number}.json", label(1))
    assert [each.id for each in check(yard, yard.ingest()).failed] == stopped


def test_images_that_cannot_be_used_stop_a_night(versioned: Yard) -> None:
    """One that was put there by hand, and has no label: one of thirteen is more than 5 %."""
    (versioned.raw.root / "by-hand.png").write_bytes(picture(77))
    checked = check(versioned)
    assert [each.id for each in checked.failed] == ["lost"]
    assert values(checked)["lost"] == pytest.approx(1 / 13)
    assert "by-hand.png" in checked.failed[0].words
