"""Training and evaluation of one model by one group.

Shape letters: ``N`` examples, ``F`` bands, ``T`` frames, ``K`` classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from hpcnas.core.errors import TrialError
from hpcnas.nn.augmentation import AugmentationConfig, augment, mask, mix_up
from hpcnas.nn.averaging import Average
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.nn.group import Group
from hpcnas.nn.losses import LabelLoss, Objective
from hpcnas.nn.model import seeded
from hpcnas.nn.placing import moved
from hpcnas.nn.quantisation import AsInt8
from hpcnas.nn.recipe import TrainingConfig


@dataclass
class Trainer:
    """Trains models on a corpus with the ranks of a group.

    Args:
        corpus: placed for models on ``device``, see ``Corpus.on``.
        group_size: ranks that a group has by plan. One with fewer trains alike: each rank takes a larger share of the batch.
    """

    corpus: Corpus
    group: Group
    config: TrainingConfig
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    group_size: int = 1

    def with_settings(self, config: TrainingConfig, augmentation: AugmentationConfig) -> Trainer:
        """The same, training in another way."""
        return replace(self, config=config, augmentation=augmentation)

    @property
    def own_batch(self) -> int:
        """Examples of each rank's batch."""
        return math.ceil(self.config.batch_size * self.group_size / self.group.size)

    @property
    def epoch_examples(self) -> int:
        return min(self.config.epoch_examples or len(self.corpus.train), len(self.corpus.train))

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.epoch_examples / (self.own_batch * self.group.size))

    def optimizer_for(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser that ``train`` is to use, of what of the model is to learn; moves the model to the device."""
        model.to(self.device)
        return self.group.wrap(self.config.make_optimizer([p for p in model.parameters() if p.requires_grad]), model)

    def average_of(self, model: nn.Module) -> Average:
        """What ``train`` averages the weights in; ``optimizer_for`` was called before."""
        return Average(model, self.config.averaging * self.config.epochs * self.steps_per_epoch)

    def train(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        seed: int,
        done: int = 0,
        objective: Objective | None = None,
        average: Average | None = None,
    ) -> Iterator[int]:
        """Train for all epochs but the first ``done``, yielding the number of steps behind after each; raises TrialError, on
        all ranks alike, on a loss that is not finite on any of them.

        The model must be equal on all ranks. Shuffling is by ``seed`` and pass over the corpus, dropout and augmentation by
        seed, epoch and rank. ``objective``: the loss, of the labels alone if it is not given. ``average`` follows every step.
        """
        config, group = self.config, self.group
        objective = objective or LabelLoss(config.label_smoothing)
        model.train()
        steps = config.epochs * self.steps_per_epoch
        step = done * self.steps_per_epoch
        as_it_runs = AsInt8(model) if config.quantised else nullcontext()
        for epoch in range(done, config.epochs):
            own_seed, augmentation_seed = np.random.SeedSequence([seed, group.rank, epoch]).generate_state(2)
            augmentation = torch.Generator().manual_seed(int(augmentation_seed))
            total = torch.zeros((), device=self.device)
            # The global generator (dropout) is seeded anew each epoch, so that whoever runs between epochs cannot matter.
            with seeded(int(own_seed)):
                for rows in self._batches(seed, epoch):
                    optimizer.param_groups[0]["lr"] = config.rate(step / steps, self.group_size)
                    features, lengths, targets = self._training_batch(rows, augmentation)
                    optimizer.zero_grad()
                    with as_it_runs:
                        with self._in_fewer_bits():
                            logits = model(features, lengths)
                        loss = objective(logits.float(), features, lengths, targets)
                        loss.backward()
                    group.step(optimizer, model, config.clip)
                    if average is not None:
                        average.follow()
                    total += loss.detach()
                    step += 1
            if not np.isfinite(group.sum(total.double().cpu().numpy().reshape(1))).all():
                raise TrialError(f"loss not finite in epoch {epoch + 1}")
            yield step

    def evaluate(self, model: nn.Module, split: Split, batch_size: int = 256, quantised: bool = False) -> np.ndarray:
        """(N, K) logits of a whole split on every rank, each example computed by one rank only; of longer recordings the mean
        over windows that cover them.

        Running statistics differ between ranks; the leader's hold for all. ``quantised``: as in 8-bit integers.
        """
        self.group.share(model)
        logits = np.zeros((len(split), len(self.corpus.class_names)), np.float32)
        of_windows = [torch.zeros(0, len(self.corpus.class_names), device=self.device)]
        own = np.arange(self.group.rank, len(split), self.group.size)
        rows, offsets = split.covering(own, self.corpus.window)
        was_training = model.training
        model.eval()
        with torch.no_grad(), AsInt8(model) if quantised else nullcontext():
            for start in range(0, len(rows), batch_size):
                batch = slice(start, start + batch_size)
                windows = split.windows(rows[batch], offsets[batch], self.corpus.window)
                lengths = split.real_frames(rows[batch], offsets[batch], self.corpus.window)
                features = self.corpus.front_end(windows, lengths).contiguous()
                self.group.beat()
                of_windows.append(model(features, lengths).float())
        model.train(was_training)
        np.add.at(logits, rows, torch.cat(of_windows).cpu().numpy())  # once: the host waits for the device here
        logits[own] /= np.bincount(rows, minlength=len(split))[own, None]
        return self.group.sum(logits)

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        """Rows of one epoch: the next ones of pass after pass over the corpus, each in an order of its own."""
        begun, at = divmod(epoch * self.epoch_examples, len(self.corpus.train))
        passes = [np.random.default_rng([seed, begun]).permutation(len(self.corpus.train))[at:]]
        if len(passes[0]) < self.epoch_examples:
            passes.append(np.random.default_rng([seed, begun + 1]).permutation(len(self.corpus.train)))
        return np.concatenate(passes)[: self.epoch_examples]

    def _batches(self, seed: int, epoch: int) -> Iterator[np.ndarray]:
        """This rank's batches of one epoch: as many and as large on every rank, the order's start filling up the end."""
        size = self.group.size
        order = self._order(seed, epoch)
        padded = np.resize(order, math.ceil(len(order) / size) * size)
        own = padded[self.group.rank :: size]
        for start in range(0, len(own), self.own_batch):
            yield np.sort(own[start : start + self.own_batch])

    def _in_fewer_bits(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16) if self.config.mixed_precision else nullcontext()

    def _training_batch(self, rows: np.ndarray, rng: torch.Generator) -> tuple[Tensor, Tensor | None, Tensor]:
        """Varied features, how many frames of them are real, and their classes or, mixed up, shares of classes; of longer
        recordings a random window, and of those in several copies a random one."""
        train, window = self.corpus.train, self.corpus.window
        spare = train.lengths[rows] - window
        offsets = (torch.rand(len(rows), generator=rng).numpy() * (spare + 1)).astype(np.int64) if spare.any() else 0 * rows
        copies = torch.randint(train.times, (len(rows),), generator=rng).numpy() if train.times > 1 else None
        windows, lengths = train.windows(rows, offsets, window, copies), train.real_frames(rows, offsets, window)
        log_mel, lengths = augment(windows, self.corpus.noise, self.augmentation, rng, lengths)
        features = mask(self.corpus.front_end(log_mel, lengths), self.augmentation, rng, lengths)
        targets = moved(train.labels[rows], self.device)
        if self.augmentation.mixup:
            classes = len(self.corpus.class_names)
            features, lengths, targets = mix_up(features, lengths, targets, classes, self.augmentation.mixup, rng)
        return features, lengths, targets
