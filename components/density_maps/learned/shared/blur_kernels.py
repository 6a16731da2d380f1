"""Learned initial kernels, table 4 (b): equation (4) with k filters that start as Gaussians and then follow the loss.

All have the size of three sigmas of the widest, so that each can grow as far as any other. The dot map of a window
includes a margin as wide as their reach, so the maps of a crop equal those of the whole image, cut. Unlike the fixed
kernels they are centred on whole pixels, and lose what the border cuts off, which the refinement loss corrects."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from components.crowd import Window, dot_map
from components.density_maps.gaussian import draw

SIGMAS = 3  # of the widest kernel, from the centre to the filter's edge


class LearnedKernels(nn.Module):
    """k filters, stored times `gain`, which brings them to the order of the attention's inputs. An Adam step has the
    same size for every weight: without the gain it would shift the sum of a wide kernel's weights by more than 1."""

    def __init__(self, sigmas: tuple[float, ...], gain: float) -> None:
        super().__init__()
        self.reach, self.gain = math.ceil(SIGMAS * max(sigmas)), gain
        side = 2 * self.reach + 1
        centre = torch.full((1, 2), side / 2, dtype=torch.float64)
        self.weights = nn.Parameter(gain * torch.stack([draw(centre, sigma, (side, side), side=1) for sigma in sigmas]))

    def filters(self) -> Tensor:
        """The filters (k, s, s) as they are applied to the dot map: before training each one sums to 1."""
        return self.weights.detach() / self.gain

    def forward(self, dots: Tensor, size: tuple[int, int], window: Window) -> Tensor:
        """The k blurred maps of one window, (k, H, W) people per pixel, from all dots (N, 2) of an image of `size`."""
        height, width = (length + 2 * self.reach for length in (window.height, window.width))
        wider = Window(window.top - self.reach, window.left - self.reach, height, width)
        return convolve(dot_map(dots, size, wider), self.weights) / self.gain


def convolve(plane: Tensor, kernels: Tensor) -> Tensor:
    """Convolve a plane (H + s - 1, W + s - 1) with kernels (k, s, s), only where they lie inside the plane: (k, H, W).

    It uses the Fourier transform, whose cost does not grow with the kernels' size."""
    size, overlap = plane.shape, kernels.shape[-1] - 1
    product = torch.fft.rfft2(plane) * torch.fft.rfft2(kernels, s=size)
    maps: Tensor = torch.fft.irfft2(product, s=size)
    return maps[:, overlap:, overlap:]
