"""What every block must do, run over the block table."""

import numpy as np
import pytest
import torch

from hpcnas.core.architecture import Architecture
from hpcnas.core.space import spell
from hpcnas.nn.blocks import BLOCK_TYPES, BLOCKS
from hpcnas.nn.cost import measure
from hpcnas.nn.model import build_model

BANDS, FRAMES, CLASSES = 10, 30, 5


def build(text: str, seed: int = 0):
    return build_model(spell(text, BLOCK_TYPES), BANDS, CLASSES, seed)


@pytest.mark.parametrize(
    "before", ["", "conv:channels=4,kernel=3,stride=1/", "gru:units=6/"], ids=["input", "plane", "sequence"]
)
@pytest.mark.parametrize("kind", BLOCKS)
def test_every_setting_builds_behind_anything_and_learns(kind, before):
    rng = np.random.default_rng(0)
    for block in {BLOCK_TYPES[kind].sample(rng) for _ in range(6)}:
        model = build(f"{before}{block}")
        logits = model(torch.randn(3, BANDS, FRAMES))
        assert logits.shape == (3, CLASSES)
        logits.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_is_spelled_with_all_its_settings_and_described(kind):
    kind_type = BLOCK_TYPES[kind]
    assert kind_type.kind == kind and kind_type.description
    block = kind_type.sample(np.random.default_rng(0))
    assert Architecture.parse(str(Architecture((block,)))).blocks == (block,)
    assert kind_type.complete(block) == block


@pytest.mark.parametrize(
    "text",
    [
        "conv:channels=4,kernel=3,stride=1",
        "dsconv:channels=4,kernel=3,stride=1",
        "tdnn:channels=10",
        "tcres:channels=10,stride=1",
    ],
)
def test_blocks_that_can_start_as_the_identity_do(text):
    block = spell(text, BLOCK_TYPES).blocks[0]
    plane = BLOCK_TYPES[block.kind].layout == "plane"
    x = torch.rand(2, 4, BANDS, FRAMES) if plane else torch.rand(2, BANDS, FRAMES)
    module = BLOCKS[block.kind].build(dict(block.settings), tuple(x.shape[1:-1])).eval()
    assert not torch.allclose(module(x), x)
    module.near_identity()
    torch.testing.assert_close(module(x), x)


def test_one_seed_gives_one_model_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, second, other = build("gru:units=8", 1), build("gru:units=8", 1), build("gru:units=8", 2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_costs_agree_with_counting_by_hand():
    cost = measure(build("dense:units=8/lstm:units=4"), BANDS, FRAMES)
    dense, norm, lstm, head = 10 * 8, 2 * 8, 4 * (8 * 4 + 4 * 4) + 2 * 16, 4 * 5 + 5
    assert cost.params == dense + norm + lstm + head
    assert cost.macs == FRAMES * (dense + 4 * (8 * 4 + 4 * 4)) + 4 * 5
    assert cost.activations == FRAMES * (8 + 4) + 5


def test_costs_of_convolutions_agree_with_counting_by_hand():
    cost = measure(build("dsconv:channels=16,kernel=3,stride=2"), BANDS, FRAMES)
    assert cost.macs == 5 * 15 * (9 + 16) + 16 * 5 * 5
    assert cost.params == 9 + 2 + 16 + 32 + 16 * 5 * 5 + 5


def test_the_papers_blocks_have_the_sizes_of_its_tables():
    """LSTM 256-512-256 on 40 inputs: 2.67M parameters (Table 1: 2.7M), biases and classifier aside."""
    model = build_model(spell("lstm:units=256/lstm:units=512/lstm:units=256", BLOCK_TYPES), 40, 12, 0)
    weights = sum(p.numel() for name, p in model.blocks.named_parameters() if "weight" in name)
    assert weights == 4 * (256 * (40 + 256) + 512 * (256 + 512) + 256 * (512 + 256))
    assert round(weights / 1e6, 2) == 2.66
