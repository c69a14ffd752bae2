import numpy as np
import pytest
import torch

from hpcnas.core.space import spell
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Split
from hpcnas.nn.heads import HEADS
from hpcnas.nn.masking import Mask
from hpcnas.nn.model import Model, Surroundings, build_model

BANDS, FRAMES = 10, 24


def build(text: str, head: str = "mean") -> Model:
    model = build_model(spell(text, BLOCK_TYPES), Surroundings(BANDS, 3, head=head), 0)
    for module in model.modules():  # statistics as after training, so that zeros do not stay zeros
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.bias, 0, 1)
    return model.eval()


TOWERS = (
    "conv:channels=4,kernel=3,stride=2/dense:units=6", "conv1d:channels=6,kernel=5,stride=2/gru:units=4", "bigru:units=5",
    "tdnn:channels=8/bilstm:units=4", "attention:dim=8,heads=2,context=16", "conformer:dim=8,heads=2,context=16,kernel=7",
    "mbconv:channels=4,stride=1,se=1", "tcres:channels=8,kernel=9,stride=2/tcres:channels=8,kernel=9,stride=1",
    "bcres:channels=4", "tenet:channels=8", "svdf:filters=8,memory=4", "avg_pool:size=2/dense:units=4",
)  # fmt: skip


@pytest.mark.parametrize("tower", TOWERS)
def test_what_lies_behind_the_end_of_a_recording_does_not_matter(tower):
    torch.manual_seed(0)
    model, x = build(tower), 3 * torch.randn(3, BANDS, FRAMES)
    lengths = torch.tensor([12, 24, 16])
    noise = Mask(lengths, FRAMES).zeroed(x) + 5 * torch.randn(3, BANDS, FRAMES) * ~Mask(lengths, FRAMES).real(x)
    with torch.no_grad():
        together = model(x, lengths)
        torch.testing.assert_close(model(noise, lengths), together, atol=1e-4, rtol=1e-4)
        alone = [model(x[i : i + 1, :, :length])[0] for i, length in enumerate(lengths)]
        torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)
        assert not torch.allclose(model(x), together, atol=1e-4), "without lengths it does matter"
    assert all(module.mask is None for module in model.modules() if hasattr(module, "mask"))


@pytest.mark.parametrize("head", HEADS)
def test_heads_pool_over_real_frames_alone(head):
    torch.manual_seed(0)
    model, x = build("dense:units=6", head), torch.randn(2, BANDS, FRAMES)
    with torch.no_grad():
        torch.testing.assert_close(model(x, torch.tensor([10, 24]))[0], model(x[:1, :, :10])[0], atol=1e-5, rtol=1e-4)


def test_windows_tell_how_much_of_them_is_real():
    frames = np.zeros((70, 2), np.float16)
    split = Split(frames, np.array([0, 20]), np.array([20, 50]), np.array([13, 50]), np.zeros(2, int))
    rows, offsets = np.array([0, 1, 1]), np.array([0, 0, 30])
    assert split.real_frames(rows, offsets, 20).tolist() == [13, 20, 20]
    assert split.real_frames(rows[1:], offsets[1:], 20) is None
