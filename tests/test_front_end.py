import numpy as np
import pytest
import torch

from hpcnas.core.errors import ConfigError
from hpcnas.nn.corpus import Split
from hpcnas.nn.front_end import KINDS, NORMALISATIONS, FrontEndConfig, delta, fitted, pcen, shaped

X = torch.randn(8, 10, 50, generator=torch.Generator().manual_seed(0)) - 8


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_normalised_in_every_band(kind, normalisation):
    front_end = fitted(FrontEndConfig(kind=kind, cepstra=6, deltas=2, normalisation=normalisation), X)
    y = front_end(X)
    assert y.shape == (8, 3 * (6 if kind == "mfcc" else 10), 50) and front_end.bands == y.shape[1]
    torch.testing.assert_close(y.mean((0, 2)), torch.zeros(front_end.bands), atol=1e-4, rtol=0)
    torch.testing.assert_close(y.std((0, 2)), torch.ones(front_end.bands), atol=1e-3, rtol=0)


def test_cepstra_are_an_orthonormal_cosine_transform():
    y = shaped(X, FrontEndConfig(kind="mfcc", cepstra=10))
    torch.testing.assert_close(y.square().sum(1), X.square().sum(1), msg="energy is kept")
    torch.testing.assert_close(y[:, 0], X.sum(1) / 10**0.5)
    second = torch.cos(2 * torch.pi / 10 * (torch.arange(10) + 0.5))
    torch.testing.assert_close(y[:, 2], (0.2**0.5) * torch.einsum("f,bft->bt", second, X))
    assert torch.equal(shaped(X, FrontEndConfig(kind="mfcc", cepstra=4)), y[:, :4])


def test_deltas_are_slopes():
    ramp = 3.0 * torch.arange(20.0).expand(2, 4, 20)
    torch.testing.assert_close(delta(ramp)[..., 2:-2], torch.full((2, 4, 16), 3.0))


def test_pcen_follows_its_recursion_and_hardly_depends_on_the_volume():
    energy = X[0, 0].double().exp() * 2.0**30
    smooth, expected = energy[0], []
    for now in energy:
        smooth = 0.975 * smooth + 0.025 * now
        expected.append((now / (1e-6 + smooth) ** 0.98 + 2) ** 0.5 - 2**0.5)
    torch.testing.assert_close(pcen(X.double())[0, 0], torch.stack(expected), rtol=1e-5, atol=1e-6)
    louder = pcen(X + 2.0) / pcen(X)
    assert louder.min() > 0.95 and louder.max() < 1.05, "20 dB more power, almost the same"


@pytest.mark.parametrize("normalisation", ["utterance", "running"])
def test_a_window_s_own_level_is_removed(normalisation):
    config = FrontEndConfig(normalisation=normalisation)
    torch.testing.assert_close(shaped(X + 3.0, config), shaped(X, config), atol=1e-4, rtol=0)
    if normalisation == "running":
        torch.testing.assert_close(shaped(X[..., :20], config), shaped(X, config)[..., :20], msg="no look-ahead")


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_padding_of_short_recordings_counts_neither_for_their_normalisation_nor_for_the_corpus(normalisation):
    config = FrontEndConfig(normalisation=normalisation, deltas=2)
    lengths = torch.tensor([1, 2, 20, 30, 40, 49, 50, 50])
    padded = X.clone()
    for row, length in zip(padded, lengths):
        row[:, length:] = -16.0
    front_end = fitted(config, padded, lengths)
    y = front_end(padded, lengths)
    assert torch.isfinite(y).all()
    real = torch.cat([one[:, :length] for one, length in zip(y, lengths)], 1)
    torch.testing.assert_close(real.mean(1), torch.zeros(30), atol=1e-4, rtol=0)
    torch.testing.assert_close(real.std(1), torch.ones(30), atol=1e-3, rtol=0)
    for row, length in zip(range(2, 8), lengths[2:]):
        torch.testing.assert_close(y[row, :, :length], front_end(X[row : row + 1, :, :length])[0], atol=1e-4, rtol=1e-4)


def test_running_normalisation_comes_to_agree_with_that_of_the_whole():
    long = 3 * torch.randn(4, 10, 2000, generator=torch.Generator().manual_seed(0)) - 8
    running, whole = (shaped(long, FrontEndConfig(normalisation=name)) for name in ("running", "utterance"))
    torch.testing.assert_close(running[..., -1], whole[..., -1], atol=0.02, rtol=0.02)
    assert (running[..., 0] == 0).all() and running.abs().max() < 6


def test_windows_of_long_recordings_cover_them():
    lengths = np.array([20, 21, 30, 75])
    starts = np.cumsum(lengths) - lengths
    frames = np.stack([np.arange(lengths.sum()), np.repeat(np.arange(4), lengths)], 1)
    split = Split(frames, starts, lengths, lengths, np.zeros(4, int))
    rows, offsets = split.covering(np.arange(4), 20)
    windows = split.windows(rows, offsets, 20)
    assert windows.shape == (len(rows), 2, 20) and torch.equal(
        windows[:, 1], torch.as_tensor(rows).float()[:, None].expand(-1, 20)
    )
    for row, (start, length) in enumerate(zip(starts, lengths)):
        seen = set(windows[torch.as_tensor(rows) == row][:, 0].flatten().tolist())
        assert seen == set(range(start, start + length)), "every frame, and none of another recording"
    assert np.bincount(rows).tolist() == [1, 2, 2, 7]


@pytest.mark.parametrize("change", [{"kind": "fft"}, {"normalisation": "none"}, {"deltas": 3}, {"cepstra": 0}])
def test_settings_that_cannot_work_are_refused(change):
    with pytest.raises(ConfigError, match=f"features.{next(iter(change))}"):
        FrontEndConfig(**change)
