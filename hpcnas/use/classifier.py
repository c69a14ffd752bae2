"""A run's models, ready for audio: one of them, or the ensemble; from its directory, or from a file that was exported.

classifier = Classifier.open(RunDir(Path("runs/kws")), "ensemble")
answer = classifier.predict(samples)
times_s, logits = classifier.scan(samples, hop_s=0.1)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core import metrics
from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import RunError
from hpcnas.core.thresholds import Thresholds
from hpcnas.data import DATASETS, audio, features
from hpcnas.nn.front_end import FrontEnd
from hpcnas.nn.model import rebuilt
from hpcnas.store import ensemble_file, model_card, model_file, weights
from hpcnas.store.ensemble_file import Member
from hpcnas.store.journal import archive_of
from hpcnas.store.model_card import ModelCard
from hpcnas.store.model_file import ModelFile, StoredModel
from hpcnas.store.run_dir import RunDir

BESIDE = {
    "student": ("student", "distil"),
    "control": ("student", "distil"),
    "baseline": ("ensemble", "ensemble"),
    "anew": ("ensemble", "adapt"),
}
"""Models beside an ensemble's members: the stage that they are trained in, and its program."""
MODEL_NAMES = (
    'ensemble (default), "member N", baseline, student, control, anew, best (of the search), the name of a compared model, or '
    "the number of a trial"
)


class Mixture(nn.Module):
    """The weighted mean of several models' logits."""

    models: Any
    """A list of ``Model``, which torch's type does not say."""

    def __init__(self, models: Sequence[nn.Module], shares: Sequence[float]) -> None:
        super().__init__()
        self.models, self._shares = nn.ModuleList(models), tuple(shares)

    def forward(self, features_BFT: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        return sum(share * model(features_BFT, lengths_B) for share, model in zip(self._shares, self.models))


@dataclass(frozen=True)
class Answer:
    """What a model says about a recording."""

    class_name: str
    score: float
    """Its posterior, in [0, 1]."""
    posteriors: Mapping[str, float]
    """Of every class; they sum to one."""
    is_none: bool = False
    """Whether the score is so low that it is more likely none of these classes, by what ``hpcnas.evaluate`` found."""


@dataclass(frozen=True)
class Classifier:
    """Models with what stands in front of them.

    Args:
        name: of the model within its run.
        members: what it is made of.
        stored: of each, as it was trained.
        model: from features (B, F, T) to logits (B, K).
    """

    name: str
    members: Sequence[Member]
    stored: Sequence[StoredModel]
    model: Mixture
    front_end: FrontEnd
    class_names: Sequence[str]
    config: Config
    thresholds: Thresholds | None = None
    """Of its keywords, and a temperature, if they were chosen for these weights."""

    @property
    def architectures(self) -> list[Architecture]:
        """Of each member."""
        return [one.architecture for one in self.stored]

    @classmethod
    def open(cls, run: RunDir, name: str = "ensemble") -> Classifier:
        """A model of ``run``.

        Args:
            name: ``ensemble``; ``member 0`` of it; its hand-designed ``baseline``; its ``student``, or ``control``, which
                learnt from labels alone; ``anew``: what ``hpcnas.adapt`` compared with; ``best``: the search's best trial; a
                name in its comparison; or the number of a trial.

        Raises:
            RunError: if the run has no such model, or no weights of it any more.
        """
        run.require()
        config, card = configuration.load(run.config), model_card.load(run.model_card)
        members = _members(run, name)
        stored = []
        for member in members:
            path = run.stage(member.stage).weights(member.trial)
            if not path.exists():
                raise RunError(f"{path}: the weights of trial {member.trial} are not kept; see search.keep_weights")
            stored.append(StoredModel(weights.load_architecture(path), weights.load_arrays(path)))
        return cls._built(name, members, stored, card, config)

    @classmethod
    def read(cls, path: str | Path) -> Classifier:
        """The model in a file of the form ``state_dict`` that ``hpcnas.export`` wrote; raises RunError."""
        file = model_file.load(Path(path))
        return cls._built(file.name, file.members, file.stored, file.card, configuration.parsed(file.config, str(path)))

    @classmethod
    def _built(
        cls, name: str, members: Sequence[Member], stored: Sequence[StoredModel], card: ModelCard, config: Config
    ) -> Classifier:
        front_end = FrontEnd(config.features.front_end, torch.tensor(card.mean).float(), torch.tensor(card.std).float())
        around = config.space.surroundings(len(card.mean), len(card.class_names))
        try:
            models = [rebuilt(one.architecture, one.arrays, around) for one in stored]
        except RuntimeError as error:  # torch's, with a line for each array that does not fit
            first = str(error).splitlines()[1:2] or [str(error)]
            raise RunError(
                f'model "{name}": its weights do not fit the configuration and the {len(card.class_names)} classes of '
                f"model_card.json, as if these were of another run or corpus ({first[0].strip()})"
            ) from error
        mixture = Mixture(models, [member.weight for member in members]).eval()
        one = cls(name, members, stored, mixture, front_end, card.class_names, config)
        return replace(one, thresholds=next((t for t in card.thresholds.values() if t.weights == one.digest), None))

    @cached_property
    def digest(self) -> str:
        """Of all that decides what it says of features; thresholds of a model that was trained anew hold no more."""
        total = sha256(repr([(str(one.architecture), float(m.weight)) for one, m in zip(self.stored, self.members)]).encode())
        for one in self.stored:
            for name in sorted(one.arrays):
                total.update(name.encode() + np.ascontiguousarray(one.arrays[name]).tobytes())
        return total.hexdigest()[:16]

    def as_file(self, reached: Mapping[str, float]) -> ModelFile:
        """What ``read`` takes: the model with all it needs, and the figures it reached."""
        chosen = {self.name: self.thresholds} if self.thresholds else {}
        card = ModelCard(self.front_end.mean.numpy(), self.front_end.std.numpy(), self.class_names, chosen)
        return ModelFile(self.name, self.members, self.stored, card, configuration.dump(self.config), reached)

    def posteriors(self, logits_NK: np.ndarray) -> np.ndarray:
        """(N, K) probabilities, at the temperature that ``hpcnas.evaluate`` found, if it did."""
        temperature = self.thresholds.temperature if self.thresholds else 1.0
        return np.exp(metrics.log_posteriors(logits_NK / temperature))

    @property
    def can_listen(self) -> bool:
        """Whether it can be fed frame by frame: nothing in it looks ahead or at the whole window."""
        features = self.config.features
        return (
            self.config.space.causal and features.kind != "pcen" and not features.deltas and features.normalisation == "corpus"
        )

    def listen(self, chunks: Iterable[np.ndarray]) -> Iterator[tuple[float, np.ndarray]]:
        """Frame by frame, in constant memory: time of the newest frame in seconds and (K,) logits after every chunk of samples
        at ``audio.RATE`` that brings one; over the last window's outputs.

        The tower remembers what was before the window, which ``scan`` does not know: logits differ slightly.
        """
        stream = self.config.features.bank.stream()
        return self.listen_frames(map(stream.push, chunks))

    def listen_frames(self, pieces_FT: Iterable[np.ndarray]) -> Iterator[tuple[float, np.ndarray]]:
        """The same for raw log-mel that comes in pieces."""
        hop_ms, window, frames = self.config.features.bank.hop_ms, self.window, 0
        states: list = [None] * len(self.members)
        outputs: list[Tensor | None] = [None] * len(self.members)
        for log_mel in pieces_FT:
            if not log_mel.shape[1]:
                continue
            frames += log_mel.shape[1]
            logits: Any = 0.0
            with torch.no_grad():
                seen = self.front_end(torch.from_numpy(log_mel).unsqueeze(0))
                for number, (member, model) in enumerate(zip(self.members, self.model.models)):
                    new, states[number] = model.stream_tower(seen, states[number])
                    known = new if (before := outputs[number]) is None else torch.cat([before, new], -1)
                    kept = self.outputs_of_a_window[number]
                    outputs[number] = newest = known[..., -kept:]
                    if newest.shape[-1]:
                        logits = logits + member.weight * model.judge(newest)
            if frames >= window:
                yield frames * hop_ms / 1000, logits[0].numpy()

    @cached_property
    def outputs_of_a_window(self) -> list[int]:
        """How many outputs each model's tower has for one window."""
        example = torch.zeros(1, self.front_end.bands, self.window)
        with torch.no_grad():
            return [model.stream_tower(example)[0].shape[-1] for model in self.model.models]

    @property
    def window(self) -> int:
        """T, frames that a model sees at once."""
        return features.frames_of(self.config.data.window_s, self.config.features.bank)

    @property
    def params(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def logits(self, log_mel_BFT: Tensor, lengths_B: Tensor | None = None) -> np.ndarray:
        """(B, K) of windows of raw log-mel, of which only the first ``lengths_B`` frames are real, if given."""
        with torch.no_grad():
            return self.model(self.front_end(log_mel_BFT, lengths_B), lengths_B).numpy()

    def predict(self, samples: np.ndarray) -> Answer:
        """What is said in a recording of any length at ``audio.RATE``, by the mean over windows that cover it, evenly spread
        and half overlapping at least, as in evaluation."""
        bank, window = self.config.features.bank, self.window
        spare = features.frames_of(len(samples) / audio.RATE, bank) - window
        if spare <= 0:
            _, logits = self.scan(samples, self.config.data.window_s)
        else:
            log_mel = features.log_mel(samples.astype(np.float32), bank)
            starts = np.linspace(0, spare, 1 + -(-2 * spare // window)).round().astype(int)
            logits = self.logits(torch.from_numpy(np.stack([log_mel[:, start : start + window] for start in starts])))
        posteriors = self.posteriors(logits.mean(0, keepdims=True))[0]
        best = int(posteriors.argmax())
        score, least = float(posteriors[best]), self.thresholds.none_below if self.thresholds else 0.0
        return Answer(self.class_names[best], score, dict(zip(self.class_names, posteriors.tolist())), score < least)

    def scan(self, samples: np.ndarray, hop_s: float, batch_size: int = 256) -> tuple[np.ndarray, np.ndarray]:
        """Slide the window over audio of any length at ``audio.RATE``; what is shorter than a window is padded, and the model
        told how much of it is real unless it learnt from recordings whose padding counts.

        Returns:
            Middles of the windows in seconds (S,), and logits (S, K).
        """
        return _joined(self.scan_blocks([samples], hop_s, batch_size))

    def scan_blocks(
        self, blocks: Iterable[np.ndarray], hop_s: float, batch_size: int = 256
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same for audio that comes in blocks of samples, a batch of windows after the other, in constant memory."""
        window = round(self.config.data.window_s * audio.RATE)
        blocks, first = iter(blocks), np.zeros(0, np.float32)
        while len(first) < window and (block := next(blocks, None)) is not None:
            first = np.concatenate([first, block.astype(np.float32)])
        if len(first) < window:
            yield self._short(first)
            return

        def pieces() -> Iterator[np.ndarray]:
            stream = self.config.features.bank.stream()
            for block in chain([first], blocks):
                yield stream.push(block.astype(np.float32, copy=False))
            yield stream.finish()

        yield from self.scan_pieces(pieces(), hop_s, batch_size)

    def _short(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of what is shorter than a window: one position."""
        bank, window_s = self.config.features.bank, self.config.data.window_s
        log_mel = torch.from_numpy(features.log_mel(audio.fitted(samples, round(window_s * audio.RATE)), bank)).unsqueeze(0)
        real = torch.tensor([max(1, features.frames_of(len(samples) / audio.RATE, bank))])
        counts = DATASETS[self.config.data.name].PADDING_COUNTS
        return np.array([window_s / 2]), self.logits(log_mel) if counts else self.logits(log_mel, real)

    def scan_frames(self, log_mel_FT: np.ndarray, hop_s: float, batch_size: int = 256) -> tuple[np.ndarray, np.ndarray]:
        """The same for log-mel that is at least a window long."""
        return _joined(self.scan_pieces([log_mel_FT], hop_s, batch_size))

    def scan_pieces(
        self, pieces_FT: Iterable[np.ndarray], hop_s: float, batch_size: int = 256
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same for log-mel that comes in pieces, a batch of windows after the other; no more than its frames are kept."""
        bank, window_s = self.config.features.bank, self.config.data.window_s
        window, hop = features.frames_of(window_s, bank), max(1, features.frames_of(hop_s, bank))
        held, done = np.zeros((bank.bands, 0), np.float32), 0

        def judged(count: int) -> tuple[np.ndarray, np.ndarray]:
            views = torch.from_numpy(held[:, : (count - 1) * hop + window]).unfold(1, window, hop).transpose(0, 1)
            times_s = (done + np.arange(count)) * hop * bank.hop_ms / 1000 + window_s / 2
            return times_s, self.logits(views.contiguous())

        for piece in pieces_FT:
            held = np.concatenate([held, piece], 1, dtype=np.float32)
            while (held.shape[1] - window) // hop + 1 >= batch_size:
                yield judged(batch_size)
                held, done = held[:, batch_size * hop :], done + batch_size
        if (rest := (held.shape[1] - window) // hop + 1) > 0:
            yield judged(rest)


def _joined(scanned: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    times_s, logits = zip(*scanned)
    return np.concatenate(times_s), np.concatenate(logits)


def opened(path: Path, name: str | None) -> Classifier:
    """The model ``name`` (None: the ensemble) of the run in a directory, or the one in a file; raises RunError."""
    if not path.is_file():
        return Classifier.open(RunDir(path), name or "ensemble")
    if name is not None:
        raise RunError(f'{path}: is a file with one model; "{name}" can only be had of a run directory')
    return Classifier.read(path)


def _members(run: RunDir, name: str) -> Sequence[Member]:
    if name == "ensemble" or name.startswith("member "):
        if not run.ensemble_file.exists():
            raise RunError(f"{run.root}: has no ensemble; run hpcnas.ensemble first, or name a trial")
        members = ensemble_file.load(run.ensemble_file).members
        if name == "ensemble":
            return members
        number = name.removeprefix("member ")
        if not number.isdigit() or int(number) >= len(members):
            raise RunError(f'{run.root}: has no "{name}"; its ensemble has members 0 to {len(members) - 1}')
        return [Member(members[int(number)].stage, members[int(number)].trial, 1.0)]
    if name in BESIDE:
        stage, program = BESIDE[name]
        archive = archive_of(run.stage(stage).journal)
        trained = [trial.id for trial in archive.best(None) if trial.proposal.role == name]
        if not trained:
            raise RunError(f"{run.root}: has no {name}; run hpcnas.{program} first")
        return [Member(stage, trained[0], 1.0)]
    archive = archive_of(run.search.journal)
    if name == "best" and archive.ranking:
        return [Member("search", archive.ranking[0].trial, 1.0)]
    if name.isdigit() and int(name) in archive.results and archive.results[int(name)].state.has_score:
        return [Member("search", int(name), 1.0)]
    compared = archive_of(run.comparison.journal)
    results = [result for result in compared.ranking if compared.trials[result.trial].proposal.mutation == name]
    if results:
        return [Member("compare", max(results, key=lambda result: result.merit).trial, 1.0)]
    raise RunError(
        f'{run.root}: has no model "{name}"; known: ensemble, "member N", {", ".join(BESIDE)}, best, a compared model, or the '
        "number of a trial with a score"
    )
