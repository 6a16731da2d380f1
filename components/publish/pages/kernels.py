"""Figure 6: the kernels that blur the dot map, initial and learned, and the maps made with them."""

from __future__ import annotations

import numpy as np

from components.density_maps.learned.shared.blur_kernels import LearnedKernels
from components.publish.figures import Panel, counted, signed
from components.publish.pages.gallery import Gallery, Shown

ALT = "Kernels before and after training"
CAPTION = (
    "The kernels that blur the dot map. First row: the initial Gaussians. Below: one row per experiment, with the "
    "kernels that its generator learned. Each kernel has its own colour scale, white at zero; its title gives its "
    "sum and its peak, the weight furthest from zero. Right: a map made with these kernels, on a colour scale of its "
    "own; in the first row it is that of an experiment with fixed kernels, if there is one. "
    "Compare figure 6 of Wan & Chan 2019."
)


def panels(gallery: Gallery) -> list[list[Panel]]:
    """One row of the initial kernels, and one per experiment that learned its kernels from these."""
    learned = gallery.generators(kernels="learned")
    if not learned:
        return []
    alike = [each for each in learned if _sigmas(each) == _sigmas(learned[0])]
    fixed = [each for each in gallery.alike([*alike, *gallery.generators(kernels="fixed")]) if each not in alike]
    map_of_fixed = _map(gallery, fixed[0]) if fixed else gallery.photograph(gallery.median)
    first = [*_kernels("initial", _sigmas(learned[0]), initial(learned[0])), map_of_fixed]
    return [first, *([*_kernels(each.title, _sigmas(each), final(each)), _map(gallery, each)] for each in alike)]


def initial(each: Shown) -> np.ndarray:
    """The filters (k, s, s) that training started from."""
    return LearnedKernels(_sigmas(each), gain=1.0).filters().numpy()


def final(each: Shown) -> np.ndarray:
    """The filters (k, s, s) of a trained generator."""
    assert each.generator.kernels is not None
    return each.generator.kernels.filters().cpu().numpy()


def _sigmas(each: Shown) -> tuple[float, ...]:
    sigmas: tuple[float, ...] = each.generator.params.sigmas
    return sigmas


def _kernels(title: str, sigmas: tuple[float, ...], filters: np.ndarray) -> list[Panel]:
    return [
        Panel(f"{title}, from {sigma:g} px\nsum {each.sum():.2f}, peak {peak(each):.2g}", each, signed([each]))
        for sigma, each in zip(sigmas, filters, strict=True)
    ]


def peak(kernel: np.ndarray) -> float:
    """The weight furthest from zero."""
    return float(kernel.flat[np.abs(kernel).argmax()])


def _map(gallery: Gallery, each: Shown) -> Panel:
    return counted(each.title, gallery.target(each, gallery.median))
