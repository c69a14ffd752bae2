"""A run's configuration: one TOML file, each table a dataclass beside the code that uses it.

Unknown keys are errors. ``--set table.key=value`` overrides; the value is read as TOML, else as a string.
"""

from __future__ import annotations

import difflib
import json
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date, time
from functools import cached_property
from pathlib import Path
from typing import Any

from hpcnas import zoo
from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.budget import LIMITS, Budget
from hpcnas.core.checks import at_least
from hpcnas.core.combiners import COMBINERS, Average, Combiner
from hpcnas.core.errors import ArchitectureError, ConfigError, HpcnasError, RunError
from hpcnas.core.inheritance import INHERITANCE, InheritanceRule, Parent
from hpcnas.core.microcontrollers import MICROCONTROLLERS, Microcontroller, of_table
from hpcnas.core.roster import ClusterConfig
from hpcnas.core.search_config import IN_THE_FIELD, SearchConfig
from hpcnas.core.space import BlockType, SearchSpace, known_type, spell
from hpcnas.core.spotting import SpottingConfig
from hpcnas.core.stopping import STOPPING, Asha, StoppingRule
from hpcnas.core.strategies import STRATEGIES, Constrained, LocalSearch, Strategy
from hpcnas.core.targets import TARGETS
from hpcnas.core.tuning import TuningConfig
from hpcnas.data import DATASETS
from hpcnas.data.corpus import DataConfig
from hpcnas.data.features import FilterBank
from hpcnas.data.micro import MicroBank
from hpcnas.nn.adaptation import AdaptationConfig
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.front_end import FrontEndConfig
from hpcnas.nn.heads import HEADS
from hpcnas.nn.losses import DistillationConfig
from hpcnas.nn.model import Surroundings
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.store import toml_file
from hpcnas.store.files import replacing

TC_RESNET8 = (
    "tdnn:channels=16,dilation=1,kernel=3/tcres:channels=24,kernel=9,stride=2"
    "/tcres:channels=32,kernel=9,stride=2/tcres:channels=48,kernel=9,stride=2"
)
"""TC-ResNet8, Choi et al., Interspeech 2019 (doi:10.21437/Interspeech.2019-1363), in our blocks: 65k parameters."""


BANKS: dict[str, type[FilterBank]] = {"micro": MicroBank}
"""Kinds of features with a bank of their own, in place of Kaldi's."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(FrontEndConfig, FilterBank):
    """The filter bank, computed once and cached, and what is made of it on the fly."""

    def __post_init__(self) -> None:
        FilterBank.__post_init__(self)
        FrontEndConfig.__post_init__(self)
        _ = self.bank

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """With the bank's own values for what was not given: windows are 25 ms, those of ``micro`` 30."""
        own = fields(BANKS.get(given.get("kind", ""), FilterBank))
        return {**{entry.name: entry.default for entry in own}, **given}

    @property
    def bank(self) -> FilterBank:
        return _part(BANKS.get(self.kind, FilterBank), self)

    @property
    def front_end(self) -> FrontEndConfig:
        return _part(FrontEndConfig, self)


@dataclass(frozen=True, kw_only=True)
class SpaceConfig:
    """The block set B and the limits on a tower."""

    blocks: tuple[str, ...] = (
        "band_fold", "bcres", "conv", "conv1d", "conv2d", "dense", "dsconv", "matchbox", "mbconv", "mbconv1d",
        "svdf", "tcres", "tdnn",
    )  # fmt: skip
    """Kinds, or kinds with the values their settings may take: ``"svdf:filters=64|128,memory=8"``. The default has those that
    train fast on a CPU; a recurrence over 100 frames takes several times as long."""
    max_depth: int = 16
    max_params: int = 66_000
    """0: no limit."""
    max_macs: int = 2_000_000
    """Multiply-accumulates per example; 0: no limit. The default is TENet6's for a second of audio; towers are widened
    until they use it, so that more of it makes a search longer."""
    max_activations: int = 140_000
    """Elements of all layers' outputs per example; keeps planes at full resolution, which train slowly, out; 0: no limit."""
    max_latency_ms: float = 0.0
    """Time of one example on the device that trains, measured before training (so that a search with this limit does not repeat
    exactly); 0: no limit."""
    target: str = ""
    """What models are to run on, converted to 8-bit integers: ``tflite-micro``, on whole windows or, if causal, frame by frame.
    Blocks that cannot are left out, and all trials' flash and working memory are told. Empty: anything."""
    max_flash_kb: float = 0.0
    """Of the int8 graph on the target, in units of 1024 bytes; 0: no limit. This and the next are known before training."""
    max_arena_kb: float = 0.0
    """Working memory of the graph on the target, likewise."""
    device: str = ""
    """The target's processor, by which the time of one inference is estimated: ``cortex-m4``, ``cortex-m7``, or the path of a
    TOML file with its cycles (``docs/devices.md``). Empty: it is not."""
    max_device_ms: float = 0.0
    """That time; 0: no limit."""
    fit: bool = True
    """A tower over a limit is made narrower, all blocks together, until it keeps it; else it is not tried."""
    tail: str = ""
    """Blocks behind the searched ones, always there and never mutated, such as the paper's decoder of three
    ``"svdf:filters=32,memory=32"``; joined by ``/``. They count towards the limits, not towards the depth."""
    head: str = "mean"
    """How frames become one vector for the classifier: ``mean``, ``statistics`` (and deviation) or ``attentive``."""
    causal: bool = False
    """Blocks without look-ahead only, built so that the model can be fed frame by frame."""

    def __post_init__(self) -> None:
        at_least(1, "space", max_depth=self.max_depth)
        if not self.blocks:
            raise ConfigError("space.blocks is empty; name at least one block")
        for number, text in enumerate(self.blocks):
            try:
                kind = known_type(text.partition(":")[0], BLOCK_TYPES).narrowed(text)
            except ArchitectureError as error:
                raise ConfigError(f"space.blocks[{number}]: {error}") from error
            if self.causal and not kind.causal:
                raise ConfigError(f'space.blocks[{number}]: "{kind.kind}" looks ahead; remove it, or space.causal = true')
        if self.head not in HEADS:
            raise ConfigError(f'space.head = "{self.head}": unknown; known: {", ".join(HEADS)}')
        try:
            _ = self.tail_blocks
        except ArchitectureError as error:
            raise ConfigError(f"space.tail: {error}") from error
        try:
            _ = self.budget
        except ConfigError as error:
            raise ConfigError(f"space.{error}") from error
        self._check_target()

    def _check_target(self) -> None:
        if self.target and self.target not in TARGETS:
            raise ConfigError(f'space.target = "{self.target}": unknown; known: {", ".join(TARGETS)}')
        for key in ("max_flash_kb", "max_arena_kb", "device"):
            if getattr(self, key) and not self.target:
                raise ConfigError(f'space.{key} = {getattr(self, key)!r}: of what? space.target = "{next(iter(TARGETS))}"')
        if self.max_device_ms and not self.device:
            raise ConfigError(f'space.max_device_ms = {self.max_device_ms}: of what? space.device = "cortex-m4"')
        _ = self.microcontroller
        if not self.target:
            return
        if len(self.left_out) == len(self._types):
            raise ConfigError(f"space.blocks: {self.target} can run none of {', '.join(self.left_out)}; name others")
        if gap := TARGETS[self.target].gap(self.head, self.causal):
            raise ConfigError(f'space.head = "{self.head}": {self.target} cannot run it: {gap}; take "mean"')
        if self.tail and (objection := self.unfit(Architecture(self.tail_blocks))):
            raise ConfigError(f"space.tail: {objection}")

    @cached_property
    def microcontroller(self) -> Microcontroller | None:
        """The target's processor, if one is named."""
        if not self.device or self.device in MICROCONTROLLERS:
            return MICROCONTROLLERS.get(self.device)
        try:
            if not self.device.endswith(".toml"):
                raise ConfigError(f"unknown; known: {', '.join(MICROCONTROLLERS)}, or the path of a .toml file")
            return of_table(toml_file.load(Path(self.device)))
        except ConfigError as error:
            raise ConfigError(f'space.device = "{self.device}": {error}') from error

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Blocks that are named but that the target cannot run, with the reason."""
        names = (kind.kind for kind in self._types)
        return TARGETS[self.target].left_out(names, self.causal) if self.target else {}

    def unfit(self, tower: Architecture) -> str:
        """Why the target cannot run a tower; empty if it can."""
        objection = TARGETS[self.target].objection(tower, self.causal) if self.target else ""
        return f"{self.target} cannot run {objection}" if objection else ""

    @cached_property
    def _types(self) -> list[BlockType]:
        return [known_type(text.partition(":")[0], BLOCK_TYPES).narrowed(text) for text in self.blocks]

    @property
    def budget(self) -> Budget:
        return Budget(**{limit: getattr(self, limit) for limit in LIMITS})

    @property
    def tail_blocks(self) -> tuple[Block, ...]:
        return spell(self.tail, BLOCK_TYPES).blocks if self.tail else ()

    def surroundings(self, bands: int, classes: int, dropout: float = 0.0) -> Surroundings:
        """What every tower of this space stands between."""
        sides = bands, classes, self.tail_blocks, self.head, self.causal, dropout
        return Surroundings(*sides, self.target, self.microcontroller)

    def build(self) -> SearchSpace:
        types = tuple(kind for kind in self._types if kind.kind not in self.left_out)
        return SearchSpace(types, self.max_depth, self.fit, tuple(BLOCK_TYPES.values()))


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """The final stage: the best architecture, retrained from scratch."""

    finalists: int = 12
    """So many of what the search found, its best, and all that was suggested are trained from scratch; again and again the
    better part goes on, until ``finishers`` are left, which are trained twice. The better mean of ``search.rank_by`` wins."""
    challengers: int = 24
    """So many small steps away from those who lead at a quarter of the way are trained so far too, and join the race; those
    that are behind most others half of the way to it are given up."""
    finishers: int = 2
    members: int = 2
    """p of the paper's Algorithm 3; the finals' winner is the first."""
    epochs: int = 20
    """Of each member: longer than a trial's."""
    quantised: bool = False
    """Finalists and members are trained and judged as they will run in 8-bit integers; see ``training.quantised``."""
    baseline: str = TC_RESNET8
    """A hand-designed architecture, trained as one member is and reported beside them; empty: none."""

    def __post_init__(self) -> None:
        at_least(0, "ensemble", challengers=self.challengers)
        at_least(1, "ensemble", finalists=self.finalists, finishers=self.finishers, members=self.members, epochs=self.epochs)
        if self.baseline:
            try:
                spell(self.baseline, BLOCK_TYPES)
            except ArchitectureError as error:
                raise ConfigError(f"ensemble.baseline: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a run depends on."""

    seed: int = 0
    data: DataConfig = field(default_factory=lambda: DataConfig(**DataConfig.completed({})))
    features: FeatureConfig = field(default_factory=FeatureConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    space: SpaceConfig = field(default_factory=SpaceConfig)
    strategy: Strategy = field(default_factory=LocalSearch, metadata={"table": STRATEGIES})
    inheritance: InheritanceRule = field(default_factory=Parent, metadata={"table": INHERITANCE})
    stopping: StoppingRule = field(default_factory=Asha, metadata={"table": STOPPING})
    combiner: Combiner = field(default_factory=Average, metadata={"table": COMBINERS})
    tuning: TuningConfig = field(default_factory=TuningConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    spotting: SpottingConfig = field(default_factory=SpottingConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed}: must not be negative")
        given = {
            "search.suggestions": self.search.suggestions,
            "strategy.architectures": getattr(self.strategy, "architectures", ()),
        }
        for key, texts in given.items():
            for number, text in enumerate(texts):
                try:
                    spell(text, BLOCK_TYPES)
                except ArchitectureError as error:
                    raise ConfigError(f"{key}[{number}]: {error}") from error
                if objection := self.space.unfit(spell(text, BLOCK_TYPES)):
                    raise ConfigError(f"{key}[{number}]: {objection}; leave it out")
        if self.search.zoo not in (("fitting",), ("all",)):
            try:
                named = zoo.chosen(self.search.zoo)
            except ConfigError as error:
                raise ConfigError(f"search.zoo: {error}") from error
            for model in named:
                if objection := self.space.unfit(model.tower):
                    raise ConfigError(f"search.zoo: {model.name}: {objection}; leave it out")
        if self.ensemble.baseline and (objection := self.space.unfit(spell(self.ensemble.baseline, BLOCK_TYPES))):
            raise ConfigError(f'ensemble.baseline: {objection}; name another, or "" for none')
        if self.search.objective == IN_THE_FIELD and self.combiner.has_teams:
            raise ConfigError(
                f'search.objective = "{IN_THE_FIELD}": is of single models; combiner.name = "average" trains such'
            )
        if isinstance(self.strategy, Constrained) and self.strategy.depth > self.space.max_depth:
            raise ConfigError(
                f"space.max_depth = {self.space.max_depth}: strategy.cells = {self.strategy.cells} of strategy.cell = "
                f"{self.strategy.cell} are {self.strategy.depth} blocks with the reduction behind each; raise it, or take fewer"
            )
        if self.features.kind == "micro":
            for key, value in (("augmentation", self.augmentation.volume_db), ("tuning", self.tuning.volume_db)):
                if value:
                    raise ConfigError(
                        f"{key}.volume_db = {list(value) if isinstance(value, tuple) else value}: the front end of "
                        'features.kind = "micro" takes the level out, so there is none to vary; leave it out'
                    )
        if self.data.name not in DATASETS:
            raise ConfigError(f'data.name = "{self.data.name}": unknown data set; known: {", ".join(sorted(DATASETS))}')


MAY_CHANGE = ("search", "ensemble", "combiner", "distillation", "adaptation", "spotting", "cluster")
"""Tables that a resume may give other values: they do not change what finished trials mean."""
MAY_CHANGE_KEYS = ("data.negatives", "data.negative_hours", "data.mine_negatives", "data.groups")
"""Keys of other tables that it may: trials of a search never hear of them, but as recordings, which a run knows."""
MAY_NOT = ("search.objective", "search.rank_by", "search.score_examples", "search.suggestions", "search.zoo")
"""Keys of those tables that do."""
OF_THE_FIELD = ("data.negatives", "data.negative_hours", "spotting.false_alarms_per_hour", "spotting.refractory_s")
"""Keys that do where the search's objective is of audio that goes on."""
PLACES = ("data.path", "data.manifests", "data.mined_negatives", "data.noise", "data.rooms", "data.cache")
"""Keys that say where a corpus is: a run that knows its recordings may find them elsewhere."""


def elsewhere(data: DataConfig, path: str, given: Sequence[str] = ()) -> list[str]:
    """Overrides by which a corpus of the same layout is read from ``path``, beside those that were ``given``. Lists that named
    one give way, but for those of ``manifest``, whose recordings are there."""
    is_given = any(override.replace(" ", "").startswith("data.manifests=") for override in given)
    gives_way = data.manifests and data.name != "manifest" and not is_given
    return [f"data.path={json.dumps(path)}", *(["data.manifests=[]"] if gives_way else [])]


def load(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration in ``path`` (none: the defaults) with ``table.key=value`` overrides; raises ConfigError."""
    return _from_table(toml_file.load(path) if path else {}, str(path or ""), overrides)


def parsed(text: str, where: str, overrides: Sequence[str] = ()) -> Config:
    """The same for TOML that was read already, from ``where``."""
    try:
        table = toml_file.parse(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return _from_table(table, where, overrides)


def _from_table(table: dict[str, Any], where: str, overrides: Sequence[str]) -> Config:
    for override in overrides:
        _override(table, override)
    try:
        return _build(Config, table, "")
    except HpcnasError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error


def dump(config: Config) -> str:
    """``config`` as TOML, every value spelled out; ``load`` gives the same again."""
    table = asdict(config)
    for entry in fields(Config):
        if "table" in entry.metadata:
            part = getattr(config, entry.name)
            name = next(n for n, kind in entry.metadata["table"].items() if kind is type(part))
            table[entry.name] = {"name": name, **asdict(part)}
    return toml_file.spell(table)


def differences(old: Config, new: Config, but: Sequence[str] = ()) -> list[str]:
    """What of ``new``, but for these keys, a run begun with ``old`` cannot go on with, as ``key: old, now new``."""
    before, after = _flat(toml_file.parse(dump(old))), _flat(toml_file.parse(dump(new)))
    # Where the search looks for ensembles, scores are theirs.
    may_not = {*MAY_NOT}
    if old.search.objective == IN_THE_FIELD:
        may_not |= {*OF_THE_FIELD}
    may_change = set(MAY_CHANGE) - ({"combiner"} if old.combiner.has_teams or new.combiner.has_teams else set())
    return [
        f"{key} = {before.get(key)!r}, now {after.get(key)!r}"
        for key in sorted({*before, *after} - {*but} - ({*MAY_CHANGE_KEYS} - may_not))
        if (key.partition(".")[0] not in may_change or key in may_not) and before.get(key) != after.get(key)
    ]


def remember(path: Path, part: Any, key: str) -> None:
    """Write the dataclass ``part``, or raise RunError if another one was written to ``path`` before.

    For stages whose settings may be given on their own command line: they go on with what they were begun with.
    """
    if not path.exists():
        with replacing(path) as beside:
            beside.write_text(toml_file.spell(asdict(part)), encoding="utf-8")
    check_remembered(path, part, key)


def check_remembered(path: Path, part: Any, key: str) -> None:
    """The same where nothing may be written yet."""
    if not path.exists():
        return
    before, now = toml_file.load(path), toml_file.parse(toml_file.spell(asdict(part)))
    if changed := [f"{key}.{name} = {before.get(name)!r}, now {now[name]!r}" for name in now if before.get(name) != now[name]]:
        raise RunError(f"{path.parent}: was begun with {'; '.join(changed)}; give the same, or remove the folder to begin anew")


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _override(table: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected table.key=value, such as --set training.epochs=2")
    *tables, last = key.strip().split(".")
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {text}: {name} is a value, not a table")
    table[last] = _given(value.strip(), text)


def _given(value: str, override: str) -> Any:
    """The value of an override: TOML, or a bare word, which is a text."""
    try:
        (found,) = toml_file.parse(f"value = {value}").values()
    except ConfigError as error:
        if value[:1] in ("[", "{"):
            raise ConfigError(
                f"--set {override}: is not TOML; texts in a list need quotes, and the shell quotes around all of it: "
                """--set 'data.keywords=["yes", "no"]'"""
            ) from error
        if value[:1] in ('"', "'"):
            raise ConfigError(
                f"--set {override}: {error}; in double quotes a backslash is written twice, in single quotes once"
            ) from error
        return value
    except ValueError:  # several lines, of which only the first is the key's
        return value
    # No key takes a date: one is the name of a folder or the like.
    return value if isinstance(found, (date, time)) else found


def _part(kind: type, whole: Any) -> Any:
    """The fields of ``whole`` that the dataclass ``kind`` has."""
    return kind(**{entry.name: getattr(whole, entry.name) for entry in fields(kind)})


def _build(kind: type, table: Any, where: str) -> Any:
    """An instance of the dataclass ``kind`` from a TOML table."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where.rstrip('.')} = {table!r}: must be a table")
    known = {entry.name: entry for entry in fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f'did you mean "{close[0]}"?' if close else f"known: {', '.join(known) or 'none'}"
            raise ConfigError(f"{where}{key}: unknown key; {hint}")
        if "table" in known[key].metadata:
            values[key] = _choose(known[key].metadata["table"], known[key].default_factory, value, key)
        elif hasattr(hints[key], "__dataclass_fields__"):
            values[key] = _build(hints[key], value, f"{where}{key}.")
        else:
            values[key] = _value(hints[key], value, f"{where}{key}")
    return kind(**kind.completed(values) if hasattr(kind, "completed") else values)


def _choose(parts: Mapping[str, type], default: Any, table: Any, where: str) -> Any:
    """One of a table's parts, by ``name``; the other keys are its fields."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} = {table!r}: must be a table with a name")
    rest = dict(table)
    name = rest.pop("name", None)
    kind = parts.get(str(name)) if name is not None else default
    if kind is None:
        raise ConfigError(f'{where}.name = "{name}": unknown; known: {", ".join(sorted(parts))}')
    return _build(kind, rest, f"{where}.")


_SURROGATES = frozenset(map(chr, range(0xD800, 0xE000)))
"""What Python makes of the bytes of a file name that are no text."""


def _value(hint: Any, value: Any, where: str) -> Any:
    if typing.get_origin(hint) is tuple:
        item, *more = typing.get_args(hint)
        if isinstance(value, str) and item is str and more[:1] == [Ellipsis]:
            value = (value,)  # one of what may be several
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} = {value!r}: must be a list")
        if more and more[0] is not Ellipsis and len(value) != len(more) + 1:
            raise ConfigError(f"{where} = {value!r}: must have {len(more) + 1} values")
        return tuple(_value(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ConfigError(f"{where}: is too large a number; a whole number of TOML has 64 bits")
    if hint is str and type(value) is int:  # such as the number of a trial
        return str(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        names = {int: "a whole number", float: "a number", str: "a text, in quotes", bool: "true or false"}
        shown = value.isoformat() if isinstance(value, (date, time)) else repr(value)
        raise ConfigError(f"{where} = {shown}: must be {names[hint]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} = {value}: must be a finite number")
    if isinstance(value, str) and not _SURROGATES.isdisjoint(value):
        raise ConfigError(f"{where} = {value!r}: is not UTF-8, as TOML is; give the file or folder a name that is")
    return value
