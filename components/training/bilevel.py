"""How a density map follows its effect on counting: the gradient of a later loss through one step of the counter.

With weights t the counter would step to t' = t - eta dL_in/dt, where L_in compares f(X) with M. L_out is a loss of
counts at t', on other images and without M. So M affects L_out only through t', and t enters L_in through f(X) alone:
with g = dL_out/dt at t', and J = df/dt at t,

    dL_out/dM = -eta (d2L_in/dM dt) g = -eta (d2L_in/dM df) J g = -eta d/dM <dL_in/df, v>,  v = J g held fixed;

for L_in = ||f - M||^2, where dL_in/df = 2 (f - M), it is 2 eta J g. By default the step is not that of the counter's
optimiser: one as long as Adam's, but along the gradient, would overshoot. Eta is such that L_in would fall by a tenth
if it were linear, whatever its units; it is treated as a constant.

The step may be the one that Adam is about to take, t' = t - lr m / (sqrt(v) + eps), where the moments m and v, with
their bias corrected, hold the gradient of this step. With v held fixed each weight moves by P = lr (1 - beta_1) /
((1 - beta_1^k) (sqrt(v) + eps)) for a unit of its gradient in the k-th step, so that g becomes P g, and eta 1. A weight
that never had a gradient, whose v is 0, has P = 0: Adam does not move it.

v is the derivative of f(X) along g: the difference between f(X) and a second forward pass. Forward-mode automatic
differentiation needs support in a counter's own functions, does the work of three passes, and costs MCNN more than a
whole step. In float32, ReLUs that switch between the two passes change v by some per cent; in float64 they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from components.crowd import Batch, Crop
from components.losses.shared.block_counts import block_counts
from components.losses.shared.dots import dot_counts
from components.networks import trainable
from components.training.joint import JointModel, Losses

SIDES = (2, 4, 8)  # cells: blocks of the outer loss
RELATIVE_DECREASE = 0.1  # of L_in in the step, if L_in were linear


def bilevel_update(
    model: JointModel,
    optimiser: torch.optim.Optimizer,
    inner: tuple[Batch | None, int],
    outer: tuple[Batch | None, int],
    losses: Losses | None,
    all_reduce_: Callable[[list[Tensor]], None],
) -> None:
    """Add a worker's share of dL_out to the gradients of the density map's weights.

    The gradients of the counter's weights must be those of L_in on the whole batch, which `optimiser` is about to
    follow. Each batch is the worker's share, None if it has none, and the number of images in all; `losses` are the
    model's of the inner one. `all_reduce_` replaces tensors by their sums over the workers."""
    gradients = [weight.grad for weight in trainable(model.counter).values() if weight.grad is not None]
    total_loss = torch.zeros(()) if losses is None else losses.counting.detach().sum().cpu()
    direction = [torch.zeros_like(gradient) for gradient in gradients]
    all_reduce_([total_loss])
    if model.density_map.bilevel_inner == "adam":
        eta, (step, slopes) = torch.ones(()), adam_step(optimiser)
    else:
        eta = step_length(total_loss.to(model.device) / inner[1], gradients)
        step, slopes = [eta * gradient for gradient in gradients], None
    if outer[0] is not None:
        direction = outer_gradient(model, outer[0].to(model.device), outer[1], step)
    all_reduce_(direction)
    if slopes is not None:
        direction = [slope * each for slope, each in zip(slopes, direction, strict=True)]
    if inner[0] is not None and losses is not None:
        (eta * hypergradient_surrogate(model, inner[0], losses.outputs, direction) / inner[1]).backward()


def step_length(loss: Tensor, gradients: list[Tensor]) -> Tensor:
    """Eta, from L_in and its gradients."""
    square = _norm(gradients).square()
    return RELATIVE_DECREASE * loss / square.clamp(min=torch.finfo(square.dtype).tiny)


@torch.no_grad()
def adam_step(optimiser: torch.optim.Optimizer) -> tuple[list[Tensor], list[Tensor]]:
    """How far Adam is about to move each weight against its gradient, and how far for a unit of the gradient (P)."""
    [group] = optimiser.param_groups
    beta_1, beta_2 = group["betas"]
    steps, slopes = [], []
    for weight in group["params"]:
        state, gradient = optimiser.state.get(weight), weight.grad + group["weight_decay"] * weight
        count, mean, square = 1.0, (1 - beta_1) * gradient, (1 - beta_2) * gradient.square()
        if state:
            count = float(state["step"]) + 1
            mean, square = mean + beta_1 * state["exp_avg"], square + beta_2 * state["exp_avg_sq"]
        rate = group["lr"] / (1 - beta_1**count) / ((square / (1 - beta_2**count)).sqrt() + group["eps"])
        steps.append(rate * mean)
        slopes.append(((1 - beta_1) * rate).where(square > 0, 0))
    return steps, slopes


def outer_gradient(model: JointModel, batch: Batch, images: int, step: list[Tensor]) -> list[Tensor]:
    """g: the gradient of L_out, a mean over `images`, in the counter's weights after they moved by -`step`."""
    named = zip(trainable(model.counter).items(), step, strict=True)
    weights = {name: (weight - each).detach().requires_grad_() for (name, weight), each in named}
    outputs = functional_call(model.counter, weights, (batch.images / 255,))
    counts = model.scale * batch_dot_counts(batch.crops, model.stride)
    loss = block_counts(model.people(outputs, batch.crops), counts, SIDES).sum() / images
    return list(torch.autograd.grad(loss, list(weights.values())))


def batch_dot_counts(crops: Sequence[Crop], stride: int) -> Tensor:
    """The dots of crops as the counter sees them: (B, 1, h, w) people per cell."""
    return torch.stack([dot_counts(crop, stride)[None] for crop in crops])


def hypergradient_surrogate(model: JointModel, batch: Batch, outputs: Tensor, direction: list[Tensor]) -> Tensor:
    """-<dL_in/df, v>, with L_in summed over the images: its gradient in M, times eta, is dL_out/dM.

    `outputs` are the counter's of the batch. `direction` is g, or P g for Adam's step, in the order of the counter's
    weights."""
    jvp = jvp_finite_difference(model.counter, batch.images / 255, outputs, direction)
    outputs = outputs.detach().requires_grad_()
    loss = model.counting_loss(outputs, model.target(batch.crops), batch.crops).sum()
    gradient = torch.autograd.grad(loss, outputs, create_graph=True)[0]
    return -(gradient * jvp).sum()


@torch.no_grad()
def jvp_finite_difference(network: nn.Module, inputs: Tensor, outputs: Tensor, direction: list[Tensor]) -> Tensor:
    """The derivative of a network's `outputs`, f(X), as its weights move along `direction`, by a forward difference.

    The weights move so far that the norm of one tensor, biases apart, changes by the square root of its type's
    precision, and those of the others by less. A step in proportion to the norm of all weights together would be too
    long where new layers, whose weights are small, follow pretrained ones."""
    weights = trainable(network)
    pairs = [(weight, each) for weight, each in zip(weights.values(), direction, strict=True) if weight.dim() > 1]
    lengths = torch.stack([weight.norm() / each.norm() for weight, each in pairs])
    lengths = lengths[(lengths > 0) & lengths.isfinite()]  # without weights of 0, and those that stay
    step = torch.finfo(outputs.dtype).eps ** 0.5 * (lengths.min() if len(lengths) else 1)
    moved = {name: weight + step * each for (name, weight), each in zip(weights.items(), direction, strict=True)}
    perturbed = functional_call(network, moved, (inputs,))
    product: Tensor = (perturbed - outputs) / step
    return product


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.stack([each.norm() for each in tensors]).norm()
    return norm
