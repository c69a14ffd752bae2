"""One step is the same wherever its data lie, and waits for no device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_masking import towers
from torch import Tensor

from hpcnas.core.space import spell
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.averaging import Average
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Corpus, Split, sampled
from hpcnas.nn.front_end import KINDS, NORMALISATIONS, FrontEndConfig, fitted
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.model import Model, Surroundings, build_model
from hpcnas.nn.placing import moved
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.nn.training import Trainer

BANDS, WINDOW = 20, 40
META = torch.device("meta")
"""A device without data: whatever waits for a value there fails."""
TOWER = "conv1d:channels=16,kernel=3,stride=2/attention_pool:heads=2"
STRONG = AugmentationConfig(volume_db=3.0, mixup=0.4)


def made_up(front_end: FrontEndConfig, copies: int = 2) -> Corpus:
    """Recordings of one window and more, some of them padded, each in several copies."""
    rng = np.random.default_rng(0)

    def split(count: int, times: int) -> Split:
        labels = np.arange(count) % 3
        lengths = rng.integers(WINDOW, 3 * WINDOW, count)
        lengths[: count // 2] = WINDOW
        spoken = np.where(lengths == WINDOW, rng.integers(WINDOW // 3, WINDOW + 1, count), lengths)
        every = np.repeat(lengths, times)
        frames = (rng.standard_normal((every.sum(), BANDS)) - 8).astype(np.float16)
        starts = (np.cumsum(every) - every).reshape(count, times)
        return Split(frames, starts[:, 0], lengths, spoken, labels.astype(np.int64), starts if times > 1 else None)

    train = split(60, copies)
    noise = torch.from_numpy(rng.standard_normal((3, BANDS, 90)).astype(np.float32))
    return Corpus(train, split(31, 1), split(17, 1), WINDOW, noise, fitted(front_end, *sampled(train, WINDOW)), ("a", "b", "c"))


CORPUS = made_up(FrontEndConfig())


def trainer_for(corpus: Corpus, device: torch.device, **config) -> Trainer:
    return Trainer(corpus, SoloGroup(), TrainingConfig(epochs=1, batch_size=8, **config), STRONG, device)


def model_for(tower: str) -> Model:
    return build_model(spell(tower, BLOCK_TYPES), Surroundings(BANDS, 3, dropout=0.2), 1)


def batches(corpus: Corpus) -> list[tuple[Tensor, Tensor | None, Tensor]]:
    trainer, rng = trainer_for(corpus, torch.device("cpu")), torch.Generator().manual_seed(7)
    return [trainer._training_batch(rows, rng) for rows in trainer._batches(3, 0)]


DRAWN = {
    ("log_mel", "corpus"): (0.039528145, 0.52385442, 0.13659525),
    ("log_mel", "utterance"): (-0.0039753547, 0.73491032, 0.20374567),
    ("log_mel", "running"): (-0.0010546206, 0.59678352, 0.13570315),
    ("mfcc", "corpus"): (0.019580543, 0.57804049, 0.17497861),
    ("mfcc", "utterance"): (0.001377318, 0.71956699, 0.1972139),
    ("mfcc", "running"): (0.00048031739, 0.61190423, 0.1440578),
    ("pcen", "corpus"): (-0.024351827, 0.45268748, 0.093992662),
    ("pcen", "utterance"): (-0.0064278898, 0.74140851, 0.20063013),
    ("pcen", "running"): (0.018695152, 0.53034439, 0.10631531),
}
"""Of all batches of an epoch: mean, deviation, and mean of the products of neighbouring frames, as they were when everything
was computed on the host."""


@pytest.mark.parametrize(("kind", "normalisation"), DRAWN)
def test_a_seed_draws_the_batches_that_it_always_drew(kind, normalisation):
    corpus = made_up(FrontEndConfig(kind=kind, normalisation=normalisation, deltas=1, cepstra=13))
    features = torch.cat([features for features, _, _ in batches(corpus)]).double()
    found = features.mean(), features.std(), (features[..., 1:] * features[..., :-1]).mean()
    np.testing.assert_allclose(found, DRAWN[kind, normalisation], rtol=1e-3, atol=1e-6)


def test_frames_on_the_device_give_the_batches_that_mapped_ones_give():
    cpu = torch.device("cpu")
    resident = replace(CORPUS, train=CORPUS.train.on(cpu, True))
    assert resident.train.resident is not None and CORPUS.train.resident is None
    for one, other in zip(batches(CORPUS), batches(resident), strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)


def test_no_recordings_give_no_windows():
    nothing = np.zeros(0, np.int64)
    assert CORPUS.train.windows(nothing, nothing, WINDOW).shape == (0, BANDS, WINDOW)


def test_what_fits_lies_on_the_device_the_training_split_first():
    train, validation = CORPUS.train.frames.nbytes, CORPUS.validation.frames.nbytes

    def resident(limit: float) -> list[str]:
        placed = CORPUS.on(META, limit)
        assert placed.noise.device == placed.front_end.mean.device == META
        return [name for name in ("train", "validation", "test") if getattr(placed, name).resident is not None]

    assert resident(train - 1) == resident(0) == []
    assert resident(train) == resident(train + validation - 1) == ["train"]
    assert resident(train + validation) == resident(1e12) == ["train", "validation"]
    assert CORPUS.on(torch.device("cpu"), 0) is CORPUS, "mapped, and by nobody copied"


@pytest.mark.parametrize("limit", [0.0, 1e12], ids=["mapped", "resident"])
def test_an_epoch_waits_for_the_device_at_its_end_alone(limit, monkeypatch):
    monkeypatch.setattr(TrainingConfig, "make_optimizer", lambda config, parameters: torch.optim.SGD(parameters, 0.1))
    trainer, model = trainer_for(CORPUS.on(META, limit), META, clip=1.0), model_for(TOWER)
    optimizer = trainer.optimizer_for(model)
    assert {p.device for p in model.parameters()} == {META}

    class Counted(Average):
        steps = 0

        def follow(self) -> None:
            super().follow()
            Counted.steps += 1

    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        list(trainer.train(model, optimizer, 1, average=Counted(model, 20)))
    assert Counted.steps == trainer.steps_per_epoch == 8


@pytest.mark.parametrize(("tower", "head", "causal"), [one for one in towers() if one[0].count("/") < 2])
def test_no_block_and_no_head_waits_for_the_device(tower, head, causal):
    """Forwards and backwards, as a GPU computes them: a CPU has other ways in some layers."""
    model = build_model(spell(tower, BLOCK_TYPES), Surroundings(10, 3, head=head, causal=causal), 0).to(META).train()
    for lengths in (None, torch.tensor([13, 24, 17, 6])):
        logits = model(torch.zeros(4, 10, 24, device=META), lengths)
        assert logits.device == META and logits.shape == (4, 3)
        logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_no_front_end_waits(kind, normalisation):
    corpus = made_up(FrontEndConfig(kind=kind, normalisation=normalisation, deltas=2, cepstra=13)).on(META, 1e12)
    trainer, rng = trainer_for(corpus, META), torch.Generator().manual_seed(7)
    for rows in trainer._batches(3, 0):
        features, lengths, targets = trainer._training_batch(rows, rng)
        assert features.device == targets.device == META and (lengths is None or lengths.device.type == "cpu")
        assert features.shape == (len(rows), corpus.bands, WINDOW)


def test_predictions_are_waited_for_once(monkeypatch):
    trainer, model = trainer_for(CORPUS.on(META, 1e12), META), model_for(TOWER).to(META)
    seen = []
    model.register_forward_hook(lambda *given: seen.append(len(given[1][0])))
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        trainer.evaluate(model, trainer.corpus.validation, batch_size=10)
    rows, _ = CORPUS.validation.covering(np.arange(31), WINDOW)
    assert sum(seen) == len(rows) > 31, "all windows were given to the device before"


def test_a_recurrence_both_ways_ends_each_example_at_its_end():
    model = model_for("bigru:units=8").eval()
    x, lengths = torch.randn(5, BANDS, WINDOW), torch.tensor([40, 7, 40, 13, 1])
    together = model(x, lengths)
    alone = torch.cat([model(x[i : i + 1, :, : lengths[i]]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_tensors_go_to_a_gpu_by_pinned_memory_without_waiting(monkeypatch):
    told = []

    class Told(torch.Tensor):
        def pin_memory(self, *given: object) -> Tensor:
            told.append("pinned")
            return self

        def to(self, *given: object, **how: object) -> Tensor:
            told.append((*given, how))
            return self

    gpu = torch.device("cuda", 0)
    moved(torch.zeros(2).as_subclass(Told), gpu)
    assert told == ["pinned", (gpu, {"non_blocking": True})]
    here = torch.zeros(2)
    assert moved(here, torch.device("cpu")) is here
    assert moved(np.zeros(2, np.float32), META).device == META
