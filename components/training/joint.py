"""A counter and the density maps that it learns from, as one model with one loss.

Equations (3) and (7) share a shape, `counting_loss(f(X), M) + refinement_loss(M)`; for hand-crafted maps the second
term is zero. One backward pass gives both networks the gradients of algorithms 1 and 2.

Where an image has a region of interest, both losses see maps multiplied by the share of each cell that lies in it, so
predictions outside have no effect. The target inside must sum to the people inside, although their kernels reach out of
the region; otherwise counters would learn to miss people. So every map that draws a kernel for a dot divides it by its
mass inside the region, as at the image's own border, and maps whose count is fixed by a loss or by hard normalisation
have that count inside the region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from components.crowd import CELL, Batch, Counter, CountingLoss, Crop, DensityMap, apply_region_mask, block_sum
from components.density_maps.crops import annotation_maps, cut, full_window, padded, region_masks


class Losses(NamedTuple):
    counting: Tensor  # (B,)
    refinement: Tensor  # (B,)
    outputs: Tensor  # (B, C, h, w): the counter's, of which they are
    crops: Sequence[Crop]  # as the density map read them: with the counter's features, where it needs them


class JointModel(nn.Module):
    """`scale`: the target scale. Maps are people per cell times this, so that cells are of order 1."""

    def __init__(self, counter: Counter, density_map: DensityMap, loss: CountingLoss, scale: float) -> None:
        super().__init__()
        self.counter, self.density_map, self.loss, self.scale = counter, density_map, loss, scale
        self.stride = counter.stride
        self._map_cache: dict[int, Tensor] = {}  # maps of whole images by number, while the density map is not updated

    @property
    def learns_maps(self) -> bool:
        return self.loss.uses_density_map and any(each.requires_grad for each in self.density_map.parameters())

    @property
    def device(self) -> torch.device:
        return next(self.counter.parameters()).device

    def forward(self, batch: Batch, *, learn_maps: bool) -> Losses:
        """Both losses of each image. Without `learn_maps` a network makes the map of each image once, and it is kept
        until `clear_map_cache`, unless augmentation resizes the images, or the map follows the counter's features."""
        outputs, crops = self._outputs(batch)
        if not self.loss.uses_density_map:
            return Losses(self.counting_loss(outputs, None, crops), outputs.new_zeros(len(outputs)), outputs, crops)
        networks = any(True for _ in self.density_map.parameters())
        changing = self.density_map.reads_features or any(crop.resized for crop in crops)
        if networks and not learn_maps and not changing:
            maps = self._cached_maps(crops)
        else:
            with torch.set_grad_enabled(learn_maps and not self.density_map.bilevel_every):
                maps = self.target(crops)
        refinement = self.density_map.refinement_loss(maps, crops)
        return Losses(self.counting_loss(outputs, maps, crops), refinement, outputs, crops)

    def target(self, crops: Sequence[Crop]) -> Tensor:
        """What the counter learns from, not mirrored: (B, 1, h, w) people per cell times `scale`, 0 outside regions."""
        maps: Tensor = self.density_map(self.with_features(crops))
        return apply_region_mask(maps, region_masks(crops, self.stride))

    def with_features(self, crops: Sequence[Crop]) -> Sequence[Crop]:
        """The crops with what the counter sees of them now, where the density map reads that and they are without."""
        if not self.density_map.reads_features:
            return crops
        return [crop if crop.features is not None else self._look_at(crop) for crop in crops]

    def annotation(self, crops: Sequence[Crop]) -> Tensor:
        """The annotation maps of crops, not mirrored: (B, 1, h, w) people per cell times `scale`."""
        return self.scale * annotation_maps(crops, self.stride)

    def counting_loss(self, outputs: Tensor, maps: Tensor | None, crops: Sequence[Crop]) -> Tensor:
        """The counting loss of each image, (B,). Outputs are as the counter saw the crops, maps not mirrored.

        Mirrored outputs are compared with the mirrored map, and people outside a region of interest have no effect."""
        target = None if maps is None else flip(maps, crops)
        return self.loss(outputs, target, crops, self._regions(crops))

    def people(self, outputs: Tensor, crops: Sequence[Crop]) -> Tensor:
        """What outputs (B, C, h, w) on crops, mirrored where the crops are, say of people inside regions of interest:
        (B, 1, h, w) people per cell times `scale`, mirrored likewise."""
        return apply_region_mask(self.loss.people(outputs), self._regions(crops))

    def clear_map_cache(self) -> None:
        """Forget the cached maps, because the density map is about to change."""
        self._map_cache.clear()

    def predict(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, 1, ceil(H/stride), ceil(W/stride)) people per cell, on the model's device."""
        with torch.inference_mode():
            return self.loss.people(self.counter(images.to(self.device) / 255)) / self.scale

    def predict_image(self, image: np.ndarray) -> np.ndarray:
        """One whole image (H, W, 3) uint8 -> (ceil(H/stride), ceil(W/stride)) float32 people per cell."""
        images = torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))[None]
        return np.asarray(self.predict(images)[0, 0].cpu())

    def target_map(
        self,
        dots: np.ndarray,
        size: tuple[int, int],
        annotation: np.ndarray,
        image: np.ndarray | None = None,
        region: np.ndarray | None = None,
    ) -> np.ndarray:
        """What the counter learns from for one whole image, (h, w) people per cell.

        dots (N, 2) in pixels, size (H, W), annotation (ceil(H/4), ceil(W/4)) people per 4 px cell. The image (H, W, 3)
        uint8 is needed by maps that look at it: by image attention, kernels, and the counter's features. The region
        (h, w) is the share of each of the counter's cells that lies in the region of interest."""
        crop = Crop(
            number=0,
            window=full_window(size, self.stride),
            size=size,
            dots=torch.from_numpy(dots),
            annotation=torch.from_numpy(block_sum(np.asarray(annotation), self.stride // CELL)),
            region=None if region is None else torch.from_numpy(region),
            image=image,
        ).to(self.device)
        with torch.inference_mode():
            return np.asarray((self.target([crop])[0, 0] / self.scale).cpu())

    def _regions(self, crops: Sequence[Crop]) -> Tensor | None:
        """The share of each cell that lies in the region of interest, mirrored where the crops are: (B, 1, h, w)."""
        masks = region_masks(crops, self.stride)
        return None if masks is None else flip(masks, crops)

    def _outputs(self, batch: Batch) -> tuple[Tensor, Sequence[Crop]]:
        """The counter's outputs for a batch, and the crops as the density map reads them."""
        if not self.density_map.reads_features:
            return self.counter(batch.images / 255), batch.crops
        outputs, features = outputs_and_features(self.counter, batch.images / 255)
        pairs = zip(batch.crops, flip(features, batch.crops), strict=True)
        return outputs, [replace(crop, features=each) for crop, each in pairs]

    @torch.no_grad()
    def _look_at(self, crop: Crop) -> Crop:
        """A crop with the counter's features of its window, of pixels that are neither mirrored nor augmented."""
        assert crop.image is not None, "this density map needs the counter's features of the image"
        pixels = np.array(padded(crop.image, crop.window).transpose(2, 0, 1), order="C")
        _, features = outputs_and_features(self.counter, torch.from_numpy(pixels)[None].to(self.device) / 255)
        return replace(crop, features=features[0])

    def _cached_maps(self, crops: Sequence[Crop]) -> Tensor:
        maps = torch.stack([self._cached_map(crop) for crop in crops])
        return apply_region_mask(maps, region_masks(crops, self.stride))

    def _cached_map(self, crop: Crop) -> Tensor:
        full = full_window(crop.size, self.stride)
        if crop.number not in self._map_cache:
            with torch.no_grad():
                self._map_cache[crop.number] = self.density_map(self.with_features([crop.at(full)]))[0]
        return cut(self._map_cache[crop.number], crop.window, full, self.stride)


def outputs_and_features(counter: Counter, images: Tensor) -> tuple[Tensor, Tensor]:
    """A counter's outputs for images (B, 3, H, W) in 0..1, and the features (B, F, h, w), detached, of which its
    last layer makes them in the same pass."""
    layer, seen = counter.last_layer(), list[Tensor]()
    assert layer is not None
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        outputs = counter(images)
    finally:
        hook.remove()
    return outputs, seen[0]


def flip(maps: Tensor, crops: Sequence[Crop]) -> Tensor:
    """Maps (B, 1, h, w), mirrored left to right where the crops are."""
    if not any(crop.flipped for crop in crops):
        return maps
    return torch.stack([each.flip(-1) if crop.flipped else each for each, crop in zip(maps, crops, strict=True)])
