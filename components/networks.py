"""Initialisation of every network, the precision in which convolutions are computed, and parts that networks share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

Initialisation = Literal["default", "he", "normal"]
Precision = Literal["auto", "fp32", "bf16"]


def in_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether convolutions are computed in bfloat16: with "auto", if the processor multiplies in it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def autocast(bf16: bool, device: torch.device) -> torch.autocast:
    """A context in which convolutions of float32 are computed in bfloat16, if `bf16`. Each call of a layer rounds the
    weights again, so that the gradients of many calls add up in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16, cache_enabled=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes with one thread meanwhile: with several, sums are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def initialise(module: nn.Module, how: Initialisation) -> None:
    """Initialise every convolution: "he" (He et al. 2015, fan in) and "normal" (N(0, 0.01)) set the biases to zero.

    "default" keeps PyTorch's, whose random biases hide the dots in a generator."""
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d) or how == "default":
            continue
        if how == "he":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name; those of fixed layers require no gradient."""
    return {name: each for name, each in module.named_parameters() if each.requires_grad}


def relu_convolutions(features: tuple[int, ...]) -> list[nn.Module]:
    """C(features[1], 3)-C(features[2], 3)-... on features[0] channels: 3 x 3, same size, with a ReLU after each."""
    parts: list[nn.Module] = []
    for narrow, wide in pairwise(features):
        parts += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU(inplace=True)]
    return parts


def positive_part(values: Tensor) -> Tensor:
    """max(x, 0), with a gradient that lets descent move a value below zero up, but never further down.

    So training comes back from predictions that are negative everywhere, where a ReLU has no gradient."""
    part: Tensor = _PositivePart.apply(values)  # type: ignore[no-untyped-call]
    return part


class _PositivePart(torch.autograd.Function):
    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values.clamp(min=0)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        context.save_for_backward(*inputs)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        [values] = context.saved_tensors
        return torch.where((values > 0) | (gradient < 0), gradient, 0)
