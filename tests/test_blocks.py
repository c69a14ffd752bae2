"""What every block must do, run over the block table."""

import numpy as np
import pytest
import torch

from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import ArchitectureError
from hpcnas.core.space import spell
from hpcnas.nn.blocks import BLOCK_TYPES, BLOCKS
from hpcnas.nn.cost import CostTable, measure, parts
from hpcnas.nn.heads import HEADS
from hpcnas.nn.model import Model, Surroundings, build_model

BANDS, FRAMES, CLASSES = 10, 30, 5


def build(text: str, seed: int = 0, **around):
    return build_model(spell(text, BLOCK_TYPES), Surroundings(BANDS, CLASSES, **around), seed)


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


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_tower_costs_what_its_parts_cost(kind, head):
    rng = np.random.default_rng(1)
    around = Surroundings(BANDS, CLASSES, tail=spell("svdf:filters=4,memory=4", BLOCK_TYPES).blocks, head=head)
    table = CostTable(around, FRAMES)
    for before in ("conv:channels=4,kernel=3,stride=2/", "gru:units=6/", "max_pool:size=2/"):
        tower = spell(f"{before}{BLOCK_TYPES[kind].sample(rng)}/{BLOCK_TYPES[kind].sample(rng)}", BLOCK_TYPES)
        assert table.measure(tower) == measure(build_model(tower, around, 0), BANDS, FRAMES)


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
        "conv1d:channels=10,stride=1",
        "bottleneck",
        "mbconv:channels=4,stride=1",
        "tenet:channels=10,stride=1",
        "mbconv1d:channels=10,stride=1",
        "bcres:channels=4,stride=1",
        "res2d:channels=4,stride=1",
        "matchbox:channels=10",
        "attention:dim=10,heads=2",
    ],
)
def test_blocks_that_can_start_as_the_identity_do(text):
    block = spell(text, BLOCK_TYPES).blocks[0]
    plane = BLOCK_TYPES[block.kind].layout == "plane"
    x = torch.rand(2, 4, BANDS, FRAMES) if plane else torch.rand(2, BANDS, FRAMES)
    module = BLOCKS[block.kind].build(dict(block.settings), tuple(x.shape[1:-1]), False).eval()
    assert not torch.allclose(module(x), x)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    module.near_identity()
    torch.testing.assert_close(module(x), x, rtol=1e-5, atol=1e-4)  # a norm adds 1e-5 to the variance
    module(x).square().sum().backward()
    changed = [now for was, now in zip(before, module.parameters()) if not torch.equal(was, now)]
    assert any(parameter.grad.any() for parameter in changed), "and can become something else"


CAUSAL = [kind for kind in BLOCKS if BLOCK_TYPES[kind].causal]


def with_used_statistics(model: Model) -> Model:
    """Batch norms with running statistics and scales as after training."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if "running" in name or "norm" in name:
            tensor.copy_(tensor + 0.3 * torch.rand(tensor.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize("pieces", [[1] * FRAMES, [7, 1, 4, FRAMES - 12], [0, 3, FRAMES - 3]], ids=["frames", "pieces", "none"])
@pytest.mark.parametrize(
    "before", ["", "conv:channels=4,kernel=3,stride=2/", "gru:units=6/"], ids=["input", "plane", "sequence"]
)
@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_model_fed_frame_by_frame_gives_what_the_whole_gives(kind, before, pieces):
    rng = np.random.default_rng(1)
    x = torch.randn(2, BANDS, FRAMES)
    for block in {BLOCK_TYPES[kind].sample(rng) for _ in range(4)}:
        model = with_used_statistics(build(f"{before}{block}/tdnn:channels=6", causal=True))
        state = None
        with torch.no_grad():
            for piece in x.split(pieces, -1):
                logits, state = model.stream(piece, state)
            torch.testing.assert_close(logits, model(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_can_be_fed_frame_by_frame(head):
    model = with_used_statistics(build("conv1d:channels=8,stride=2", causal=True, head=head))
    x, state = torch.randn(2, BANDS, FRAMES), None
    with torch.no_grad():
        for frame in x.split(1, -1):
            logits, state = model.stream(frame, state)
        torch.testing.assert_close(logits, model(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_block_does_not_look_ahead_and_others_are_refused(kind):
    rng = np.random.default_rng(2)
    x = torch.randn(1, BANDS, FRAMES)
    later = x.clone()
    later[..., 20:] += 1
    for block in {BLOCK_TYPES[kind].sample(rng) for _ in range(4)}:
        tower = with_used_statistics(build(str(block), causal=True)).blocks[0]
        frames = tower(x[..., :20]).shape[-1]
        torch.testing.assert_close(tower(x)[..., :frames], tower(later)[..., :frames], atol=1e-5, rtol=1e-4)


def test_blocks_that_look_ahead_are_refused_in_a_causal_model():
    for kind in BLOCKS.keys() - set(CAUSAL):
        with pytest.raises(ArchitectureError, match="not causal"):
            build(kind, causal=True)


def test_the_tail_stands_behind_every_tower_and_is_counted():
    tail = spell("svdf:filters=32,memory=32/svdf:filters=32,memory=32", BLOCK_TYPES).blocks
    with_tail, without = build("gru:units=6", tail=tail), build("gru:units=6")
    assert len(with_tail.tail) == 2 and len(with_tail.blocks) == 1
    added = 32 * (6 + 32 + 2) + 32 * (32 + 32 + 2) + 5 * (32 - 6)
    assert measure(with_tail, BANDS, FRAMES).params - measure(without, BANDS, FRAMES).params == added


def test_one_seed_gives_one_model_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, second, other = build("gru:units=8", 1), build("gru:units=8", 1), build("gru:units=8", 2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


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
    model = build_model(spell("lstm:units=256/lstm:units=512/lstm:units=256", BLOCK_TYPES), Surroundings(40, 12), 0)
    weights = sum(p.numel() for name, p in model.blocks.named_parameters() if "weight" in name)
    assert weights == 4 * (256 * (40 + 256) + 512 * (256 + 512) + 256 * (512 + 256))
    assert round(weights / 1e6, 2) == 2.66


@pytest.mark.parametrize("text", ["conv:channels=4,kernel=3,stride=2/gru:units=6/attention:dim=8", "dense:units=8"])
def test_what_the_parts_cost_adds_up_to_the_whole(text):
    model = build(text, tail=spell("svdf:filters=8", BLOCK_TYPES).blocks, head="attentive")
    whole, found = measure(model, BANDS, FRAMES), parts(model, BANDS, FRAMES)
    assert [part.name for part in found][-3:] == ["tail.0", "head", "classifier"]
    for name in ("params", "macs", "activations"):
        assert sum(getattr(part.cost, name) for part in found) == getattr(whole, name) > 0
    assert found[-1].shape == (CLASSES,) and found[0].shape[-1] in (FRAMES, FRAMES // 2)
