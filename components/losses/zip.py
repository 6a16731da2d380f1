"""ZIP: Ma, Sanchez & Guha, "ZIP: Scalable Crowd Counting via Zero-Inflated Poisson Modeling", 2025 (arXiv 2506.19955).

The image is cut into square blocks. A block is empty by its nature with the probability pi (sky, bodies below heads);
otherwise its count is Poisson with a rate lambda, which the counter gives as a distribution over bins of counts:

    P(0) = pi + (1 - pi) exp(-lambda),   P(y) = (1 - pi) exp(-lambda) lambda^y / y!,   lambda = sum_k p_k centre_k.

The block's expected count is (1 - pi) lambda. The counter's channels are two logits, of empty and of not empty, and one
logit for each bin. The loss is the sum over an image's blocks of four terms:

- the negative logarithm of P(y);
- the cross-entropy of the bins, on blocks that are not empty;
- absolute errors of the expected counts, of blocks and of means over 2 x 2 and 4 x 4 blocks, weighted 1/4, 1/2 and 1;
- the absolute error of the image's count, which is not summed over blocks.

That is as in the authors' code, but for three things. The likelihood is exact: they add 1e-8 inside its logarithms and
leave out y!. Their networks give one output a block; here the outputs of a block's cells are averaged, and its
expected count is spread evenly over its cells, so that a counter of any stride counts. And a block of which only a part
lies in the crop or in the region of interest, a share s of its cells, has the rate s lambda: the count of a part of a
Poisson block. The bin of such a block's whole count is unknown, so it has no cross-entropy. Blocks start at the
top-left corner of what the counter sees.

The authors give the bins of each data set in a file, and as centre of a bin the mean count of the training blocks in
it. The defaults here: on ShanghaiTech, blocks of 16 px with 7 people or more hold 8.3 (B) and 8.5 (A) on average at
full resolution, and 9.7 (B) and 11.4 (A) where images are scaled down to 512 px. No block counts more than the last
centre."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from components.config.options import Options
from components.crowd import Crop, block_sums, pad_to
from components.errors import UserError
from components.losses.shared.dots import dot_counts

SCALES = ((1, 0.25), (2, 0.5), (4, 1.0))  # of the absolute errors: side in blocks, and weight


class Params(Options):
    """The last of the `bins` has no largest count."""

    block: int = Field(16, ge=1, description="side of a block in pixels, a multiple of the counter's stride")
    bins: tuple[int, ...] = Field(
        (1, 2, 3, 4, 5, 6, 7), min_length=1, description="smallest count of each bin of non-empty blocks"
    )
    centres: tuple[float, ...] = Field((1, 2, 3, 4, 5, 6, 9), description="mean count of the blocks in each bin")
    likelihood: float = Field(1.0, ge=0, description="weight of the zero-inflated Poisson likelihood")
    classification: float = Field(1.0, ge=0, description="weight of the bins' cross-entropy")
    blocks: float = Field(1.0, ge=0, description="weight of the absolute errors of blocks")
    count: float = Field(1.0, ge=0, description="weight of the absolute error of the image's count")

    @model_validator(mode="after")
    def _check_bins(self) -> Params:
        if self.bins[0] != 1 or any(low >= high for low, high in zip(self.bins, self.bins[1:], strict=False)):
            raise UserError(f"bins: {list(self.bins)} must begin with 1 and ascend")
        if len(self.centres) != len(self.bins):
            raise UserError(f"centres: {list(self.centres)} must be as many as bins, {len(self.bins)}")
        largest = [*(high - 1 for high in self.bins[1:]), float("inf")]
        for low, high, centre in zip(self.bins, largest, self.centres, strict=True):
            if not low <= centre <= high:
                raise UserError(f"centres: {centre} must lie in its bin, from {low} to {high}")
        return self


def build(params: Params, stride: int, scale: float) -> ZeroInflatedPoisson:
    """Raises UserError for a block that is not made of whole cells."""
    if params.block % stride:
        raise UserError(f"loss.block: {params.block} must be a multiple of the counter's stride, {stride}")
    return ZeroInflatedPoisson(params, stride, scale)


class ZeroInflatedPoisson:
    """Compares with dots alone."""

    uses_density_map = False
    title = "zero-inflated Poisson (ZIP)"

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        self.params, self.stride, self.scale = params, stride, scale
        self.side = params.block // stride
        self.channels = 2 + len(params.bins)

    def people(self, outputs: Tensor) -> Tensor:
        """Outputs (B, channels, h, w) -> (B, 1, h, w): each block's expected count, spread over its cells."""
        _, log_occupied, bins = self._of_blocks(outputs)
        expected = (log_occupied + self._log_rate(bins)).exp()
        spread = expected.repeat_interleave(self.side, dim=2).repeat_interleave(self.side, dim=3)
        return self.scale / self.side**2 * spread[..., : outputs.shape[2], : outputs.shape[3]]

    def __call__(
        self, outputs: Tensor, maps: Tensor | None, crops: Sequence[Crop], regions: Tensor | None = None
    ) -> Tensor:
        log_empty, log_occupied, bins = self._of_blocks(outputs)
        counts = block_sums(torch.stack([dot_counts(crop, self.stride)[None] for crop in crops]), self.side).to(outputs)
        cells = outputs.new_ones(outputs[:, :1].shape) if regions is None else regions
        shares = block_sums(cells, self.side) / self.side**2
        log_rate = self._log_rate(bins) + shares.clamp(min=torch.finfo(shares.dtype).tiny).log()
        surprise = -zero_inflated_poisson(counts, log_empty, log_occupied, log_rate)
        errors = (log_occupied + log_rate).exp() - counts
        options = self.params
        return (
            options.likelihood * surprise.sum(dim=(1, 2, 3))
            + options.classification * self._cross_entropy(bins, counts, shares)
            + options.blocks * multi_scale_error(errors)
            + options.count * errors.sum(dim=(1, 2, 3)).abs()
        )

    def _of_blocks(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each block: log pi and log(1 - pi), (B, 1, h, w), and the bins' log-probabilities, (B, bins, h, w)."""
        means = functional.avg_pool2d(outputs, self.side, ceil_mode=True, count_include_pad=False)
        log_empty, log_occupied = means[:, :2].log_softmax(dim=1).split(1, dim=1)
        return log_empty, log_occupied, means[:, 2:].log_softmax(dim=1)

    def _log_rate(self, bins: Tensor) -> Tensor:
        """log lambda, (B, 1, h, w)."""
        centres = bins.new_tensor(self.params.centres).log()
        return (bins + centres[:, None, None]).logsumexp(dim=1, keepdim=True)

    def _cross_entropy(self, bins: Tensor, counts: Tensor, shares: Tensor) -> Tensor:
        """Of the blocks that lie wholly inside and are not empty, (B,)."""
        edges = torch.tensor(self.params.bins, device=counts.device)
        labels = torch.bucketize(counts, edges, right=True)[:, 0] - 1
        losses = functional.nll_loss(bins, labels.clamp(min=0), reduction="none")
        return (losses * (labels >= 0) * (shares[:, 0] == 1)).sum(dim=(1, 2))


def zero_inflated_poisson(counts: Tensor, log_empty: Tensor, log_occupied: Tensor, log_rate: Tensor) -> Tensor:
    """log P(y) of counts y, from log pi, log(1 - pi) and log lambda, all of one shape."""
    rate = log_rate.exp()
    zero = torch.logaddexp(log_empty, log_occupied - rate)
    positive = log_occupied + counts * log_rate - rate - torch.lgamma(counts + 1)
    return torch.where(counts == 0, zero, positive)


def multi_scale_error(errors: Tensor) -> Tensor:
    """Errors of block counts (B, 1, h, w) -> (B,): absolute values of their means over squares, weighted by `SCALES`.

    Squares start at the top-left corner; beyond the last block there is no error."""
    means = [weight * functional.avg_pool2d(pad_to(errors, side), side).abs() for side, weight in SCALES]
    return torch.stack([each.sum(dim=(1, 2, 3)) for each in means]).sum(dim=0)
