"""What lies behind the end of a recording changes neither what is said of it nor what is learnt from it: for every block, head
and loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training import CORPUS, OFF
from torch import Tensor, nn

from hpcnas.core.space import spell
from hpcnas.nn.augmentation import AugmentationConfig, augment, mask, mix_up
from hpcnas.nn.blocks import BLOCK_TYPES, BLOCKS
from hpcnas.nn.corpus import Split, sampled
from hpcnas.nn.front_end import FrontEndConfig, fitted
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.heads import HEADS
from hpcnas.nn.losses import LOSSES, Distillation, DistillationConfig, LabelLoss, Objective, TeamLoss
from hpcnas.nn.masking import Mask, masking
from hpcnas.nn.model import Model, Surroundings, build_model
from hpcnas.nn.normalisation import BatchNorm1d, BatchNorm2d
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.nn.training import Trainer

BANDS, FRAMES = 10, 24
LENGTHS = torch.tensor([13, 24, 17, 6])
LABELS = torch.tensor([0, 1, 2, 1])


def build(text: str, head: str = "mean", causal: bool = False) -> Model:
    model = build_model(spell(text, BLOCK_TYPES), Surroundings(BANDS, 3, head=head, causal=causal), 0)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():  # statistics as after training, so that zeros do not stay zeros
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean += torch.rand(module.running_mean.shape, generator=generator)
            module.bias.data += torch.rand(module.bias.shape, generator=generator)
    return model.eval()


def towers() -> list[tuple[str, str, bool]]:
    """Every kind of block, with settings that reach over many frames and strides where it has any: alone, behind and before
    others; each head."""
    rng = np.random.default_rng(0)
    given = []
    for kind in BLOCKS:
        for before, causal in (("", False), ("conv:channels=4,kernel=3,stride=2/", False), ("gru:units=6/", True)):
            if not causal or BLOCK_TYPES[kind].causal:
                blocks = sorted({str(BLOCK_TYPES[kind].sample(rng)) for _ in range(40)})
                block = max(blocks, key=lambda text: ("stride=2" in text) + ("se=1" in text))
                given.append((f"{before}{block}/conv1d:channels=6,kernel=3,stride=2", "mean", causal))
    return given + [("tdnn:channels=6,kernel=3", head, False) for head in HEADS]


def padded(x: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """With noise behind each end, in ``frames`` in all."""
    noise = 5 * torch.randn(*x.shape[:-1], frames, generator=torch.Generator().manual_seed(frames))
    real = Mask(lengths, frames).real(noise)
    return torch.where(real, torch.cat([x, noise[..., x.shape[-1] :]], -1), noise)


def speech(examples: int = len(LENGTHS)) -> Tensor:
    return 3 * torch.randn(examples, BANDS, FRAMES, generator=torch.Generator().manual_seed(1)) - 1


@pytest.mark.parametrize(("tower", "head", "causal"), towers())
def test_a_recording_in_a_padded_batch_is_heard_as_it_is_alone(tower, head, causal):
    model, x = build(tower, head, causal), speech()
    with torch.no_grad():
        alone = torch.cat([model(x[i : i + 1, :, :length]) for i, length in enumerate(LENGTHS)])
        for frames in (FRAMES, 3 * FRAMES + 1):
            together = model(padded(x, LENGTHS, frames), LENGTHS)
            torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
        if tower != "identity":
            assert not torch.allclose(model(padded(x, LENGTHS, FRAMES)), alone, atol=1e-4), "without lengths padding is heard"
    assert all(module.mask is None for module in model.modules() if hasattr(module, "mask"))


def learnt(model: Model, x: Tensor, lengths: Tensor | None, objective: Objective | None = None) -> dict[str, Tensor]:
    """Everything that one step of training depends on or leaves behind."""
    model.train()
    logits = model(x, lengths)
    loss = (objective or LabelLoss(0.1))(logits, x, lengths, LABELS)
    loss.backward()
    return {
        "logits": logits.detach(),
        "loss": loss.detach(),
        **{f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()},
        **{name: buffer.float() for name, buffer in model.named_buffers()},
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-4, rtol=1e-3, msg=lambda text: f"{name}: {text}")  # noqa: B023


@pytest.mark.parametrize(("tower", "head", "causal"), towers())
def test_padding_teaches_nothing(tower, head, causal):
    x = speech()
    least = learnt(build(tower, head, causal), padded(x, LENGTHS, FRAMES), LENGTHS)
    for frames in (FRAMES + 1, 3 * FRAMES):
        same(learnt(build(tower, head, causal), padded(x, LENGTHS, frames), LENGTHS), least)
    # Recordings of one length need no padding: what torch's own layers then learn is the measure.
    unpadded, short = x[..., :13], torch.full((len(x),), 13)
    bare = learnt(build(tower, head, causal), unpadded, None)
    same(learnt(build(tower, head, causal), padded(unpadded, short, FRAMES), short), bare)


@pytest.mark.parametrize("objective", [LabelLoss, TeamLoss, *LOSSES])
def test_no_loss_hears_padding(objective):
    model = build("conv1d:channels=6,kernel=3,stride=2", "statistics")
    others = [build(f"tdnn:channels={channels},kernel=3") for channels in (4, 8)]
    made = {
        LabelLoss: lambda: LabelLoss(0.1),
        TeamLoss: lambda: TeamLoss(others, 0.1),
    }.get(objective, lambda: Distillation([(0.5, other) for other in others], DistillationConfig(loss=objective)))()
    losses = [made(model(y, LENGTHS), y, LENGTHS, LABELS) for y in (padded(speech(), LENGTHS, n) for n in (FRAMES, 4 * FRAMES))]
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("bands", [None, 5])
def test_batch_norm_takes_the_moments_of_real_frames_as_torch_does(bands):
    layer, torchs = (BatchNorm1d(3), nn.BatchNorm1d(3)) if bands is None else (BatchNorm2d(3), nn.BatchNorm2d(3))
    x = 2 + torch.randn(len(LENGTHS), 3, *([] if bands is None else [bands]), 4 * FRAMES)
    mask = Mask(LENGTHS, x.shape[-1])
    real = torch.cat([example[..., :length] for example, length in zip(x, LENGTHS)], -1).unsqueeze(0)
    with masking(layer, mask):
        out, expected = layer(x), torchs(real)
    out = torch.cat([example[..., :length] for example, length in zip(out, LENGTHS)], -1).unsqueeze(0)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)
    for name, buffer in torchs.named_buffers():
        torch.testing.assert_close(layer.get_buffer(name), buffer, atol=1e-6, rtol=1e-5)
    torchs.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), torchs(x)) and torch.equal(layer.running_var, torchs.running_var), "without a mask: torch's"


@pytest.mark.parametrize("lengths", [None, torch.tensor([1])])
def test_a_single_frame_which_has_no_variance_is_normalised_by_the_running_one(lengths):
    model = build("dense:units=8")
    x = torch.randn(1, BANDS, 1 if lengths is None else 9)
    expected = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits = model.train()(x, lengths)
    torch.testing.assert_close(logits, model.eval()(x, lengths))
    assert all(torch.equal(buffer, expected[name]) for name, buffer in model.named_buffers())


@pytest.mark.parametrize("length", range(1, 25))
def test_a_recording_keeps_as_many_frames_behind_strides_as_it_would_have_alone(length):
    mask, frames, alone = Mask(torch.tensor([length]), FRAMES), FRAMES, length
    for hop in (2, 3, 1, 2):
        mask.stride(frames, hop)
        frames, alone = -(-frames // hop), -(-alone // hop)
        assert mask.lengths(frames).tolist() == [alone]


def test_windows_tell_how_much_of_them_is_real():
    frames = np.zeros((70, 2), np.float16)
    split = Split(frames, np.array([0, 20]), np.array([20, 50]), np.array([13, 50]), np.zeros(2, int))
    rows, offsets = np.array([0, 1, 1]), np.array([0, 0, 30])
    assert split.real_frames(rows, offsets, 20).tolist() == [13, 20, 20]
    assert split.real_frames(rows[1:], offsets[1:], 20) is None


def short_corpus(window: int):
    """The recordings of test_training's corpus cut to 6 to 20 frames, in windows that silence fills up."""
    rng = np.random.default_rng(3)

    def split(whole: Split) -> Split:
        spoken = rng.integers(6, 21, len(whole))
        frames = np.full((len(whole), window, CORPUS.bands), -16, np.float16)
        for i, length in enumerate(spoken):
            frames[i, :length] = whole.frames[20 * i : 20 * i + length]
        every = np.full(len(whole), window)
        return Split(frames.reshape(-1, CORPUS.bands), window * np.arange(len(whole)), every, spoken, whole.labels)

    train = split(CORPUS.train)
    front_end = fitted(FrontEndConfig(), *sampled(train, window))
    return replace(CORPUS, train=train, validation=split(CORPUS.validation), window=window, front_end=front_end)


def test_a_longer_window_of_silence_changes_nothing_in_a_whole_training():
    outcomes = []
    for window in (20, 70):
        corpus = short_corpus(window)
        trainer = Trainer(corpus, SoloGroup(), TrainingConfig(epochs=2, batch_size=8), OFF)
        tower = spell("conv:channels=4,kernel=3,stride=2/avg_pool:size=2/dense:units=8", BLOCK_TYPES)
        model = build_model(tower, Surroundings(corpus.bands, 3), 1)
        list(trainer.train(model, trainer.optimizer_for(model), 1))
        outcomes.append(trainer.evaluate(model, corpus.validation))
    np.testing.assert_allclose(*outcomes, atol=5e-3)


def test_noise_is_as_loud_beside_speech_as_drawn_however_much_silence_pads_it():
    config = replace(OFF, noise_probability=1.0, snr_db=(10.0, 10.0))
    x, lengths = torch.full((4, 9, 80), -30.0), torch.tensor([20, 20, 7, 80])
    x.masked_fill_(Mask(lengths, 80).real(x), 0.0)
    noisy, _ = augment(x, torch.full((2, 9, 90), -3.0), config, torch.Generator().manual_seed(0), lengths)
    for example, length in zip(noisy, lengths):
        torch.testing.assert_close(example[:, :length], torch.full((9, int(length)), float(np.log(1 + 0.1))))


def test_masks_fall_on_what_is_spoken():
    config = AugmentationConfig(frequency_masks=0, time_masks=1, time_mask_width=5)
    lengths = torch.tensor([3, 10, 40] * 200)
    masked = mask(torch.ones(600, 9, 40), config, torch.Generator().manual_seed(0), lengths)[:, 0] == 0
    assert not (masked & (torch.arange(40) >= lengths.unsqueeze(1))).any()
    assert (masked.any(1).float().view(200, 3).mean(0) > 0.7).all()


def test_two_recordings_mixed_are_as_long_as_the_longer_one():
    x, lengths = speech(), LENGTHS
    mixed, longer, _ = mix_up(x, lengths, LABELS, 3, 0.4, torch.Generator().manual_seed(0))
    other = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    assert longer.tolist() == [max(a, b) for a, b in zip(lengths.tolist(), lengths[other].tolist())] and mixed.shape == x.shape
