"""Augmentation of log-mel features, per batch and on the fly.

Works on features, not on samples, so that features are computed once per corpus. Computes where the features are; what is
drawn, which frames are read for which by that, and how many are real, the host knows. Shape letters: ``B`` batch, ``F`` bands,
``T`` frames; ``N`` noise recordings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hpcnas.core.checks import between
from hpcnas.core.errors import ConfigError
from hpcnas.nn.masking import Mask
from hpcnas.nn.placing import moved


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

    Noise is added to the power of each mel band, which is what additive noise does to the expected band energies.
    """
    x = log_mel_BFT
    if config.shift or config.tempo or config.warp:
        x, lengths_B = _resample(x, lengths_B, config, rng)
    if config.volume_db:
        x = x + moved(_uniform(rng, len(x), config.volume_db * math.log(10) / 10), x.device).view(-1, 1, 1)
    if config.noise_probability and len(noise_NFT):
        x = _add_noise(x, lengths_B, noise_NFT, config, rng)
    return x, lengths_B


def mask(normalised_BFT: Tensor, config: AugmentationConfig, rng: torch.Generator, lengths_B: Tensor | None = None) -> Tensor:
    """SpecAugment: random bands and stretches of real frames set to the mean, which is 0 after normalisation."""
    batch, bands, frames = normalised_BFT.shape
    real = np.full((batch, 1), frames) if lengths_B is None else lengths_B.numpy()[:, None]
    of_bands = _kept(config.frequency_masks, config.frequency_mask_width, bands, np.full((batch, 1), bands), rng)
    of_frames = _kept(config.time_masks, config.time_mask_width, frames, real, rng)
    kept_BF, kept_BT = (moved(kept, normalised_BFT.device) for kept in (of_bands, of_frames))
    return (normalised_BFT * kept_BF.unsqueeze(2)).mul_(kept_BT.unsqueeze(1))


def _kept(count: int, width: float, length: int, real_B1: np.ndarray, rng: torch.Generator) -> np.ndarray:
    """(B, length) 0 where one of ``count`` masks lies, each among the first ``real`` places, else 1."""
    drawn = torch.rand(count, 2, len(real_B1), 1, generator=rng).numpy()
    widths = np.floor(drawn[:, 0] * (np.minimum(width, real_B1) + 1).astype(np.float32))
    starts = np.floor(drawn[:, 1] * (real_B1.astype(np.float32) - widths + 1))
    position = np.arange(length, dtype=np.float32)
    return np.asarray(((position < starts) | (position >= starts + widths)).all(0), np.float32)


def mix_up(
    x: Tensor, lengths_B: Tensor | None, labels: Tensor, classes: int, largest: float, rng: torch.Generator
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Each example with a share of another one of the batch, as far as the longer of the two is real, and the (B, classes)
    shares of their classes."""
    drawn = torch.randperm(len(x), generator=rng)
    share = moved(largest * torch.rand(len(x), 1, generator=rng), x.device)
    other = moved(drawn, x.device)
    target = functional.one_hot(labels.long(), classes).float()
    mixed = (1 - share).unsqueeze(-1) * x + share.unsqueeze(-1) * x[other]
    longer = None if lengths_B is None else torch.maximum(lengths_B, lengths_B[drawn])
    return mixed, longer, (1 - share) * target + share * target[other]


def _uniform(rng: torch.Generator, batch: int, limit: float) -> np.ndarray:
    return (torch.rand(batch, generator=rng).numpy() * 2 - 1) * np.float32(limit)


def _resample(
    x: Tensor, lengths_B: Tensor | None, config: AugmentationConfig, rng: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Shift, tempo and frequency warp; what comes in from outside repeats the edge. Ends of short recordings move with them."""
    batch, bands, frames = x.shape
    tempo, shift = 1 + _uniform(rng, batch, config.tempo), _uniform(rng, batch, config.shift)
    stretch = 1 + _uniform(rng, batch, config.warp)
    last = frames - 1
    start = (1 - tempo + 2 * shift) / 2 * last  # tempo turns about the window's middle, so that it does not shift as well
    heard = _read(x.transpose(1, 2), start[:, None] + tempo[:, None] * np.arange(frames, dtype=np.float32)).transpose(1, 2)
    heard = _read(heard, stretch[:, None] * np.arange(bands, dtype=np.float32))  # the lowest band stays where it is
    if lengths_B is not None:
        ends = torch.from_numpy(np.floor((lengths_B.numpy() - 1 - start) / tempo)).long() + 1
        lengths_B = torch.where(lengths_B > last, lengths_B, ends).clamp(1, last + 1)
    return heard, lengths_B


def _read(x_BLD: Tensor, positions_BL: np.ndarray) -> Tensor:
    """(B, L, D) ``x`` at positions of its second axis, linearly between two neighbours.

    Rows that lie side by side in memory are read ten times as fast as by ``gather`` or ``grid_sample``.
    """
    batch, length, _ = x_BLD.shape
    positions = positions_BL.clip(0, length - 1)
    below = positions.astype(np.int64)
    rows = below + length * np.arange(batch)[:, None]
    flat = x_BLD.flatten(0, 1)
    one, other = (
        flat.index_select(0, moved(index.ravel(), flat.device)).view_as(x_BLD) for index in (rows, rows + (below < length - 1))
    )
    share = moved((positions - below).astype(np.float32), flat.device)
    return one.lerp_(other, share.unsqueeze(2))


def _add_noise(
    x: Tensor, lengths_B: Tensor | None, noise_NFT: Tensor, config: AugmentationConfig, rng: torch.Generator
) -> Tensor:
    batch, _, frames = x.shape
    which = torch.randint(len(noise_NFT), (batch,), generator=rng).numpy()
    start = torch.randint(max(1, noise_NFT.shape[-1] - frames + 1), (batch,), generator=rng).numpy()
    low, high = config.snr_db
    snr, chance = torch.rand(2, batch, generator=rng).numpy()
    (rows,) = np.nonzero(chance < config.noise_probability)
    if not len(rows):
        return x
    index, of_noise, at = moved(np.stack([rows, which[rows], start[rows]]), x.device)
    power = x.index_select(0, index).exp_()
    noise = noise_NFT.unfold(-1, frames, 1)[of_noise, :, at].exp_()
    ratio = moved(10 ** ((low + (high - low) * snr[rows]) / 10), x.device).view(-1, 1, 1)
    mean, noise_mean = (energy.mean((1, 2), keepdim=True) for energy in (power, noise))
    if lengths_B is not None:  # the silence that pads a recording does not make its speech quieter
        real = Mask(lengths_B[rows], frames).real(power)
        mean = (power * real).sum((1, 2), keepdim=True) / (real.sum(-1, keepdim=True) * power.shape[1])
    return x.index_copy(0, index, power.addcmul_(noise, mean / (noise_mean * ratio)).log_())
