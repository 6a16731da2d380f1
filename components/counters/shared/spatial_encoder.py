"""SFCN's spatial encoder: every row receives features from the rows above and below, every column from left and right.

Wang, Gao, Lin, Yuan, "Learning from Synthetic Data for Crowd Counting in the Wild", CVPR 2019, after Pan et al.,
"Spatial As Deep", AAAI 2018: slice i becomes slice i + ReLU(conv(slice i - 1)), scanned forth and back with the same
convolution, as in the authors' code. A scan is sequential, because a ReLU separates the slices, but little else is: a
slice costs one matrix product on a view of its neighbour, and in the backward pass the weights' gradient is computed
for all slices at once. `benchmarks/spatial_encoder.py` measures it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 64
KERNEL = 9  # cells: width of the convolution along a slice
REACH = KERNEL // 2


class SpatialEncoder(nn.Module):
    """(B, 64, H, W) -> (B, 64, H, W): rows down, then up; then columns to the right, then to the left."""

    def __init__(self) -> None:
        super().__init__()
        self.along_rows = nn.Conv2d(CHANNELS, CHANNELS, (1, KERNEL), padding=(0, REACH))
        self.along_columns = nn.Conv2d(CHANNELS, CHANNELS, (KERNEL, 1), padding=(REACH, 0))

    def forward(self, features: Tensor) -> Tensor:
        rows = _scan_both_ways(features.permute(2, 0, 3, 1), self.along_rows)  # (H, B, W, C)
        columns = _scan_both_ways(rows.transpose(0, 2), self.along_columns)  # (W, B, H, C)
        return columns.permute(1, 3, 2, 0)


def _scan_both_ways(slices: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Scan (N, B, L, C) from the first slice to the last, and the result from the last to the first."""
    weight, bias = (parameter.to(slices.dtype) for parameter in convolution.parameters())
    taps = weight.flatten(2).permute(2, 1, 0)
    forth, _ = _Scan.apply(slices, taps, bias)  # type: ignore[no-untyped-call]
    back: Tensor = _Scan.apply(forth.flip(0), taps, bias)[0]  # type: ignore[no-untyped-call]
    return back.flip(0)


class _Scan(torch.autograd.Function):
    """slices (N, B, L, C), taps (K, C in, C out), bias (C): states[i] = slices[i] + ReLU(conv(states[i - 1])).

    Returns the states, and where the ReLU is active."""

    @staticmethod
    def forward(slices: Tensor, taps: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        padded, states = _with_borders(slices)
        message = torch.zeros_like(states)
        for index in range(1, len(slices)):
            torch.clamp(_convolve(padded[index - 1], taps, bias), min=0, out=message[index])
            states[index] += message[index]
        return states.contiguous(), message > 0

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        (_, taps, _), (states, active) = inputs, output
        ctx.mark_non_differentiable(active)
        ctx.save_for_backward(states, active, taps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, active, taps = ctx.saved_tensors
        back = taps.flip(0).transpose(1, 2)  # the convolution's transpose
        total = gradient.clone(memory_format=torch.contiguous_format)
        borders, upstream = _with_borders(torch.zeros_like(total))  # the gradient before the ReLU
        for index in range(len(total) - 1, 0, -1):
            upstream[index] = total[index] * active[index]
            total[index - 1] += _convolve(borders[index], back)
        return total, _gradient_of_taps(_with_borders(states[:-1])[0], upstream[1:]), upstream.sum(dim=(0, 1, 2))


def _with_borders(slices: Tensor) -> tuple[Tensor, Tensor]:
    """A copy of (N, B, L, C) with zeros at both ends of every slice, and the view of it without them."""
    padded = functional.pad(slices, (0, 0, REACH, REACH)).contiguous()
    return padded, padded[:, :, REACH:-REACH]


def _convolve(padded: Tensor, taps: Tensor, bias: Tensor | None = None) -> Tensor:
    """One slice (B, L + K - 1, C) -> (B, L, C), as one matrix product."""
    windows = padded.unfold(1, KERNEL, 1).transpose(2, 3)  # (B, L, K, C), a view
    return functional.linear(windows.flatten(2), taps.flatten(0, 1).T, bias)


def _gradient_of_taps(padded: Tensor, upstream: Tensor) -> Tensor:
    """(K, C in, C out): the inputs of each tap times the gradient of its outputs, summed over all slices."""
    length, gradient = upstream.shape[2], upstream.flatten(0, 2)
    return torch.stack([padded[:, :, tap : tap + length].flatten(0, 2).T @ gradient for tap in range(KERNEL)])
