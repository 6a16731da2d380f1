"""How a density map follows what it does to counting: the gradient of a later loss through one step of the counter.

With weights t the counter would step to t' = t - P dL_in/dt, where L_in compares f(X) with M, and P holds what its
optimiser multiplies a gradient with (for SGD the learning rate eta). L_out is a loss of counts at t', on other images
and without M. So t' alone carries M: dL_out/dM = -(d2L_in/dM dt) P g, with g = dL_out/dt at t'. But t enters L_in
by f(X) alone, d2L_in/dM dt = (d2L_in/dM df) J with J = df/dt at t, and so

    dL_out/dM = -d/dM <dL_in/df, v>,  v = J P g held fixed;

for L_in = ||f - M||^2, where dL_in/df = 2 (f - M), it is 2 eta J g. No step is differentiated. P counts as fixed, and
momentum and weight decay, which move t' by the same whatever M is, are left out.

v is the derivative of f(X) along P g: a difference of two forward passes. Forward-mode automatic differentiation
without it is exact, but takes 1.26 steps of MCNN where this takes 0.73 (`benchmarks/map_step.py` times all of it);
in float32 ReLUs that switch between the two passes turn v by about 1 %, and in float64 by nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from components.crowd import Batch
from components.density_maps.learned._kernels import dot_map
from components.losses.block_counts import block_counts
from components.training.joint import JointModel, flip

SIDES = (2, 4, 8)  # cells: blocks of the outer loss


def look_ahead(
    model: JointModel,
    inner: tuple[Batch | None, int],
    outer: tuple[Batch | None, int],
    rates: list[Tensor],
    sum_: Callable[[list[Tensor]], None],
) -> None:
    """Add a worker's share of dL_out to the gradients of the map's weights. Those of the counter's weights are there,
    L_in's on the whole batch; `rates` is P.

    Both batches are a worker's share, if it has one, and how many images there are in all; `sum_` adds up over the
    workers, in place."""
    slopes = [weight.grad for weight in model.counter.parameters() if weight.grad is not None]
    gradients = [torch.zeros_like(slope) for slope in slopes]
    if outer[0] is not None:
        gradients = outer_gradient(model, outer[0].to(model.device), outer[1], _times(rates, slopes))
    sum_(gradients)
    if inner[0] is not None:
        (pull(model, inner[0], _times(rates, gradients)).sum() / inner[1]).backward()


def outer_gradient(model: JointModel, batch: Batch, images: int, step: list[Tensor]) -> list[Tensor]:
    """g: L_out of other images, a mean over `images`, in the counter's weights after these went back by `step`."""
    weights = model.counter.named_parameters()
    ahead = {
        name: (weight - each).detach().requires_grad_() for (name, weight), each in zip(weights, step, strict=True)
    }
    predicted = functional_call(model.counter, ahead, (batch.images / 255,))
    loss = block_counts(predicted, model.scale * counted(batch, model.stride), SIDES).sum() / images
    return list(torch.autograd.grad(loss, list(ahead.values())))


def counted(batch: Batch, stride: int) -> Tensor:
    """The dots of a batch's crops, as the counter sees them: (B, 1, h, w) people per cell."""
    seen = zip(batch.dots, batch.sizes, batch.windows, strict=True)
    return flip(torch.stack([dot_map(*each, side=stride)[None] for each in seen]), batch.flipped)


def pull(model: JointModel, batch: Batch, direction: list[Tensor]) -> Tensor:
    """What has dL_out/dM of each image as its gradient in M, and so dL_out of the map's weights in these; (B,).

    `direction` is P g, in the order of the counter's weights."""
    predicted, along = derivative(model.counter, batch.images / 255, direction)
    predicted.requires_grad_()
    maps = model.density_map(batch, batch.windows)
    loss = model.compare(predicted, maps, batch).sum()
    slope = torch.autograd.grad(loss, predicted, create_graph=True)[0]
    return -(slope * along).sum(dim=(1, 2, 3))


@torch.no_grad()
def derivative(network: nn.Module, inputs: Tensor, direction: list[Tensor]) -> tuple[Tensor, Tensor]:
    """f(X), and its derivative as the weights move along `direction`, by central differences.

    The weights move, each way, by (the precision of their type)^(2/3) of their own length."""
    weights = list(network.parameters())
    own, length = _norm(weights), _norm(direction)
    step = torch.finfo(own.dtype).eps ** (2 / 3) * own / length.clamp(min=torch.finfo(own.dtype).tiny)
    there, back = (functional_call(network, _moved(network, direction, way), (inputs,)) for way in (step, -step))
    return (there + back) / 2, (there - back) / (2 * step)


def _moved(network: nn.Module, direction: list[Tensor], step: Tensor) -> dict[str, Tensor]:
    named = zip(network.named_parameters(), direction, strict=True)
    return {name: weight + step * each for (name, weight), each in named}


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([each.norm() for each in tensors]).norm()


def _times(rates: list[Tensor], slopes: list[Tensor]) -> list[Tensor]:
    return [rate * slope for rate, slope in zip(rates, slopes, strict=True)]
