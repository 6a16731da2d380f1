"""A mixture of Gaussians at every dot, weighted by a small network: attention per dot, before anything is drawn.

Not from a paper. M = sum_i sum_j w_ij N(p_i, sigma_j), with w_i the softmax over k bandwidths that a network computes
from the density of dots around dot i. Every Gaussian is integrated over cells and has mass 1 inside the image, or its
region of interest, and the weights of a dot sum to 1: each dot counts 1 by construction, without a second loss.

With `features: dots_and_counter` the network also sees what the counter sees at the dot: the features of which its last
layer makes the map, normalised at each dot, and without a gradient into the counter. They are those of the crop, as the
counter saw it in the same step. A dot beyond the crop, whose Gaussians reach into it, has those of the nearest cell. So
the map of a crop is then not exactly that of the whole image, cut: near its border the counter saw less.

Trained jointly the mixture moves to the widest Gaussian, because the smoothest map is the easiest to predict. By
default it is trained by its map's effect on the counter's counts (`components/training/bilevel.py`). In small
experiments no map was measurably better than a fixed sigma of 4 to 8 px.

Controls, in which nothing is learned, have the same `shares` for every dot: equal ones, or those that a mixture learned
in the mean, which stand in the record of its run (`mean_shares`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.nn import functional

from components.config.options import Optimiser, Options
from components.crowd import SHARE, Counter, Crop, DensityMap, cells_of
from components.density_maps.gaussian import draw, weights_within
from components.errors import UserError

SCALES = (16, 32, 64, 128)  # pixels: bandwidths of the densities around a dot; each is twice the one before
ROWS = 1024  # dots whose distances from all others are in memory at once: images may have 20,000
HIDDEN = 16  # features of the network's hidden layer
ROUNDING = 0.01  # by how much given shares may miss a sum of 1
INITIAL_SIGMA = 4.0  # pixels: before training, the bandwidth with the largest weight


class Params(Options):
    """`training`: whether the weights follow the counting loss itself ("joint"), or the error of the counts that the
    counter makes after a step of learning from the map ("bilevel"). The map learns in each `update_every`-th epoch;
    bilevel training then updates it in the first step, and in each `every`-th after that. `inner`: the step of the
    counter through which it looks: one along the gradient ("sgd"), or the counter's own ("adam").

    `features`: what the network sees of each dot. `shares`: "learned" by the network, or the same for every dot:
    "equal", or one for each bandwidth. Given shares learn nothing, so options of training have no effect on them."""

    sigmas: tuple[PositiveFloat, ...] = Field((1, 2, 4, 8, 16, 32), min_length=2, description="pixels")
    shares: Literal["learned", "equal"] | tuple[Annotated[float, Field(ge=0)], ...] = Field(
        "learned", description="of the bandwidths at a dot: by the network, or the same for every dot"
    )
    features: Literal["dots", "dots_and_counter"] = Field("dots", description="what the network sees of each dot")
    training: Literal["bilevel", "joint"] = Field("bilevel", description="what the network learns from")
    inner: Literal["sgd", "adam"] = Field("sgd", description="the counter's step through which bilevel training looks")
    every: int = Field(5, ge=1, description="steps between two updates of bilevel training")
    update_every: int = Field(1, ge=1, description="the map learns in every n-th epoch")
    warm_up: int = Field(0, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0, description="learning rate of these steps")
    optimiser: Optimiser = Optimiser(lr=1e-3)

    @model_validator(mode="after")
    def _shares_of_all_bandwidths(self) -> Params:
        if self.shares != "learned" and self.features != "dots":
            raise UserError("features: given shares look at nothing; leave features out, or choose shares: learned")
        if isinstance(self.shares, str):
            return self
        if len(self.shares) != len(self.sigmas):
            raise UserError(f"shares: there are {len(self.shares)} for {len(self.sigmas)} sigmas; write one for each")
        if abs(sum(self.shares) - 1) > ROUNDING:
            raise UserError(f"shares: {list(self.shares)} sum to {sum(self.shares):g}; they must sum to 1")
        return self


def build(params: Params, stride: int, scale: float) -> Mixture:
    return Mixture(params, stride, scale)


class Mixture(DensityMap):
    """Makes maps of dots; `shares` is the network that weights the bandwidths of each dot, None if they are given."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        self.shares: nn.Sequential | None = None
        if params.shares != "learned":
            return
        self.bilevel_every = params.every if params.training == "bilevel" else None
        self.bilevel_inner, self.reads_features = params.inner, params.features == "dots_and_counter"
        last = nn.Linear(HIDDEN, len(params.sigmas))
        nn.init.normal_(last.weight, std=0.01)
        last.bias = nn.Parameter(-2 * (torch.tensor(params.sigmas) / INITIAL_SIGMA).log2().abs())
        self.shares = nn.Sequential(nn.Linear(len(SCALES), HIDDEN), nn.ReLU(), last, nn.Softmax(dim=1))

    def attach(self, counter: Counter) -> None:
        """Make the network as wide as the counter's features, if it reads them. Raises UserError where it has none, and
        for `inner: adam` where its optimiser is another."""
        kind = counter.params.optimiser.kind
        if self.bilevel_every and self.bilevel_inner == "adam" and kind != "adam":
            raise UserError(f"density_map.inner: adam, but the counter's optimiser is {kind}; write inner: sgd")
        if not self.reads_features:
            return
        layer = counter.last_layer()
        if layer is None:
            raise UserError("density_map.features: this counter shows no features; write features: dots")
        assert self.shares is not None
        self.shares[0] = nn.Linear(len(SCALES) + layer.in_channels, HIDDEN)

    def forward(self, crops: Sequence[Crop]) -> Tensor:
        """The maps of crops, (B, 1, h, w) people per cell times `scale`.

        Where the network sees dots alone, each equals the whole image's map, cut."""
        return self.scale * torch.stack([self._draw(crop)[None] for crop in crops])

    def _draw(self, crop: Crop) -> Tensor:
        """The map of one crop, (h, w) people per cell: each dot counts as one Gaussian for each bandwidth."""
        weights = self.weights(crop).flatten()
        sigmas = torch.tensor(self.params.sigmas, dtype=torch.float64, device=crop.dots.device).repeat(len(crop.dots))
        dots = crop.dots.repeat_interleave(len(self.params.sigmas), dim=0)
        if crop.region is not None:
            weights = weights * weights_within(dots, sigmas, crop.size, crop.region, self.stride)
        return draw(dots, sigmas, crop.size, self.stride, crop.window, weights)

    def weights(self, crop: Crop) -> Tensor:
        """The weights (N, k) of the bandwidths of each dot; they sum to 1 over k."""
        if self.shares is None:
            count = len(self.params.sigmas)
            shares = [1 / count] * count if self.params.shares == "equal" else self.params.shares
            given = torch.tensor(shares, dtype=torch.float64, device=crop.dots.device)
            return (given / given.sum()).expand(len(crop.dots), -1)
        seen = log_densities(crop.dots)
        if self.reads_features:
            seen = torch.cat([seen, features_at_dots(crop, self.stride)], dim=1)
        learned: Tensor = self.shares(seen)
        return learned

    def measure(self, crops: Sequence[Crop]) -> dict[str, float]:
        """The mean weight of each bandwidth over all dots of the images; nothing without dots."""
        weights = torch.cat([self.weights(crop) for crop in crops])
        if not len(weights):
            return {}
        means = weights.mean(dim=0).tolist()
        return {f"{SHARE}{sigma:g}": share for sigma, share in zip(self.params.sigmas, means, strict=True)}


def features_at_dots(crop: Crop, stride: int) -> Tensor:
    """The counter's features of a crop in the cell of each dot, or the nearest cell to it: (N, F) float32.

    At each dot they are brought to mean 0 and variance 1, because their scale changes as the counter learns."""
    assert crop.features is not None, "this mixture reads the counter's features, and the crop is without"
    last = crop.dots.new_tensor([crop.window.width // stride - 1, crop.window.height // stride - 1]).long()
    cells = cells_of(crop.dots, crop.size, stride)
    cells = cells - cells.new_tensor([crop.window.left // stride, crop.window.top // stride])
    columns, rows = torch.minimum(cells.clamp(min=0), last).unbind(dim=1)
    values = crop.features[:, rows, columns].T.float()
    return functional.layer_norm(values, values.shape[1:])


def log_densities(dots: Tensor) -> Tensor:
    """The logarithm of the number of dots around each dot (N, 2), itself included: (N, 4) float32.

    Dots are weighted by a Gaussian of their distance with each bandwidth of `SCALES`. The Gaussian of half the
    bandwidth is the fourth power, so each scale follows from the one before."""
    positions, counts = dots.float(), list[Tensor]()
    for rows in positions.split(ROWS):
        nearness = (torch.cdist(rows, positions).square() / (-2 * SCALES[-1] ** 2)).exp()
        sums = [nearness.sum(dim=1)]
        for _ in SCALES[1:]:
            nearness = nearness.square().square()
            sums.append(nearness.sum(dim=1))
        counts.append(torch.stack(sums, dim=1))
    return torch.cat(counts).log()
