from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from hpcnas.core import metrics
from hpcnas.core.errors import ConfigError, TrialError
from hpcnas.core.space import spell
from hpcnas.core.tuning import OF_AUGMENTATION
from hpcnas.nn.augmentation import AugmentationConfig, mask, mix_up
from hpcnas.nn.augmentation import augment as augment_with_lengths
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Corpus, Split, sampled
from hpcnas.nn.front_end import FrontEndConfig, fitted
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.losses import LabelLoss
from hpcnas.nn.model import Surroundings, build_model
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.nn.training import Trainer

OFF = AugmentationConfig(shift=0, tempo=0, warp=0, noise_probability=0, frequency_masks=0, time_masks=0)


def made_up_corpus(n: int = 60) -> Corpus:
    """Three classes that differ in which bands are loud."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = np.arange(count) % 3
        features = rng.standard_normal((count, 9, 20)) - 8
        for i, label in enumerate(labels):
            features[i, 3 * label : 3 * label + 3] += 2
        frames = features.transpose(0, 2, 1).reshape(-1, 9).astype(np.float16)
        twenty = np.full(count, 20)
        return Split(frames, 20 * np.arange(count), twenty, twenty, labels.astype(np.int64))

    train = split(n)
    front_end = fitted(FrontEndConfig(), *sampled(train, 20))
    noise = torch.from_numpy(rng.standard_normal((2, 9, 50)).astype(np.float32))
    return Corpus(train, split(31), split(17), 20, noise, front_end, ("a", "b", "c"))


CORPUS = made_up_corpus()


def trained(epochs: int = 5, seed: int = 1, augmentation: AugmentationConfig = OFF, **config):
    trainer = Trainer(CORPUS, SoloGroup(), TrainingConfig(epochs=epochs, batch_size=8, **config), augmentation)
    model = build_model(spell("dense:units=8", BLOCK_TYPES), Surroundings(CORPUS.bands, 3, dropout=0.2), seed)
    steps = list(trainer.train(model, trainer.optimizer_for(model), seed))
    return trainer, model, steps


def test_training_in_bfloat16_learns_as_well():
    plain, fewer = (trained(epochs=20, mixed_precision=mixed) for mixed in (False, True))
    logits = [trainer.evaluate(model, CORPUS.validation) for trainer, model, _ in (plain, fewer)]
    assert metrics.accuracy(logits[1], CORPUS.validation.labels) > 0.9
    assert 1e-4 < np.abs(logits[0] - logits[1]).max() < 0.5, "other roundings, and little else"


def test_training_learns_what_can_be_learned():
    trainer, model, steps = trained(epochs=20)
    logits = trainer.evaluate(model, CORPUS.validation)
    assert metrics.accuracy(logits, CORPUS.validation.labels) > 0.9
    assert steps == list(range(8, 161, 8)) and trainer.steps_per_epoch == 8


def test_one_seed_gives_one_result_whatever_happens_between_epochs():
    def weights(disturb: bool) -> torch.Tensor:
        trainer = Trainer(CORPUS, SoloGroup(), TrainingConfig(epochs=2, batch_size=8, dropout=0.2))
        model = build_model(spell("dense:units=8", BLOCK_TYPES), Surroundings(CORPUS.bands, 3, dropout=0.2), 1)
        for _ in trainer.train(model, trainer.optimizer_for(model), 1):
            if disturb:
                torch.rand(100)
                trainer.evaluate(model, CORPUS.test)
        return model.classifier.weight

    assert torch.equal(weights(False), weights(True))


def test_other_seeds_give_other_shuffles():
    assert not torch.equal(trained(1, seed=1)[1].classifier.weight, trained(1, seed=2)[1].classifier.weight)


def test_a_loss_that_is_not_finite_fails_the_trial():
    with pytest.raises(TrialError, match="loss not finite in epoch 1"):
        trained(learning_rate=1e30, clip=0.0, warmup=0.0)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_loss_that_is_not_finite_on_one_rank_fails_the_trial_on_all(rank):
    class OneIsLost(SoloGroup):
        """Sums as a group does in which the second of two ranks has a loss that is no number."""

        size = 2

        def sum(self, array: np.ndarray) -> np.ndarray:
            return array + (np.nan if rank == 0 else 1.0)

    group = OneIsLost()
    group.rank = rank

    class Loss(LabelLoss):
        def __call__(self, *given) -> torch.Tensor:
            return super().__call__(*given) * (float("nan") if rank == 1 else 1.0)

    trainer = Trainer(CORPUS, group, TrainingConfig(epochs=2, batch_size=8), OFF)
    model = build_model(spell("dense:units=8", BLOCK_TYPES), Surroundings(CORPUS.bands, 3), 0)
    with pytest.raises(TrialError, match="loss not finite in epoch 1"):
        list(trainer.train(model, trainer.optimizer_for(model), 0, objective=Loss()))


class FakeGroup(SoloGroup):
    """One rank of several that train nothing: only sharding and sums are looked at."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_example_is_evaluated_by_exactly_one_rank(size):
    model = build_model(spell("dense:units=8", BLOCK_TYPES), Surroundings(CORPUS.bands, 3), 0)
    whole = Trainer(CORPUS, SoloGroup(), TrainingConfig()).evaluate(model, CORPUS.validation)
    parts = [Trainer(CORPUS, FakeGroup(r, size), TrainingConfig()).evaluate(model, CORPUS.validation) for r in range(size)]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-5, atol=1e-6)
    assert ((np.stack(parts) != 0).any(-1).sum(0) == 1).all()


def test_a_part_of_a_split_is_spread_over_all_of_it():
    labels = np.repeat(np.arange(4), 5)
    split = Split(np.zeros((20, 2)), np.arange(20), np.ones(20, int), np.ones(20, int), labels, rows=np.arange(20) + 100)
    part = split.spread(8)
    assert np.bincount(part.labels).tolist() == [2, 2, 2, 2] and (part.rows == part.starts + 100).all()
    assert (part.rows == np.sort(part.rows)).all() and part.copies is None
    assert split.spread(0) is split.spread(20) is split.spread(99) is split


def test_evaluation_leaves_a_model_in_the_mode_it_was_in():
    model = build_model(spell("dense:units=8", BLOCK_TYPES), Surroundings(CORPUS.bands, 3), 0)
    for training in (True, False):
        Trainer(CORPUS, SoloGroup(), TrainingConfig()).evaluate(model.train(training), CORPUS.test)
        assert model.training is training


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ranks_of_a_group_see_all_examples_in_as_many_batches(size):
    trainers = [Trainer(CORPUS, FakeGroup(r, size), TrainingConfig(batch_size=4)) for r in range(size)]
    batches = [list(t._batches(0, 0)) for t in trainers]
    assert {len(b) for b in batches} == {trainers[0].steps_per_epoch}
    assert len({tuple(len(rows) for rows in b) for b in batches}) == 1, "the same sizes on every rank"
    assert {row for b in batches for rows in b for row in rows.tolist()} == set(range(len(CORPUS.train.labels)))


def test_epochs_of_a_part_of_the_corpus_follow_each_other_through_it():
    trainer = Trainer(CORPUS, SoloGroup(), TrainingConfig(batch_size=8, epoch_examples=25))
    rows = np.concatenate([rows for epoch in range(12) for rows in trainer._batches(0, epoch)])
    passes = np.concatenate([trainer._order(0, epoch) for epoch in range(12)]).reshape(5, 60)
    assert trainer.steps_per_epoch == 4 and len(rows) == 5 * 60
    assert all(sorted(row) == list(range(60)) for row in passes.tolist()) and len({tuple(row) for row in passes.tolist()}) == 5
    whole = Trainer(CORPUS, SoloGroup(), TrainingConfig(batch_size=8, epoch_examples=1000))
    assert whole.steps_per_epoch == 8 and (whole._order(0, 1) == np.random.default_rng([0, 1]).permutation(60)).all()


@pytest.mark.parametrize(("schedule", "end"), [("cosine", 0.0), ("exponential", 0.01), ("step", 0.01), ("constant", 1.0)])
def test_schedules_rise_to_the_peak_and_fall_to_their_end(schedule, end):
    config = TrainingConfig(schedule=schedule, warmup=0.1, learning_rate=1.0)
    rates = [config.rate(done, 1) for done in np.linspace(0, 1, 101)]
    assert rates[0] < 0.02 and max(rates) == 1.0 and rates[-1] == pytest.approx(end, abs=1e-6)
    assert all(a >= b - 1e-9 for a, b in pairwise(rates[10:]))


def test_larger_groups_learn_faster_by_the_optimisers_own_rule():
    assert TrainingConfig(learning_rate=1.0).peak_rate(4) == 2.0
    assert TrainingConfig(learning_rate=1.0, optimizer="sgd").peak_rate(4) == 4.0


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_every_optimizer_learns_with_examples_mixed_up(optimizer):
    model = build_model(spell("dense:units=8", BLOCK_TYPES), Surroundings(CORPUS.bands, 3), 0)
    config = TrainingConfig(epochs=6, batch_size=8, optimizer=optimizer, weight_decay=0.0)
    trainer = Trainer(CORPUS, SoloGroup(), config, AugmentationConfig(mixup=0.4))
    before = metrics.accuracy(trainer.evaluate(model, CORPUS.train), CORPUS.train.labels)
    list(trainer.train(model, trainer.optimizer_for(model), seed=0))
    assert metrics.accuracy(trainer.evaluate(model, CORPUS.train), CORPUS.train.labels) > max(0.6, before)


def test_mixing_up_keeps_shares_of_classes_that_sum_to_one():
    x, labels = torch.randn(16, 4, 5), torch.arange(16) % 3
    mixed, lengths, targets = mix_up(x, None, labels, 3, 0.4, torch.Generator().manual_seed(0))
    assert lengths is None
    assert mixed.shape == x.shape and torch.allclose(targets.sum(1), torch.ones(16))
    assert (targets.gather(1, labels.unsqueeze(1)) >= 0.6).all()


def batch() -> torch.Tensor:
    return torch.randn(4, 9, 20, generator=torch.Generator().manual_seed(0))


def augment(*arguments) -> torch.Tensor:
    return augment_with_lengths(*arguments)[0]


def test_augmentation_switched_off_changes_nothing():
    x = batch()
    assert torch.equal(augment(x, torch.randn(2, 9, 50), OFF, torch.Generator()), x)
    assert torch.equal(mask(x, OFF, torch.Generator()), x)


def test_augmentation_repeats_for_a_seed():
    x, noise, config = batch(), torch.randn(2, 9, 50, generator=torch.Generator().manual_seed(1)), AugmentationConfig()
    first, second, other = (augment(x, noise, config, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other) and first.shape == x.shape


def test_noise_is_added_in_power_at_the_drawn_ratio():
    config = AugmentationConfig(shift=0, tempo=0, warp=0, noise_probability=1, snr_db=(10.0, 10.0))
    x, noise = torch.zeros(4, 9, 20), torch.full((2, 9, 50), -3.0)
    noisy = augment(x, noise, config, torch.Generator().manual_seed(0))
    torch.testing.assert_close(noisy, torch.full_like(x, float(np.log(1 + 0.1))))


def test_volume_is_varied_as_a_whole_within_its_limit():
    config = AugmentationConfig(shift=0, tempo=0, warp=0, noise_probability=0, volume_db=10.0)
    change = augment(batch(), torch.zeros(0, 9, 50), config, torch.Generator().manual_seed(0)) - batch()
    torch.testing.assert_close(change, change[:, :1, :1].expand_as(change))
    assert 0 < change.abs().max() <= np.log(10) and len(change[:, 0, 0].unique()) == 4


def test_a_shift_moves_the_signal_and_repeats_the_edge():
    config = AugmentationConfig(shift=0.25, tempo=0, warp=0, noise_probability=0)
    x = torch.arange(20.0).expand(4, 9, 20)
    shifted = augment(x, torch.zeros(0, 9, 50), config, torch.Generator().manual_seed(0))
    inner = shifted[..., 6:14]
    torch.testing.assert_close(inner.diff(dim=-1), torch.ones(4, 9, 7))
    assert (inner - x[..., 6:14]).abs().max() <= 0.25 * 20 and shifted.min() >= 0 and shifted.max() <= 19


def test_the_ends_of_shorter_recordings_move_with_them():
    config = AugmentationConfig(shift=0.2, tempo=0.2, warp=0, noise_probability=0)
    lengths = torch.tensor([9, 60, 100] * 50)
    steps = (torch.arange(100) < lengths.unsqueeze(1)).float().unsqueeze(1).expand(-1, 9, -1)  # 1 while it is spoken, then 0
    moved, ends = augment_with_lengths(steps, torch.zeros(0, 9, 50), config, torch.Generator().manual_seed(0), lengths)
    assert (ends[lengths == 100] == 100).all(), "the edge of a full window is repeated"
    short = lengths < 100
    last = (moved[short, 0] >= 1 - 1e-4).sum(1)
    assert (last.clamp(min=1) - ends[short]).abs().max() <= 1 and len(ends[lengths == 60].unique()) > 10


def test_masks_have_the_configured_width_at_most():
    config = AugmentationConfig(frequency_masks=1, frequency_mask_width=3, time_masks=1, time_mask_width=5)
    masked = mask(torch.ones(200, 9, 20), config, torch.Generator().manual_seed(0)) == 0
    assert masked.all(2).sum(1).max() == 3 and masked.all(1).sum(1).max() == 5


def test_every_setting_that_can_be_tuned_is_one_of_augmentation():
    varied = replace(OFF, frequency_masks=1, time_masks=1, **dict.fromkeys(OF_AUGMENTATION, 0.5))
    x, noise = batch(), torch.randn(2, 9, 50, generator=torch.Generator().manual_seed(1))
    assert torch.isfinite(mask(augment(x, noise, varied, torch.Generator().manual_seed(0)), varied, torch.Generator())).all()
    many = mask(torch.ones(400, 9, 20), replace(varied, time_masks=0), torch.Generator().manual_seed(0)) == 0
    assert 0.2 < many.all(2).any(1).float().mean() < 0.45, "half a band: one mask in three"


@pytest.mark.parametrize("change", [{"epochs": 0}, {"learning_rate": 0.0}, {"dropout": 1.0}, {"batch_size": -1}])
def test_training_settings_that_cannot_work_are_refused(change):
    with pytest.raises(ConfigError, match=f"training.{next(iter(change))}"):
        TrainingConfig(**change)
