"""Inception v3 as FID uses it (Heusel et al. 2017): TensorFlow's network of 2015 with the tensor names of pytorch-fid.

It differs from the common Inception v3 in what its pooling branches do at the edges, and in the last block.

Shapes: B batch, C channels, H rows, W columns, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.metrics.networks.norm import Norm

SIDE, FEATURES, CLASSES = 299, 2048, 1008
EPS = 1e-3
Kernel = int | tuple[int, int]
Branch = tuple[tuple[str, int, Kernel], ...]  # name, channels and kernel of each convolution after the other
Pool = Callable[[Tensor], Tensor]


class Conv(nn.Module):
    """Convolution, normalisation, ReLU; padded so that positions stay, unless it has a stride or says otherwise."""

    def __init__(self, before: int, after: int, kernel: Kernel, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if padded and stride == 1 else 0
        self.conv = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
        self.bn = Norm(after, EPS)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x_BCHW)))


def edge_mean(x_BCHW: Tensor) -> Tensor:
    """Means over 3 x 3 positions that leave out what lies beyond the edge."""
    return F.avg_pool2d(x_BCHW, 3, 1, 1, count_include_pad=False)


def near_maximum(x_BCHW: Tensor) -> Tensor:
    return F.max_pool2d(x_BCHW, 3, 1, 1)


class Mixed(nn.Module):
    """Branches beside each other: convolutions in a row, and pooling.

    Args:
        pooled: channels of the convolution after the pooling; None for a block that halves the positions, whose last
            convolutions have a stride and whose pooling is a maximum.
    """

    def __init__(self, before: int, branches: tuple[Branch, ...], pooled: int | None = None) -> None:
        super().__init__()
        self.names = [[name for name, _, _ in branch] for branch in branches]
        self.halves = pooled is None
        for branch in branches:
            width = before
            for index, (name, after, kernel) in enumerate(branch, 1):
                stride = 2 if self.halves and index == len(branch) else 1
                self.add_module(name, Conv(width, after, kernel, stride))
                width = after
        if pooled is not None:
            self.branch_pool = Conv(before, pooled, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        found = []
        for names in self.names:
            y_BCHW = x_BCHW
            for name in names:
                y_BCHW = self.get_submodule(name)(y_BCHW)
            found.append(y_BCHW)
        pooled = F.max_pool2d(x_BCHW, 3, 2) if self.halves else self.branch_pool(edge_mean(x_BCHW))
        return torch.cat([*found, pooled], 1)


class Wide(nn.Module):
    """The last blocks, whose branches fork at their ends."""

    def __init__(self, before: int, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = Conv(before, 320, 1)
        self.branch3x3_1 = Conv(before, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, (1, 3)), Conv(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(before, 448, 1), Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, (1, 3)), Conv(384, 384, (3, 1))
        self.branch_pool = Conv(before, 192, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        short, long = self.branch3x3_1(x_BCHW), self.branch3x3dbl_2(self.branch3x3dbl_1(x_BCHW))
        forks = (
            self.branch3x3_2a(short), self.branch3x3_2b(short), self.branch3x3dbl_3a(long), self.branch3x3dbl_3b(long)
        )  # fmt: skip
        return torch.cat([self.branch1x1(x_BCHW), *forks, self.branch_pool(self.pool(x_BCHW))], 1)


def mixed_5(before: int, pooled: int) -> Mixed:
    return Mixed(
        before,
        (
            (("branch1x1", 64, 1),),
            (("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
            (("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
        ),
        pooled,
    )


def mixed_6(inner: int) -> Mixed:
    double = (((1, 1), inner), ((7, 1), inner), ((1, 7), inner), ((7, 1), inner), ((1, 7), 192))
    return Mixed(
        768,
        (
            (("branch1x1", 192, 1),),
            (("branch7x7_1", inner, 1), ("branch7x7_2", inner, (1, 7)), ("branch7x7_3", 192, (7, 1))),
            tuple((f"branch7x7dbl_{index}", width, kernel) for index, (kernel, width) in enumerate(double, 1)),
        ),
        192,
    )


class FidInception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3, self.Conv2d_2b_3x3 = Conv(32, 32, 3, padded=False), Conv(32, 64, 3)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Conv(64, 80, 1), Conv(80, 192, 3, padded=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = mixed_5(192, 32), mixed_5(256, 64), mixed_5(288, 64)
        three = ("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)
        self.Mixed_6a = Mixed(288, ((("branch3x3", 384, 3),), three))
        self.Mixed_6b, self.Mixed_6c = mixed_6(128), mixed_6(160)
        self.Mixed_6d, self.Mixed_6e = mixed_6(160), mixed_6(192)
        seven: Branch = (
            ("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)),
            ("branch7x7x3_4", 192, 3),
        )  # fmt: skip
        self.Mixed_7a = Mixed(768, ((("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)), seven))
        self.Mixed_7b, self.Mixed_7c = Wide(1280, edge_mean), Wide(FEATURES, near_maximum)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, D) and logits (B, K) without the classifier's bias, of images in [0, 1] of any size.

        They are resized as pytorch-fid does, bilinearly without smoothing.
        """
        return self.body(F.interpolate(images_B3HW, (SIDE, SIDE), mode="bilinear", align_corners=False) * 2.0 - 1.0)

    def body(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same of (B, 3, `SIDE`, `SIDE`) in [-1, 1]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        features_BD = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        return features_BD, F.linear(features_BD, self.fc.weight)
