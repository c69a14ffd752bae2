"""What models take on a microcontroller, in the report of any run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import made_run

from hpcnas import config as configuration
from hpcnas import report
from hpcnas.analysis.models import models
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.space import spell
from hpcnas.data import features
from hpcnas.judging.footprint import footprints
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.cost import CostTable

TOWER = spell("conv:channels=8,kernel=3,stride=2/dense:units=8", BLOCK_TYPES)
OTHER = spell("tdnn:channels=16,kernel=3", BLOCK_TYPES)
RECURRENT = spell("dense:units=8/gru:units=8", BLOCK_TYPES)


def override(run, *overrides: str):
    config = configuration.load(run.config, list(overrides))
    run.config.write_text(configuration.dump(config))
    return config


@pytest.mark.parametrize("causal", [False, True])
def test_a_run_without_a_target_is_told_what_a_search_with_one_records(tmp_path, causal):
    run = made_run(tmp_path / "run")
    config = override(run, f"space.causal={str(causal).lower()}")
    (found,) = footprints(run, {"it": [TOWER]})
    frames = features.frames_of(config.data.window_s, config.features.bank)
    space = replace(config.space, target="tflite-micro", device="cortex-m4")
    recorded = CostTable(space.surroundings(40, 2), frames).measure(TOWER)
    assert (round(found.flash_kb, 2), round(found.arena_kb, 2)) == (recorded.flash_kb, recorded.arena_kb)
    assert found.device_ms == 0 and recorded.device_ms > 0, "no processor is named"
    assert found.operators["CONV_2D"] + found.operators["DEPTHWISE_CONV_2D"] >= 1
    assert causal or found.macs == recorded.macs, "a step of a stream computes less than a window"
    override(run, "space.target=tflite-micro", "space.device=cortex-m4")
    assert round(footprints(run, {"it": [TOWER]})[0].device_ms, 2) == recorded.device_ms


def test_an_ensemble_keeps_all_weights_but_works_in_the_memory_of_its_largest(tmp_path):
    run = made_run(tmp_path / "run")
    one, other, both = footprints(run, {"one": [TOWER], "other": [OTHER], "both": [TOWER, OTHER]})
    assert both.macs == one.macs + other.macs
    assert max(one.flash_kb, other.flash_kb) < both.flash_kb < one.flash_kb + other.flash_kb
    assert max(one.arena_kb, other.arena_kb) < both.arena_kb < one.arena_kb + other.arena_kb


def test_what_tflite_micro_lacks_is_said_in_the_row(tmp_path):
    run = made_run(tmp_path / "run")
    row, both = footprints(run, {"it": [RECURRENT], "both": [TOWER, RECURRENT]})
    assert row.lacks.startswith("gru: whole windows unroll a recurrence") and both.lacks == row.lacks
    override(run, "space.causal=true")
    assert not footprints(run, {"it": [RECURRENT]})[0].lacks, "frame by frame it runs"


def test_the_tail_and_the_head_count(tmp_path):
    run = made_run(tmp_path / "run")
    (bare,) = footprints(run, {"it": [OTHER]})
    override(run, 'space.tail="gru:units=8"')
    assert footprints(run, {"it": [OTHER]})[0].lacks.startswith("gru: ")
    override(run, 'space.tail="tdnn:channels=16,kernel=3"')
    assert footprints(run, {"it": [OTHER]})[0].flash_kb > bare.flash_kb


@pytest.mark.parametrize("causal", [False, True])
def test_the_report_has_a_row_for_every_model(tmp_path, capsys, causal):
    run = made_run(tmp_path / "run")
    override(run, f"space.causal={str(causal).lower()}")
    assert "gru" in str(models(run)[0][0].towers)
    report.report(ConfiguredRun.open(run.root))
    page, told = run.report.read_text(), " ".join(capsys.readouterr().out.split())
    section = page[page.index('<h2 id="device">') : page.index('<h2 id="search">')]
    assert [name in section for name in ("ensemble of 2", "member 0", "member 1")] == [True] * 3
    assert "On a microcontroller" in told and f"MACs of one {'step' if causal else 'window'}" in told
    assert ("tflite-micro cannot run gru: " in section) != causal, "frame by frame it runs"
    assert ("test accuracy of all models over working memory" in section) == causal


def test_a_configuration_that_nothing_reads_costs_this_table_alone(tmp_path, capsys):
    run = made_run(tmp_path / "run")
    run.config.write_text(run.config.read_text() + "\n[unheard]\nof = 1\n")
    report.report(ConfiguredRun.open(run.root))
    said = capsys.readouterr()
    assert "note: what models take on a microcontroller is left out: " in said.err
    assert "On a microcontroller" not in said.out + run.report.read_text()
