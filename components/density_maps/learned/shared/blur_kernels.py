"""Learned initial kernels, table 4 (b): equation (4) with k filters that start as Gaussians and then follow the loss.

All have one size, which holds three sigmas of the widest, so that each can grow as far as any other. A dot map is drawn
as far around a window as they reach, so the maps of a crop are those of the whole image, cut. Unlike the fixed kernels
they lie on whole pixels, and are not made up for what the border cuts off: the refinement loss sees what is missing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from components.crowd import Window, dot_map
from components.density_maps.gaussian import draw

SIGMAS = 3  # of the widest kernel, from the centre to the filter's edge


class LearnedKernels(nn.Module):
    """Holds k filters times `gain`, of the order of what the attention sees: an Adam step, of one size for each weight,
    would shift the sum of a wide kernel's many small weights by more than 1."""

    def __init__(self, sigmas: tuple[float, ...], gain: float) -> None:
        super().__init__()
        self.reach, self.gain = math.ceil(SIGMAS * max(sigmas)), gain
        side = 2 * self.reach + 1
        centre = torch.full((1, 2), side / 2, dtype=torch.float64)
        self.weights = nn.Parameter(gain * torch.stack([draw(centre, sigma, (side, side), side=1) for sigma in sigmas]))

    def filters(self) -> Tensor:
        """(k, s, s) as they are applied to the dot map: before training each one sums to 1."""
        return self.weights.detach() / self.gain

    def forward(self, dots: Tensor, size: tuple[int, int], window: Window) -> Tensor:
        """Dots (N, 2) of an image of `size` -> its k blurred maps at one window, (k, H, W) people per pixel."""
        height, width = (length + 2 * self.reach for length in (window.height, window.width))
        wider = Window(window.top - self.reach, window.left - self.reach, height, width)
        return convolve(dot_map(dots, size, wider), self.weights) / self.gain


def convolve(plane: Tensor, kernels: Tensor) -> Tensor:
    """(H + s - 1, W + s - 1) and (k, s, s) -> (k, H, W): where kernels lie wholly inside the plane.

    By the Fourier transform, whose cost does not grow with the filters."""
    size, beyond = plane.shape, kernels.shape[-1] - 1
    product = torch.fft.rfft2(plane) * torch.fft.rfft2(kernels, s=size)
    return torch.fft.irfft2(product, s=size)[:, beyond:, beyond:]
