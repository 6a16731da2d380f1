"""A counter and the density maps that it learns from, as one model with one loss.

Equations (3) and (7) share a shape, `counting_loss(f(X), M) + refinement_loss(M)`; with maps that are merely drawn the
second term is zero. One backward pass gives both networks the gradients of algorithms 1 and 2.

Where an image has a region of interest, both losses see maps times the share of each cell that lies in it: outside,
nothing is asked for and nothing punished. What counts must sum to the people inside, whose kernels reach out of the
region, or counters would learn to miss them. So whatever draws a kernel a dot gives back what the region's border cuts
off, as at the image's own, and maps that a loss or hard normalisation holds to a count are held to it inside."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from components.crowd import CELL, Batch, Counter, CountingLoss, DensityMap, block_sum
from components.density_maps.crops import annotation, cut, regions, whole


class Losses(NamedTuple):
    counting: Tensor  # (B,)
    refinement: Tensor  # (B,)


class JointModel(nn.Module):
    """`scale`: the counter predicts people per cell times this, so that cells are of order 1."""

    def __init__(self, counter: Counter, density_map: DensityMap, loss: CountingLoss, scale: float) -> None:
        super().__init__()
        self.counter, self.density_map, self.loss, self.scale = counter, density_map, loss, scale
        self.stride = counter.stride
        self._frozen: dict[int, Tensor] = {}  # maps of whole images, kept while the density map is not updated

    @property
    def learns_maps(self) -> bool:
        return self.loss.drawn and any(weight.requires_grad for weight in self.density_map.parameters())

    def forward(self, batch: Batch, *, learn_maps: bool) -> Losses:
        """Both losses of each image; without `learn_maps` what a network makes is made once for each image."""
        predicted = self.counter(batch.images / 255)
        if not self.loss.drawn:
            return Losses(self.compare(predicted, None, batch), predicted.new_zeros(len(predicted)))
        frozen = not learn_maps and any(True for _ in self.density_map.parameters())
        maps = within(self._frozen_maps(batch), batch, self.stride) if frozen else self.target(batch)
        maps = maps.detach() if self.density_map.looks_ahead else maps
        refinement = self.density_map.refinement_loss(maps, batch, batch.windows)
        return Losses(self.compare(predicted, maps, batch), refinement)

    def target(self, batch: Batch) -> Tensor:
        """What the counter learns from, (B, 1, h, w) times the target scale: nothing outside a region of interest."""
        return within(self.density_map(batch, batch.windows), batch, self.stride)

    def compare(self, predicted: Tensor, maps: Tensor | None, batch: Batch) -> Tensor:
        """The counting loss of each image (B,): what the counter saw mirrored is compared with the mirrored map, and
        what it says outside a region of interest is neither asked for nor punished."""
        return self.loss(self.asked(predicted, batch), None if maps is None else flip(maps, batch.flipped), batch)

    def asked(self, predicted: Tensor, batch: Batch) -> Tensor:
        """What counts of predictions (B, 1, h, w), which are mirrored where the images are."""
        if not batch.regions:
            return predicted
        return flip(within(flip(predicted, batch.flipped), batch, self.stride), batch.flipped)

    def annotation(self, batch: Batch) -> Tensor:
        """The annotation maps of a batch's crops, (B, 1, h, w) people per cell times the target scale."""
        return self.scale * annotation(batch, range(len(batch.windows)), batch.windows, self.stride)

    def thaw(self) -> None:
        """Forget the maps of the density map as it was: it is about to change."""
        self._frozen.clear()

    def predict(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, 1, ceil(H/stride), ceil(W/stride)) people per cell."""
        with torch.inference_mode():
            return self.counter(images.to(self.device) / 255) / self.scale

    def target_map(
        self,
        dots: np.ndarray,
        size: tuple[int, int],
        annotation: np.ndarray,
        image: np.ndarray | None = None,
        region: np.ndarray | None = None,
    ) -> np.ndarray:
        """What the counter learns from for one whole image, (h, w) people per cell.

        dots (N, 2) in pixels, size (H, W), annotation (ceil(H/4), ceil(W/4)) people per 4 px cell. The image, (H, W, 3)
        uint8, is looked at by image attention and by kernels, which do not work without it; the region, (h, w), is
        the share of each of the counter's cells that counts."""
        window = whole(size, self.stride)
        batch = Batch(
            images=torch.zeros(1, 3, 0, 0),
            flipped=torch.tensor([False]),
            numbers=[0],
            windows=[window],
            sizes=[size],
            dots=[torch.from_numpy(dots)],
            annotations=[torch.from_numpy(block_sum(np.asarray(annotation), self.stride // CELL))],
            photographs=[] if image is None else [image],
            regions=[] if region is None else [torch.from_numpy(region)],
        ).to(self.device)
        with torch.inference_mode():
            return (self.target(batch)[0, 0] / self.scale).cpu().numpy()

    def _frozen_maps(self, batch: Batch) -> Tensor:
        return torch.stack([self._frozen_map(batch.only(index)) for index in range(len(batch.windows))])

    def _frozen_map(self, one: Batch) -> Tensor:
        inside = whole(one.sizes[0], self.stride)
        if one.numbers[0] not in self._frozen:
            with torch.no_grad():
                self._frozen[one.numbers[0]] = self.density_map(one, [inside])[0]
        return cut(self._frozen[one.numbers[0]], one.windows[0], inside, self.stride)

    @property
    def device(self) -> torch.device:
        return next(self.counter.parameters()).device


def within(maps: Tensor, batch: Batch, stride: int) -> Tensor:
    """What counts of maps (B, 1, h, w) of a batch's windows, not mirrored: all, where there are no regions."""
    shares = regions(batch, range(len(maps)), batch.windows, stride)
    return maps if shares is None else maps * shares


def flip(maps: Tensor, flipped: Tensor) -> Tensor:
    """(B, 1, h, w), mirrored left to right where `flipped` (B,) says so."""
    return torch.where(flipped[:, None, None, None], maps.flip(-1), maps)
