"""Batch norm over real frames: padding has no part in means and variances.

Ioffe & Szegedy, ICML 2015 (arXiv:1502.03167). Were padding counted, the variance of a batch that is three quarters zeros would
be a quarter of that of speech, and other in every batch; validation, which normalises by running statistics, would see another
scale than training did. In a group of several ranks each normalises its own examples. Shape letters: ``B`` batch, ``C``
channels, ``F`` bands, ``T`` frames.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from hpcnas.nn.convolution import on_cpu
from hpcnas.nn.masking import Mask


class _OverRealFrames(_BatchNorm):
    """A batch norm of torch, which does all but the statistics of a padded batch."""

    mask: Mask | None = None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        # One value has no variance; torch would raise ValueError.
        by_batch = self.training and (values := self._real_values(x)) > 1
        if by_batch:
            self.num_batches_tracked.add_(1)
        if by_batch and self.mask is not None:
            return self._over_real_frames(x.float(), self.mask, values).to(x.dtype)
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, self.momentum, self.eps)

    def _real_values(self, x: Tensor) -> int:
        """Of each channel."""
        if self.mask is None:
            return x.numel() // x.shape[1]
        return int(self.mask.lengths(x.shape[-1]).sum()) * x.shape[2:-1].numel()

    def _over_real_frames(self, x: Tensor, mask: Mask, values: int) -> Tensor:
        """The same as torch would make of real frames alone.

        Padding is filled with each channel's mean, which leaves the mean as it is and adds nothing to the sum of squares:
        torch's kernel then finds the variance of real frames times their share, for which weight and epsilon make up.
        """
        of_all = x.numel() // x.shape[1]
        share, channels = values / of_all, (-1, *[1] * (x.dim() - 2))
        zeroed = mask.zeroed(x)
        mean = zeroed.sum([0, *range(2, x.dim())]) / values
        filled = torch.addcmul(zeroed, (~mask.real(x)).to(x.dtype), mean.view(channels))
        found = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        y = batch_norm(filled, *found, self.weight * share**0.5, self.bias, True, 1.0, self.eps * share)
        self.running_mean.lerp_(found[0], self.momentum)
        self.running_var.lerp_(found[1] * ((of_all - 1) / (values - 1)), self.momentum)
        return y


class BatchNorm1d(_OverRealFrames, nn.BatchNorm1d):
    """Of (B, C, T)."""


class BatchNorm2d(_OverRealFrames, nn.BatchNorm2d):
    """Of (B, C, F, T)."""


def batch_norm(x: Tensor, *arguments: Any) -> Tensor:
    """As torch has it; sequences as planes of one band on a CPU, whose kernels are at home on those alone where channels are
    innermost in memory."""
    if x.dim() == 3 and on_cpu(x):
        return functional.batch_norm(x.unsqueeze(2), *arguments).squeeze(2)
    return functional.batch_norm(x, *arguments)
