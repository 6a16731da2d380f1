"""How a density map follows what it does to counting: the gradient of a later loss through one step of the counter.

With weights t the counter would step to t' = t - eta dL_in/dt, where L_in compares f(X) with M. L_out is a loss of
counts at t', on other images and without M. So t' alone carries M, and t enters L_in through f(X) alone: with
g = dL_out/dt at t', and J = df/dt at t,

    dL_out/dM = -eta (d2L_in/dM dt) g = -eta (d2L_in/dM df) J g = -eta d/dM <dL_in/df, v>,  v = J g held fixed;

for L_in = ||f - M||^2, where dL_in/df = 2 (f - M), it is 2 eta J g. No step is differentiated. The step is not that of
the counter's optimiser: as long as one of Adam's, but along the gradient, it would overshoot, and Adam's own divides by
next to nothing where a weight has had no gradient yet. Eta is such that L_in would fall by a tenth if it were straight,
whatever its units; it counts as fixed.

v is the derivative of f(X) along g: a difference of two forward passes. Forward-mode automatic differentiation, which
a counter's own functions would have to offer, does the work of three and costs MCNN
more than a whole step. In float32 ReLUs that switch between the two passes turn v a little; in float64 they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from components.crowd import Batch
from components.losses.shared import dots
from components.losses.shared.block_counts import block_counts
from components.training.joint import JointModel

SIDES = (2, 4, 8)  # cells: blocks of the outer loss
FALL = 0.1  # share of L_in that the step would take off


def look_ahead(
    model: JointModel,
    inner: tuple[Batch | None, int],
    outer: tuple[Batch | None, int],
    loss: Tensor,
    sum_: Callable[[list[Tensor]], None],
) -> None:
    """Add a worker's share of dL_out to the gradients of the map's weights. Those of the counter's weights are there,
    L_in's on the whole batch; `loss` is L_in summed over the worker's images.

    Both batches are a worker's share, if it has one, and how many images there are in all; `sum_` adds up over the
    workers, in place."""
    slopes = [weight.grad for weight in model.counter.parameters() if weight.grad is not None]
    total, ahead = loss.clone(), [torch.zeros_like(slope) for slope in slopes]
    sum_([total])
    rate = step_length(total.to(model.device) / inner[1], slopes)
    if outer[0] is not None:
        ahead = outer_gradient(model, outer[0].to(model.device), outer[1], [rate * slope for slope in slopes])
    sum_(ahead)
    if inner[0] is not None:
        (rate * pull(model, inner[0], ahead) / inner[1]).backward()


def step_length(loss: Tensor, slopes: list[Tensor]) -> Tensor:
    """Eta, of L_in and its gradient."""
    square = _norm(slopes).square()
    return FALL * loss / square.clamp(min=torch.finfo(square.dtype).tiny)


def outer_gradient(model: JointModel, batch: Batch, images: int, step: list[Tensor]) -> list[Tensor]:
    """g: L_out of other images, a mean over `images`, in the counter's weights after these went back by `step`."""
    weights = model.counter.named_parameters()
    ahead = {
        name: (weight - each).detach().requires_grad_() for (name, weight), each in zip(weights, step, strict=True)
    }
    predicted = model.asked(functional_call(model.counter, ahead, (batch.images / 255,)), batch)
    loss = block_counts(predicted, model.scale * counted(batch, model.stride), SIDES).sum() / images
    return list(torch.autograd.grad(loss, list(ahead.values())))


def counted(batch: Batch, stride: int) -> Tensor:
    """The dots of a batch's crops, as the counter sees them: (B, 1, h, w) people per cell."""
    return torch.stack([dots.counted(batch, index, stride)[None] for index in range(len(batch.dots))])


def pull(model: JointModel, batch: Batch, direction: list[Tensor]) -> Tensor:
    """-<dL_in/df, v>, L_in summed over the images, which is differentiable in M and so in the map's weights.

    `direction` is g, in the order of the counter's weights."""
    predicted, along = derivative(model.counter, batch.images / 255, direction)
    predicted.requires_grad_()
    maps = model.target(batch)
    loss = model.compare(predicted, maps, batch).sum()
    slope = torch.autograd.grad(loss, predicted, create_graph=True)[0]
    return -(slope * along).sum()


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
