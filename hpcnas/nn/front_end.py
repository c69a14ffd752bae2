"""From raw log-mel, or a device's own features, to what a model sees: cepstra or energy normalisation, deltas, mean and
variance normalisation.

Behind augmentation, which works on log-mel. Of a recording that is shorter than its window only the real frames count towards
means and deviations. Shape letters: ``B`` batch, ``F`` bands, ``T`` frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import torch
from torch import Tensor
from torch.nn import functional

from hpcnas.core.errors import ConfigError
from hpcnas.nn.masking import Mask
from hpcnas.nn.placing import moved

KINDS = ("log_mel", "mfcc", "pcen", "micro")
NORMALISATIONS = ("corpus", "utterance", "running")
PRIOR_FRAMES = 10


@dataclass(frozen=True, kw_only=True)
class FrontEndConfig:
    """What is made of log-mel."""

    kind: str = "log_mel"
    """``log_mel``; ``mfcc`` or ``pcen`` of it; or ``micro``: what TensorFlow Lite Micro's front end gives in its place, in 40
    bands from 125 to 7,500 Hz of windows of 30 ms every 10 ms, its only settings."""
    cepstra: int = 40
    """Coefficients of ``mfcc``, the zeroth included; at most the number of bands."""
    deltas: int = 0
    """1: first derivatives beside them, 2: second ones too."""
    normalisation: str = "corpus"
    """``corpus``: by mean and deviation of the training split; before that ``utterance``: each window's own mean and deviation
    per band are removed, ``running``: those of all frames so far, which needs no look-ahead."""

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("normalisation", NORMALISATIONS)):
            if getattr(self, name) not in known:
                raise ConfigError(f'features.{name} = "{getattr(self, name)}": unknown; known: {", ".join(known)}')
        if self.deltas not in (0, 1, 2):
            raise ConfigError(f"features.deltas = {self.deltas}: must be 0, 1 or 2")
        if self.cepstra < 1:
            raise ConfigError(f"features.cepstra = {self.cepstra}: must be at least 1")


@dataclass(frozen=True)
class FrontEnd:
    """The finished front end.

    Args:
        mean: (F',) of the training split, behind everything else.
        std: (F',) the same.
    """

    config: FrontEndConfig
    mean: Tensor
    std: Tensor

    @property
    def bands(self) -> int:
        """F', of what comes out."""
        return len(self.mean)

    def on(self, device: torch.device) -> FrontEnd:
        return replace(self, mean=self.mean.to(device), std=self.std.to(device))

    def __call__(self, log_mel_BFT: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """(B, F', T) normalised features; only the first ``lengths_B`` frames are real, if given."""
        return (shaped(log_mel_BFT, self.config, lengths_B) - self.mean.view(1, -1, 1)).div_(self.std.view(1, -1, 1))


def fitted(config: FrontEndConfig, log_mel_BFT: Tensor, lengths_B: Tensor | None = None) -> FrontEnd:
    """The front end with mean and deviation of given training windows."""
    x = shaped(log_mel_BFT, config, lengths_B).double().transpose(1, 2)
    real = x.flatten(0, 1) if lengths_B is None else x[_real(log_mel_BFT, lengths_B).squeeze(1)]
    return FrontEnd(config, real.mean(0).float(), real.std(0).clamp(min=1e-3).float())


def shaped(log_mel_BFT: Tensor, config: FrontEndConfig, lengths_B: Tensor | None = None) -> Tensor:
    """(B, F', T) features, before they are normalised by the corpus."""
    x = log_mel_BFT
    if config.kind == "mfcc":
        x = torch.einsum("kf,bft->bkt", _cosines(min(config.cepstra, x.shape[1]), x), x)
    elif config.kind == "pcen":
        x = pcen(x)
    if config.normalisation == "utterance":
        mean, deviation = _moments(x, lengths_B)
        x = (x - mean) / deviation.clamp(min=1e-3)
    elif config.normalisation == "running":
        x = _running(x)
    derivatives = [x]
    for _ in range(config.deltas):
        derivatives.append(delta(_ends_repeated(derivatives[-1], lengths_B)))
    return torch.cat(derivatives, 1) if config.deltas else x


def _real(x_BFT: Tensor, lengths_B: Tensor) -> Tensor:
    """(B, 1, T) whether each frame is real."""
    return Mask(lengths_B, x_BFT.shape[-1]).real(x_BFT)


def _moments(x_BFT: Tensor, lengths_B: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, F, 1) mean and deviation over each window's real frames."""
    if lengths_B is None:
        return x_BFT.mean(-1, keepdim=True), x_BFT.std(-1, keepdim=True)
    real = _real(x_BFT, lengths_B)
    count = real.sum(-1, keepdim=True)
    mean = (x_BFT * real).sum(-1, keepdim=True) / count
    squares = ((x_BFT - mean).square() * real).sum(-1, keepdim=True)
    return mean, (squares / (count - 1).clamp(min=1)).sqrt()


def _ends_repeated(x_BFT: Tensor, lengths_B: Tensor | None) -> Tensor:
    """Every frame behind the end of a recording like its last real one."""
    if lengths_B is None:
        return x_BFT
    last = moved(lengths_B, x_BFT.device).view(-1, 1, 1) - 1
    index = torch.minimum(torch.arange(x_BFT.shape[-1], device=x_BFT.device), last)
    return x_BFT.gather(-1, index.expand_as(x_BFT))


def _running(x_BFT: Tensor) -> Tensor:
    """Each frame less the mean, and over the deviation, of all frames up to it; the first ones, of which no deviation can be
    told, count for little beside ``PRIOR_FRAMES`` of deviation 1 before them."""
    x = x_BFT.double()
    count = torch.arange(1, x.shape[-1] + 1, device=x.device)
    mean = x.cumsum(-1) / count
    squares = x.square().cumsum(-1) - count * mean.square()
    deviation = ((squares.clamp(min=0) + PRIOR_FRAMES) / (count + PRIOR_FRAMES)).sqrt()
    return ((x - mean) / deviation).to(x_BFT)


def delta(x_BFT: Tensor, reach: int = 2) -> Tensor:
    """Slope of a line through ``reach`` frames on either side, edges repeated: Young et al., The HTK Book, section 5.9."""
    frames = x_BFT.shape[-1]
    padded = functional.pad(x_BFT, (reach, reach), mode="replicate")
    later = reduce(add, (k * padded[..., reach + k : reach + k + frames] for k in range(1, reach + 1)))
    earlier = reduce(add, (k * padded[..., reach - k : reach - k + frames] for k in range(1, reach + 1)))
    return (later - earlier) / (2 * sum(k * k for k in range(1, reach + 1)))


def pcen(log_mel_BFT: Tensor, smoothing: float = 0.025, gain: float = 0.98, bias: float = 2.0, power: float = 0.5) -> Tensor:
    """Per-channel energy normalisation with the constants of Wang et al., ICASSP 2017 (doi:10.1109/ICASSP.2017.7953242).

    differs: energies of samples in [-1, 1] are small and are scaled up by 2 ** 15 squared first, to the paper's range.
    """
    energy = log_mel_BFT.exp() * 2.0**30
    # The first-order recursion m[t] = (1 - s) m[t - 1] + s e[t], m[-1] = e[0], as one product with a triangular matrix.
    t = torch.arange(energy.shape[-1], device=energy.device)
    age = t.unsqueeze(0) - t.unsqueeze(1)
    kernel = (smoothing * (1 - smoothing) ** age.clamp(min=0)) * (age >= 0)
    kernel[0] += (1 - smoothing) ** (t + 1)
    smooth = energy @ kernel.to(energy)
    return (energy / (1e-6 + smooth) ** gain + bias) ** power - bias**power


def _cosines(cepstra: int, like: Tensor) -> Tensor:
    """(cepstra, bands) orthonormal DCT-II for (B, bands, T) ``like``, of its type and where it is."""
    bands = like.shape[1]
    k, f = torch.arange(cepstra, device=like.device).unsqueeze(1), torch.arange(bands, device=like.device).unsqueeze(0)
    basis = torch.cos(math.pi / bands * (f + 0.5) * k) * math.sqrt(2 / bands)
    basis[0] /= math.sqrt(2)
    return basis.to(like)
