"""Batch norm over real frames: padding has no part in means and variances.

Ioffe & Szegedy, ICML 2015 (arXiv:1502.03167). Were padding counted, the variance of a batch that is three quarters zeros would
be a quarter of that of speech, and other in every batch; validation, which normalises by running statistics, would see another
scale than training did. In a group of several ranks each normalises its own examples. Shape letters: ``B`` batch, ``C``
channels, ``F`` bands, ``T`` frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpcnas.nn.masking import Mask


class _OverRealFrames(nn.Module):
    """Beside a batch norm of torch, which does all but the statistics of a padded batch."""

    mask: Mask | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        values = x.numel() // x.shape[1] if self.mask is None else self._real_values(x)
        if values == 1:  # which has no variance; torch would raise ValueError
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x) if self.mask is None else self._over_real_frames(x.float(), values).to(x.dtype)

    def _real_values(self, x: Tensor) -> int:
        """Of each channel."""
        return int(self.mask.lengths(x.shape[-1]).sum()) * x.shape[2:-1].numel()

    def _over_real_frames(self, x: Tensor, values: int) -> Tensor:
        """The same as torch would make of real frames alone; padding comes out as the bias."""
        across, channels = [0, *range(2, x.dim())], (-1, *[1] * (x.dim() - 2))
        mean = self.mask.zeroed(x).sum(across) / values
        centred = self.mask.zeroed(x - mean.view(channels))
        variance = centred.square().sum(across) / values
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (values / (values - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias.view(channels), centred, scale.view(channels))


class BatchNorm1d(_OverRealFrames, nn.BatchNorm1d):
    """Of (B, C, T)."""


class BatchNorm2d(_OverRealFrames, nn.BatchNorm2d):
    """Of (B, C, F, T)."""
