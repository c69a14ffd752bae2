"""Limits that a device has: flash, working memory and time are told before training, and what cannot run is left out."""

from __future__ import annotations

import logging
import math
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import completed, trial
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcnas import config as configuration
from hpcnas import search, zoo
from hpcnas.config import SpaceConfig
from hpcnas.core import ideas
from hpcnas.core.architecture import Architecture
from hpcnas.core.arena import ALIGNMENT, Buffer, planned
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.errors import ArchitectureError, ConfigError
from hpcnas.core.fitting import shrunk
from hpcnas.core.messages import Assignment, Ready
from hpcnas.core.microcontrollers import MICROCONTROLLERS, Work
from hpcnas.core.mutation import random_tower
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.space import spell
from hpcnas.core.strategies import RandomSearch
from hpcnas.core.targets import TARGETS
from hpcnas.core.trial import Cost
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.cost import CostTable, measure
from hpcnas.nn.heads import HEADS
from hpcnas.nn.model import build_model
from hpcnas.runtime.watch import describe
from hpcnas.store.archive_file import COLUMNS
from hpcnas.store.journal import decode, encode

ROOT = Path(__file__).parents[1]
MICRO = SpaceConfig(target="tflite-micro", max_params=0, max_macs=0, max_activations=0)
BANDS, FRAMES, CLASSES = 40, 100, 12


def table(space: SpaceConfig = MICRO) -> CostTable:
    return CostTable(space.surroundings(BANDS, CLASSES), FRAMES)


def cost(tower: str, space: SpaceConfig = MICRO) -> Cost:
    return table(space).measure(spell(tower, BLOCK_TYPES))


# Where tensors lie.

BUFFERS = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 20), st.integers(0, 20)).map(lambda b: Buffer(b[0], min(b[1:]), max(b[1:]))),
    max_size=30,
)


@given(BUFFERS)
def test_a_plan_has_room_for_what_lives_at_once_and_needs_no_more_than_all(buffers):
    sizes = [-(-b.size // ALIGNMENT) * ALIGNMENT for b in buffers]
    at_once = [sum(s for s, b in zip(sizes, buffers) if b.first <= step <= b.last) for step in range(21)]
    assert max(at_once) <= planned(buffers) <= sum(sizes)


def test_a_chain_needs_its_largest_pair_of_neighbours():
    assert planned([Buffer(100, 0, 1), Buffer(300, 1, 2), Buffer(160, 2, 3)]) == 304 + 160


def test_of_equal_tensors_the_later_are_placed_first():
    """As tflite-micro does: the other way round this chain would take 96 bytes."""
    chain = [Buffer(32, step, step + 1) for step in range(4)]
    assert planned([*chain, Buffer(48, 4, 5)]) == 80


# Figures of towers.


def test_figures_are_told_where_there_is_a_target_and_else_not():
    bare = replace(MICRO, target="")
    tower = "conv:channels=8,kernel=3,stride=2/tdnn:channels=16,kernel=3,dilation=2"
    assert cost(tower, bare) == measure(
        build_model(spell(tower, BLOCK_TYPES), bare.surroundings(BANDS, CLASSES), 0), BANDS, FRAMES
    )
    assert cost(tower, bare).flash_kb == 0
    found = cost(tower)
    assert replace(found, flash_kb=0.0, arena_kb=0.0) == cost(tower, bare)
    # Converted and run by tflite-micro: 19,568 bytes of arena. Its file without names: 11,392 bytes.
    assert 1024 * found.arena_kb == pytest.approx(19_568, rel=0.02)


@pytest.mark.parametrize("causal", [False, True], ids=["windows", "steps"])
@pytest.mark.parametrize("before", ["", "conv:channels=4,kernel=3,stride=2/"], ids=["input", "plane"])
@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_every_block_that_a_target_can_run_has_figures(kind, before, causal):
    space = replace(MICRO, causal=causal, device="cortex-m4")
    if TARGETS["tflite-micro"].gap(kind, causal) or (causal and not BLOCK_TYPES[kind].causal):
        return
    block = BLOCK_TYPES[kind].sample(np.random.default_rng(0))
    found = cost(f"{before}{block}", space)
    assert found.flash_kb * 1024 > found.params, "a byte a weight at least"
    assert found.arena_kb * 1024 > BANDS * (1 if causal else FRAMES)
    assert found.device_ms > 0 or not found.macs


def test_a_stream_needs_less_working_memory_than_a_window_where_planes_are_large():
    tower = "conv:channels=16,kernel=3,stride=1/conv:channels=16,kernel=3,stride=2/dense:units=32"
    assert cost(tower, replace(MICRO, causal=True)).arena_kb < 0.3 * cost(tower).arena_kb


@settings(max_examples=10)  # each measures some dozen blocks
@given(st.integers(0, 2**32), st.sampled_from([("max_flash_kb", 48.0), ("max_arena_kb", 30.0), ("max_device_ms", 60.0)]))
def test_a_tower_over_a_limit_of_the_device_is_narrowed_until_it_keeps_it(seed, limit):
    space = replace(MICRO, device="cortex-m4", **dict([limit]))
    costs, built = table(space), space.build()
    tower = random_tower(built, 3, np.random.default_rng(seed))

    def fits(one: Architecture) -> bool:
        return not space.budget.objection(costs.measure(one))

    narrow = shrunk(tower, built, fits)
    if narrow is None:
        assert limit[0] in space.budget.objection(costs.measure(tower))
    else:
        assert fits(narrow) and (narrow == tower) == fits(tower)


def test_working_memory_that_the_features_alone_fill_is_refused_before_anything_is_tried():
    override = ["space.target=tflite-micro", "space.max_arena_kb=4"]
    config = configuration.load(None, override)
    message = r"space.max_arena_kb = 4: a window's features alone take \d+\.\d; raise it, or take fewer "
    with pytest.raises(ConfigError, match=message):
        search.given(config, table(config.space).measure)
    roomy = configuration.load(None, [*override[:1], "space.max_arena_kb=32"])
    assert search.given(roomy, table(roomy.space).measure)


def test_a_limit_that_no_tower_can_keep_ends_the_search_before_training(monkeypatch):
    monkeypatch.setattr(ideas, "MAX_PROPOSALS", 20)
    space = replace(MICRO, max_flash_kb=1.0)
    coordinator = Coordinator(
        RandomSearch(), space.build(), SearchConfig(max_trials=3), 0, record=lambda event: None,
        measure=table(space).measure, budget=space.budget,
    )  # fmt: skip
    assert not isinstance(coordinator.handle(Ready(0)), Assignment)
    assert coordinator.ended.startswith("no new architecture within the budget") and not coordinator.archive.trials


# Time on a microcontroller.


def test_time_goes_by_the_kind_of_work_and_the_clock():
    m4 = MICROCONTROLLERS["cortex-m4"]
    assert m4.ms(Work(convolution=12_500_000)) == pytest.approx(704, rel=0.02), "ResNet-8 of MLPerf Tiny"
    assert m4.ms(Work(dense=264_192)) == pytest.approx(10.4, rel=0.02), "its autoencoder"
    assert replace(m4, mhz=2 * m4.mhz).ms(Work(1, 2, 3, 4)) == m4.ms(Work(1, 2, 3, 4)) / 2


def test_a_microcontroller_of_ones_own_is_read_from_a_file(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text("mhz = 64\nconvolution = 6.8\ndepthwise = 20\ndense = 4.7\nelement = 10\n")
    m4, slow = (cost("tdnn:channels=16", replace(MICRO, device=name)) for name in ("cortex-m4", str(own)))
    assert slow.device_ms == pytest.approx(m4.device_ms * 120 / 64, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mhz = 64", "convolution is missing; needed: mhz, convolution, depthwise, dense, element"),
        ("mhz = 0\nconvolution = 1\ndepthwise = 1\ndense = 1\nelement = 1", "mhz = 0: must be a positive number"),
        ('mhz = "64"\nconvolution = 1\ndepthwise = 1\ndense = 1\nelement = 1', "mhz = '64': must be a positive number"),
        ("ghz = 64", "unknown key ghz; known: "),
    ],
)
def test_a_file_that_does_not_describe_a_microcontroller_is_refused(text, message, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f'space.device = "{own}": {message}')):
        replace(MICRO, device=str(own))


# What cannot run.


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"target": "tflite"}, 'space.target = "tflite": unknown; known: tflite-micro'),
        ({"max_arena_kb": 32.0}, 'space.max_arena_kb = 32.0: of what? space.target = "tflite-micro"'),
        ({"target": "tflite-micro", "max_device_ms": 5.0}, 'space.max_device_ms = 5.0: of what? space.device = "cortex-m4"'),
        ({"target": "tflite-micro", "max_flash_kb": -1.0}, "space.max_flash_kb = -1.0: must be positive"),
        ({"target": "tflite-micro", "device": "m4"}, 'space.device = "m4": unknown; known: cortex-m4, cortex-m7, or the path'),
        ({"target": "tflite-micro", "device": "no.toml"}, 'space.device = "no.toml": no.toml: '),
        ({"target": "tflite-micro", "blocks": ("gru", "lstm:units=8")}, "space.blocks: tflite-micro can run none of gru, lstm"),
        ({"target": "tflite-micro", "tail": "gru:units=8"}, "space.tail: tflite-micro cannot run gru: whole windows"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(keys, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        SpaceConfig(**keys)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('search.suggestions=["gru:units=8"]', "search.suggestions[0]: tflite-micro cannot run gru: "),
        ('search.zoo=["Att-RNN"]', "search.zoo: Att-RNN: tflite-micro cannot run bilstm: "),
        ('ensemble.baseline="lstm:units=8"', "ensemble.baseline: tflite-micro cannot run lstm: "),
    ],
)
def test_suggestions_models_of_the_zoo_and_baselines_that_cannot_run_are_refused_by_name(override, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        configuration.load(None, ["space.target=tflite-micro", override])


def test_blocks_that_cannot_run_are_left_out_and_said_once(caplog):
    config = configuration.load(None, ["space.target=tflite-micro", 'space.blocks=["tdnn", "gru", "lstm", "bigru"]'])
    assert [kind.kind for kind in config.space.build().types] == ["tdnn"]
    with caplog.at_level(logging.INFO):
        starts = search.given(config, table(config.space).measure)
    blocks, models = (record.getMessage() for record in caplog.records)
    assert blocks.startswith('space.target = "tflite-micro" leaves out the blocks gru, lstm (whole windows unroll')
    assert "; bigru (whole windows unroll" in blocks
    assert models == 'space.target = "tflite-micro" leaves out the zoo\'s ' + ", ".join(
        name for name, model in zoo.ZOO.items() if re.search("gru|lstm", str(model.tower))
    )
    assert starts and not any(re.search("gru|lstm", str(proposal.architecture)) for proposal in starts)


def test_without_a_target_nothing_is_said(caplog):
    with caplog.at_level(logging.INFO):
        search.given(configuration.Config(), lambda tower: Cost(1, 1, 1))
    assert not caplog.records


def test_recurrences_run_frame_by_frame():
    causal = replace(MICRO, causal=True, blocks=("gru", "lstm", "rnn", "attention"))
    assert list(causal.left_out) == ["attention"]
    assert cost("gru:units=16", causal).arena_kb > 0
    with pytest.raises(ArchitectureError, match="tflite-micro cannot run gru: whole windows"):
        cost("gru:units=16")


def test_the_table_of_gaps_names_blocks_and_heads_that_there_are():
    for target in TARGETS.values():
        assert {*target.windows, *target.steps} <= {*BLOCK_TYPES, *HEADS}


# Where figures are told.


def test_a_journal_without_the_figures_is_read():
    result = replace(completed(0, 0.5), cost=Cost(1, 2, 3, flash_kb=60.5, arena_kb=20.25, device_ms=7.0))
    assert decode(encode(result)) == result
    line = encode(result)
    line["cost"] = {name: line["cost"][name] for name in ("params", "macs", "activations", "latency_ms")}
    assert decode(line).cost == Cost(1, 2, 3)


def test_the_line_of_a_trial_tells_them_where_they_are_known():
    plain = completed(0, 0.5)
    assert "flash" not in describe(trial(0), plain, "accuracy") and "device" not in describe(trial(0), plain, "accuracy")
    told = replace(plain, cost=Cost(100, 1000, 50, flash_kb=60.54, arena_kb=20.25, device_ms=7.4))
    assert " params=100 flash=60.5kB arena=20.2kB device=7ms depth=" in describe(trial(0), told, "accuracy")
    assert COLUMNS["arena_kb"].values([(trial(0), told)])[0] == 20.25
    assert math.isnan(COLUMNS["arena_kb"].values([(trial(0), plain)])[0])


def test_the_job_for_a_microcontroller_finds_towers_within_its_limits():
    config = configuration.load(ROOT / "jobs" / "kws_mcu.toml")
    space, costs, rng = config.space.build(), table(config.space), np.random.default_rng(0)

    def fits(one: Architecture) -> bool:
        return not config.space.budget.objection(costs.measure(one))

    found = [shrunk(random_tower(space, depth, rng), space, fits) for depth in (1, 2, 3, 4) * 5]
    assert sum(tower is not None for tower in found) >= 12
    assert (config.space.max_flash_kb, config.space.max_arena_kb) == (64, 32)


def test_flash_and_arena_agree_with_a_converted_file_in_tflite_micro():
    for module in ("litert_torch", "ai_edge_quantizer", "tflite_micro"):
        pytest.importorskip(module, reason="pip install litert-torch tflite-micro")
    bench = runpy.run_path(str(ROOT / "benchmarks" / "arena.py"))
    towers = [
        "conv:channels=8,kernel=3,stride=2/bcres:channels=12,dilation=2,stride=2/bcres:channels=12,dilation=1,stride=1",
        "mbconv:channels=8,expand=3,kernel=3,se=1,stride=2/dsconv:channels=16,kernel=5,stride=1/dsconv:channels=16,kernel=3",
        "tcres:channels=24,kernel=9,stride=2/tcres:channels=24,kernel=9,stride=1/dense:units=48",
        "matchbox:channels=32,kernel=13,repeat=2,residual=1/mbconv1d:channels=24,expand=3,kernel=9,stride=2",
        "svdf:filters=64,memory=8/tdnn:channels=40,kernel=5,dilation=2/conv1d:channels=40,kernel=3,stride=1",
        "avg_pool2d:bands=3,frames=2/res2d:channels=8,stride=2/preres2d:channels=8,dilation=1,growth=1/band_fold:channels=16",
    ]
    torch.manual_seed(0)
    for text in towers:
        tower = spell(text, BLOCK_TYPES)
        told, found = cost(text), bench["real"](tower, MICRO.surroundings(BANDS, CLASSES))
        assert 1024 * told.arena_kb == pytest.approx(found.arena, rel=0.1), text
        assert 1024 * told.flash_kb == pytest.approx(found.flash, rel=0.1), text
