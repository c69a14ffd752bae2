"""Augmentation of log-mel features, per batch and on the fly.

Works on features, not on samples, so that features are computed once per corpus. Shape letters: ``B`` batch, ``F`` bands,
``T`` frames; ``N`` noise recordings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from hpcnas.core.checks import between
from hpcnas.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How training examples are varied; every field 0 switches its part off."""

    shift: float = 0.1
    """Time shift, up to this share of the window either way."""
    tempo: float = 0.15
    """Speaking rate, varied by up to this share."""
    warp: float = 0.08
    """Frequency axis stretched by up to this share, as vocal tracts differ in length (Jaitly & Hinton, 2013, VTLP)."""
    volume_db: float = 0.0
    """Level, varied by up to so much either way."""
    noise_probability: float = 0.8
    """Examples that get the corpus' background noise added, where it has any."""
    snr_db: tuple[float, float] = (0.0, 30.0)
    """Signal to noise ratio, drawn uniformly."""
    frequency_masks: int = 2
    frequency_mask_width: float = 3.0
    """Bands; SpecAugment (Park et al., Interspeech 2019, doi:10.21437/Interspeech.2019-2680), with narrow masks, since the
    models are small."""
    time_masks: int = 2
    time_mask_width: float = 8.0
    """Frames. Widths are drawn up to these; a part of one more band or frame makes it less likely than the others."""
    mixup: float = 0.0
    """Largest share of another example that is mixed into one (Zhang et al., ICLR 2018, arXiv:1710.09412; here the share is
    uniform up to this)."""
    in_trials: float = 0.3
    """Share of all this that the search's short trials get: in a few epochs strong variation costs more than it brings."""

    def __post_init__(self) -> None:
        between(
            0,
            1,
            "augmentation",
            shift=self.shift,
            tempo=self.tempo,
            warp=self.warp,
            noise_probability=self.noise_probability,
            in_trials=self.in_trials,
            mixup=self.mixup,
        )
        for name in ("volume_db", "frequency_masks", "frequency_mask_width", "time_masks", "time_mask_width"):
            if getattr(self, name) < 0:
                raise ConfigError(f"augmentation.{name} = {getattr(self, name)}: must not be negative")
        if len(self.snr_db) != 2 or self.snr_db[0] > self.snr_db[1]:
            raise ConfigError(f"augmentation.snr_db = {list(self.snr_db)}: must be a pair, the lower one first")

    def scaled(self, share: float) -> AugmentationConfig:
        """The same with all ranges, probabilities and widths times ``share``."""
        return replace(
            self,
            shift=self.shift * share,
            tempo=self.tempo * share,
            warp=self.warp * share,
            mixup=self.mixup * share,
            volume_db=self.volume_db * share,
            noise_probability=self.noise_probability * share,
            frequency_mask_width=round(self.frequency_mask_width * share),
            time_mask_width=round(self.time_mask_width * share),
        )


def augment(
    log_mel_BFT: Tensor,
    noise_NFT: Tensor,
    config: AugmentationConfig,
    rng: torch.Generator,
    lengths_B: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """A varied copy of a batch, not yet normalised or masked, and how many frames of it are real where not all are.

    Noise is added in the power domain of each mel band: log(exp(x) + exp(n)), which is what additive noise does to the
    expected band energies.
    """
    x = log_mel_BFT
    if config.shift or config.tempo or config.warp:
        x, lengths_B = _resample(x, lengths_B, config, rng)
    if config.volume_db:
        x = x + _uniform(rng, len(x), config.volume_db * math.log(10) / 10).to(x.device).view(-1, 1, 1)
    if config.noise_probability and len(noise_NFT):
        x = _add_noise(x, noise_NFT, config, rng)
    return x, lengths_B


def mask(normalised_BFT: Tensor, config: AugmentationConfig, rng: torch.Generator) -> Tensor:
    """SpecAugment: random bands and stretches set to the mean, which is 0 after normalisation."""
    batch, bands, frames = normalised_BFT.shape
    keep = torch.ones(batch, bands, frames, dtype=torch.bool)
    for count, width, length, axis in (
        (config.frequency_masks, config.frequency_mask_width, bands, (1, bands, 1)),
        (config.time_masks, config.time_mask_width, frames, (1, 1, frames)),
    ):
        position = torch.arange(length).view(axis)
        for _ in range(count):
            widths = (torch.rand(batch, 1, 1, generator=rng) * (min(width, length) + 1)).floor()
            starts = (torch.rand(batch, 1, 1, generator=rng) * (length - widths + 1)).floor()
            keep &= (position < starts) | (position >= starts + widths)
    return normalised_BFT * keep.to(normalised_BFT.device)


def mix_up(x: Tensor, labels: Tensor, classes: int, largest: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each example with a share of another one of the batch, and the (B, classes) shares of their classes."""
    other = torch.randperm(len(x), generator=rng)
    share = largest * torch.rand(len(x), 1, generator=rng)
    target = functional.one_hot(labels.long(), classes).float()
    mixed = (1 - share).unsqueeze(-1) * x + share.unsqueeze(-1) * x[other]
    return mixed, (1 - share) * target + share * target[other]


def _uniform(rng: torch.Generator, batch: int, limit: float) -> Tensor:
    return (torch.rand(batch, generator=rng) * 2 - 1) * limit


def _resample(
    x: Tensor, lengths_B: Tensor | None, config: AugmentationConfig, rng: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Shift, tempo and frequency warp in one bilinear look-up; what comes in from outside repeats the edge. Ends of shorter
    recordings move with them."""
    batch = len(x)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0] = 1 + _uniform(rng, batch, config.tempo)
    theta[:, 0, 2] = 2 * _uniform(rng, batch, config.shift)
    stretch = _uniform(rng, batch, config.warp)
    theta[:, 1, 1] = 1 + stretch
    theta[:, 1, 2] = stretch  # the lowest band stays where it is
    plane = x.unsqueeze(1)
    grid = functional.affine_grid(theta.to(x.device), list(plane.shape), align_corners=True)
    moved = functional.grid_sample(plane, grid, mode="bilinear", padding_mode="border", align_corners=True).squeeze(1)
    if lengths_B is not None:
        # Frame u of the copy, in [-1, 1], is frame tempo * u + shift of the original.
        last = x.shape[-1] - 1
        ends = ((2 * (lengths_B - 1) / last - 1 - theta[:, 0, 2]) / theta[:, 0, 0] + 1) / 2 * last
        lengths_B = torch.where(lengths_B > last, lengths_B, ends.floor().long() + 1).clamp(1, last + 1)
    return moved, lengths_B


def _add_noise(x: Tensor, noise_NFT: Tensor, config: AugmentationConfig, rng: torch.Generator) -> Tensor:
    batch, _, frames = x.shape
    which = torch.randint(len(noise_NFT), (batch,), generator=rng)
    start = torch.randint(max(1, noise_NFT.shape[-1] - frames + 1), (batch,), generator=rng)
    noise = torch.stack([noise_NFT[n, :, s : s + frames] for n, s in zip(which.tolist(), start.tolist())])
    low, high = config.snr_db
    snr = (low + (high - low) * torch.rand(batch, generator=rng)) * math.log(10) / 10
    snr[torch.rand(batch, generator=rng) >= config.noise_probability] = math.inf
    gain = _level(x) - _level(noise) - snr.to(x.device)
    return torch.logaddexp(x, noise + gain.view(-1, 1, 1))


def _level(x: Tensor) -> Tensor:
    """(B,) log of the mean power."""
    return x.flatten(1).logsumexp(1) - math.log(x[0].numel())
