"""Many nodes, which fail, simulated from what a training costs on this machine.

    python -m benchmarks.scale                        # tables, and the figures of docs/scale.md
    python -m benchmarks.scale measure                # costs of this machine; real trainings beside simulated ones

Without Ray, the first takes a minute on one core; docs/scale.md says what is assumed. The second starts a Ray
cluster of two nodes and trains three times; exit code 1 if a simulated training is more than 10 % away from the real
one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.scale import plots, scenarios
from benchmarks.scale.costs import COMMITTED, Costs, Validation, load, save
from benchmarks.scale.scenarios import Assumptions, Best, Night

TOLERANCE = 0.10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", choices=("simulate", "measure"), default="simulate")
    parser.add_argument("--costs", type=Path, default=COMMITTED, metavar="FILE", help="costs to write or to read")
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="where figures are written (%(default)s)")
    options = parser.parse_args()
    if options.action == "measure":
        from benchmarks.scale.measure import measure  # starts Ray and needs the weights of a counter

        for costs, validations in measure():
            save(costs, validations, options.costs)
        show_costs(costs)
        sys.exit(show_validations(validations))
    costs, validations = load(options.costs)
    show_costs(costs)
    show_validations(validations)
    show_scenarios(costs, Assumptions(), options.folder)


def show_costs(costs: Costs) -> None:
    for name, value in vars(costs).items():
        print(f"{name:16} {value:14,.4g}" if isinstance(value, float) else f"{name:16} {value:14,d}")


def show_validations(validations: list[Validation]) -> int:
    """1 if one of them is further away than the tolerance, else 0."""
    for each in validations:
        fault = "no fault" if each.killed_after is None else f"a worker killed after {each.killed_after:.1f} s"
        print(
            f"{each.epochs} epochs of {each.steps} steps, {fault}: real {each.real:.1f} s, simulated "
            f"{each.simulated:.1f} s, {each.error:+.1%}"
        )
    return int(any(abs(each.error) > TOLERANCE for each in validations))


def show_scenarios(costs: Costs, assumed: Assumptions, folder: Path) -> None:
    found = scenarios.goodputs(costs, assumed)
    show_goodputs(found)
    for seconds in sorted((0.0, costs.restart, 30.0, assumed.slow_restart, 120.0)):
        budget = scenarios.goodput_budget(assumed, seconds)
        print(f"restarts in {seconds:5.1f} s: {scenarios.AIM:.1%} wants checkpoints of at most {budget:.2f} s")
    nights = scenarios.nights(costs, assumed)
    show_nights(nights, costs, assumed)
    print(f"counting: {scenarios.counting_cores(costs, assumed):.0f} cores like these, day and night")
    plots.draw_intervals(found, folder / "scale-intervals.png")
    plots.draw_budget(costs, assumed, folder / "scale-budget.png")
    plots.draw_nights(nights, assumed, folder / "scale-nights.png")


def show_goodputs(found: dict[str, tuple[Best, Best | None]]) -> None:
    print("\n| 100 nodes | goodput, 3 h of the cluster | interval | Young-Daly | goodput, 3 h of a node | interval |")
    print("|---|---|---|---|---|---|")
    for name, (cluster, node) in found.items():
        cells = [f"{cluster.goodput:.2%}", f"{cluster.interval:.0f} s", f"{cluster.young_daly:.0f} s"]
        cells += ["never all there", ""] if node is None else [f"{node.goodput:.2%}", f"{node.interval:.0f} s"]
        print(f"| {name} | {' | '.join(cells)} |")
    print()


def show_nights(nights: list[Night], costs: Costs, assumed: Assumptions) -> None:
    print("\n| frames a second | of the peak | days of frames | nodes: one counter | one a camera | an epoch |")
    print("|---|---|---|---|---|---|")
    for each in nights:
        share = each.throughput * costs.frame_operations / assumed.peak
        cells = [f"{each.throughput:g}", f"{share:.1%}", each.days, each.shared, each.cameras, f"{each.epoch:,.0f} s"]
        print(f"| {' | '.join(map(str, cells))} |")
    print()


if __name__ == "__main__":
    main()
