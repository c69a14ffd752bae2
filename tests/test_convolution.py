"""Convolutions with channels innermost give what torch's plain ones give, gradients among it."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hpcnas.nn import convolution
from hpcnas.nn.blocks import bcres
from hpcnas.nn.convolution import Convolution1d, Convolution2d
from hpcnas.nn.normalisation import BatchNorm1d

SEQUENCES = [
    (40, 16, {"kernel_size": 3, "padding": 1}),
    (16, 24, {"kernel_size": 9, "padding": 4, "stride": 2}),
    (6, 6, {"kernel_size": 5, "padding": 2, "groups": 6, "bias": False}),
    (6, 6, {"kernel_size": 5, "padding": 4, "groups": 6, "dilation": 2}),
    (6, 6, {"kernel_size": 3, "padding": 0, "groups": 6, "dilation": 4}),
    (6, 6, {"kernel_size": 2, "padding": 1, "groups": 6, "dilation": 2}),
    (6, 12, {"kernel_size": 3, "padding": 3, "groups": 6, "dilation": 3}),
    (6, 6, {"kernel_size": 3, "padding": 4, "groups": 6, "dilation": 4, "stride": 2}),
    (1, 4, {"kernel_size": 3, "padding": 1}),
    (4, 1, {"kernel_size": 1, "bias": False}),
]
PLANES = [
    (1, 8, {"kernel_size": (5, 5), "padding": 2, "stride": 2, "bias": False}),
    (1, 8, {"kernel_size": (3, 1), "padding": (0, 0), "dilation": (2, 1)}),
    (1, 8, {"kernel_size": (3, 3), "padding": (1, 2), "dilation": (1, 2), "stride": (2, 1)}),
    (8, 8, {"kernel_size": (3, 1), "padding": (1, 0), "groups": 8}),
    (8, 8, {"kernel_size": (1, 3), "padding": (0, 4), "dilation": (1, 4), "groups": 8}),
    (8, 8, {"kernel_size": (3, 3), "padding": (4, 4), "dilation": (4, 4), "groups": 8}),
    (8, 4, {"kernel_size": 1}),
    (4, 20, {"kernel_size": 1, "stride": 2, "bias": False}),
]


def gradients(layer, x, of_input):
    x = x.clone().requires_grad_(of_input)
    y = layer(x)
    (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    found = [p.grad.clone() for p in layer.parameters()] + ([x.grad] if of_input else [])
    layer.zero_grad()
    return [y.detach(), *found]


def both_ways(layer, plain, x):
    plain.load_state_dict(layer.state_dict())
    for of_input in (True, False):
        for ours, torchs in zip(gradients(layer, x, of_input), gradients(plain, x, of_input), strict=True):
            assert_close(ours, torchs, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert_close(layer(x), plain(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 9, 10, 31])
@pytest.mark.parametrize("before, after, settings", SEQUENCES)
def test_over_time(before, after, settings, frames):
    window = (settings["kernel_size"] - 1) * settings.get("dilation", 1) + 1
    if frames + 2 * settings.get("padding", 0) < window:
        with pytest.raises(RuntimeError, match="Kernel size"):
            Convolution1d(before, after, **settings)(torch.randn(3, before, frames))
        return
    both_ways(Convolution1d(before, after, **settings), nn.Conv1d(before, after, **settings), torch.randn(3, before, frames))


@pytest.mark.parametrize("frames", [5, 12])
@pytest.mark.parametrize("before, after, settings", PLANES)
def test_over_bands_and_time(before, after, settings, frames):
    both_ways(
        Convolution2d(before, after, **settings), nn.Conv2d(before, after, **settings), torch.randn(3, before, 10, frames)
    )


def test_a_chain_stays_laid_out_as_the_first_convolution_left_it():
    x = Convolution1d(8, 8, 3, padding=1)(torch.randn(4, 8, 20))
    for layer in (BatchNorm1d(8), nn.ReLU(), Convolution1d(8, 8, 3, padding=2, dilation=2, groups=8)):
        x = layer(x)
        assert x.stride(1) == 1
    assert Convolution2d(1, 4, 3, padding=1)(torch.randn(2, 1, 10, 12)).stride(1) == 1


def test_an_exported_graph_has_the_plain_convolution():
    graph = torch.jit.trace(Convolution1d(4, 4, 3, groups=4, dilation=2), torch.randn(1, 4, 20)).inlined_graph
    assert [node.kind() for node in graph.nodes() if "conv" in node.kind()] == ["aten::_convolution"]
    assert not any("permute" in node.kind() or "squeeze" in node.kind() for node in graph.nodes())


@pytest.mark.parametrize("bands, frames", [(20, 12), (5, 3), (7, 4), (10, 1)])
def test_a_broadcasted_residual_does_the_same_either_way(bands, frames, monkeypatch):
    def outcome():
        torch.manual_seed(0)
        block = bcres.BroadcastedResidual(6, 8, bands, 1, 1, causal=False)
        nn.init.uniform_(block.over_bands[-1].norm.weight)
        nn.init.uniform_(block.over_bands[-1].norm.bias)
        found = gradients(block, torch.randn(4, 6, bands, frames), True)
        found += [block.eval()(torch.randn(4, 6, bands, frames)).detach(), *block.over_bands[-1].state_dict().values()]
        return found

    quick = outcome()
    for module in (bcres, convolution):
        monkeypatch.setattr(module, "on_cpu", lambda x: False)
    for ours, plain in zip(quick, outcome(), strict=True):
        assert_close(ours, plain, rtol=1e-3, atol=1e-4)


def test_one_value_has_no_variance():
    norm = bcres.SubSpectralNorm(4, 5)
    assert_close(norm(x := torch.randn(1, 4, 5, 1)), x / (1 + norm.norm.eps) ** 0.5)
