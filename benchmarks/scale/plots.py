"""The figures of docs/scale.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scale.costs import Costs
from benchmarks.scale.scenarios import AIM, DAYS, HOUR, Assumptions, Best, Night
from benchmarks.scale.simulate import expected_goodput, young_daly
from components.publish import style


def draw_intervals(found: dict[str, tuple[Best, Best | None]], target: Path) -> None:
    """Goodput against the interval between checkpoints, for both readings of the time between failures."""
    with style.drawing(target, 1, 2, 4.2, 3.4) as (figure, [row]):
        titles = ("3 h between failures of the cluster", "3 h between failures of each node")
        for axes, title, place in zip(row, titles, (0, 1), strict=True):
            for number, (name, pair) in enumerate(list(found.items())[:4]):
                best = pair[place]
                if best is None:
                    continue
                intervals, goodput = zip(*best.tried, strict=True)
                label = name if place == 0 else None
                axes.plot(intervals, 100 * np.array(goodput), "o-", color=style.colour(number), ms=3.5, label=label)
                axes.axvline(best.young_daly, color=style.colour(number), linewidth=0.8, linestyle=":")
            axes.axhline(100 * AIM, color=style.LIGHT.axes, linewidth=1, linestyle="--")
            axes.set(title=title, xlabel="seconds of steps between checkpoints", xscale="log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter("")
        row[0].set_ylabel("goodput of 100 nodes (%)")
        row[0].annotate(f"{AIM:.1%}", (0, 100 * AIM), (3, -10), ("axes fraction", "data"), "offset points")
        figure.legend(loc="outside lower center", ncols=2)


def draw_budget(costs: Costs, assumed: Assumptions, target: Path) -> None:
    """Goodput at the best interval against the cost of a restart, for several costs of a checkpoint, by the formula."""
    with style.drawing(target, 1, 1, 6, 3.4) as (_, [[axes]]):
        restarts = np.linspace(0, 120, 121)
        own = costs.checkpoint + costs.checkpoint_bytes / assumed.storage
        for place, checkpoint in enumerate((assumed.copy, 0.2, 1.0, 3.0)):
            interval = young_daly(checkpoint, assumed.mtbf)
            goodput = [100 * expected_goodput(interval, checkpoint, each, assumed.mtbf) for each in restarts]
            axes.plot(
                restarts, goodput, color=style.colour(place), label=f"steps stop for {checkpoint:g} s a checkpoint"
            )
        here = expected_goodput(young_daly(own, assumed.mtbf), own, costs.restart, assumed.mtbf)
        label = f"measured here: {own:.2g} s, restart {costs.restart:.0f} s"
        axes.plot([costs.restart], [100 * here], "D", color=style.LIGHT.text, label=label)
        axes.axhline(100 * AIM, color=style.LIGHT.axes, linewidth=1, linestyle="--", label=f"aim: {AIM:.1%}")
        axes.set(xlabel="seconds from a failure to the next step", ylabel="goodput (%)", xlim=(0, 120))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def draw_nights(found: list[Night], assumed: Assumptions, target: Path) -> None:
    """Nodes against what one GPU is assumed to train on, for one counter and for one of each camera."""
    with style.drawing(target, 1, 1, 6, 3.4) as (_, [[axes]]):
        for place, days in enumerate(DAYS):
            chosen = [each for each in found if each.days == days]
            frames = f"{days} day{'s' if days > 1 else ''} of frames"
            for line, name in (("o-", "shared"), ("s--", "cameras")):
                words = "one counter" if name == "shared" else "one for each camera"
                nodes = [getattr(each, name) for each in chosen]
                axes.plot(
                    [each.throughput for each in chosen], nodes, line, color=style.colour(place), ms=4,
                    label=f"{frames}, {words}",
                )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="frames a second that one GPU trains on (assumed)")
        axes.set_ylabel(f"nodes for a night of {assumed.window / HOUR:.0f} h")
        ticks = sorted({each.throughput for each in found})
        axes.set_xticks(ticks, [f"{each:g}" for each in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
