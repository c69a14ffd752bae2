"""Models drawn by hand: each can be built and has its paper's size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hpcnas import config as configuration
from hpcnas import search
from hpcnas.config import TC_RESNET8
from hpcnas.core.budget import Budget
from hpcnas.core.errors import ConfigError
from hpcnas.nn.cost import CostTable, measure
from hpcnas.nn.model import Surroundings, build_model
from hpcnas.store.run_dir import RunDir
from hpcnas.zoo import ZOO, chosen, fitting, objections, starts
from hpcnas.zoo.__main__ import table

AS_IN_A_RUN = Surroundings(bands=40, classes=12)


@pytest.fixture(scope="module")
def costs() -> CostTable:
    return CostTable(AS_IN_A_RUN, frames=98)


@pytest.mark.parametrize("model", ZOO.values(), ids=lambda model: model.name)
def test_every_model_has_its_papers_size(model):
    ours = CostTable(Surroundings(model.bands, model.classes), frames=50).measure(model.tower).params
    assert abs(ours - model.params) <= model.tolerance * model.params, f"{ours} here, {model.params} in the paper"
    assert model.tolerance < 0.1 and (model.differs or model.tolerance <= 0.01), "a difference is explained"


@pytest.mark.parametrize("model", ZOO.values(), ids=lambda model: model.name)
def test_every_model_has_a_name_for_the_command_line_and_a_paper_that_can_be_found(model):
    assert not set(model.name) & set(" ,/") and ("doi:10." in model.paper or "arXiv:" in model.paper)


SMALL = [model for model in ZOO.values() if model.params < 60_000 and not model.name.startswith("Res15")]


@pytest.mark.parametrize("model", SMALL, ids=lambda model: model.name)
def test_small_models_learn_on_a_runs_features(model):
    network = build_model(model.tower, AS_IN_A_RUN, seed=0)
    network(torch.randn(2, 40, 98)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert measure(network, 40, 98).params == CostTable(AS_IN_A_RUN, 98).measure(model.tower).params


def test_those_within_the_limits_are_found_and_the_others_say_which_one_they_break(costs):
    budget = Budget(max_params=10_000, max_activations=150_000)
    assert [model.name for model in fitting(costs.measure, budget)] == ["BC-ResNet-1-t2", "SparkNet-16"]
    why = objections(costs.measure, budget)
    assert why["TC-ResNet8"] == "params = 65180, over max_params = 10000"
    assert why["BC-ResNet-1"].startswith("activations = ") and why.keys() == ZOO.keys()
    assert [model.name for model in fitting(costs.measure, Budget())] == list(ZOO)


def test_of_other_papers_the_smallest_that_can_be_made_narrower_begins_a_search_too(costs):
    budget = Budget(max_params=10_000, max_activations=150_000)
    begins = [proposal.mutation for proposal in starts(["fitting"], costs.measure, budget)]
    assert begins[:2] == ["zoo BC-ResNet-1-t2", "zoo SparkNet-16"]
    others = ["zoo TC-ResNet8", "zoo DS-CNN-S", "zoo MatchboxNet-3x1x64", "zoo TENet6-narrow", "zoo Res8-narrow"]
    assert begins[2:] == others, "whatever limit they are over"
    assert starts(["fitting"], costs.measure, budget, may_narrow=False) == starts(
        ["BC-ResNet-1-t2", "SparkNet-16"], costs.measure, budget
    )
    assert len(starts(["fitting"], costs.measure, Budget())) == len(ZOO)


def test_models_that_look_ahead_are_no_candidates_in_a_causal_run():
    causal = CostTable(Surroundings(40, 12, causal=True), 98)
    why = objections(causal.measure, Budget())
    assert {name for name, reason in why.items() if reason} == {"Att-RNN", "MHAtt-RNN", "x-vector"}
    assert why["x-vector"] == "cannot be built: statistics_pool is not causal"


def test_models_are_chosen_by_name_whatever_the_case():
    assert [model.name for model in chosen(["bc-resnet-1.5", "TENet6"])] == ["BC-ResNet-1.5", "TENet6"]
    with pytest.raises(ConfigError, match='no model "resnet" in the zoo; it has TC-ResNet8, '):
        chosen(["resnet"])


def test_the_baseline_of_the_ensemble_stage_is_the_zoos():
    assert ZOO["TC-ResNet8"].architecture == TC_RESNET8


def test_the_page_about_the_zoo_has_its_table():
    page = (Path(__file__).parents[1] / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert "\n".join(table()) in page, "python -m hpcnas.zoo prints the table for docs/zoo.md"


def test_models_that_a_search_has_no_room_for_are_named(tmp_path, caplog):
    config = configuration.load(None, ["search.max_trials=4", 'search.suggestions=["dense:units=8"]', 'search.zoo=["all"]'])
    of = CostTable(config.space.surroundings(40, 12), 100).measure
    begun = search.begun_with(RunDir(tmp_path), config, (), of)
    (told,) = caplog.messages
    assert told == f"search.max_trials = 4: no trial is left for {', '.join(one.mutation for one in begun[4:])}"
    assert begun[0].mutation == "suggestion" and f": no trial is left for zoo {list(ZOO)[3]}, " in told and len(begun) > 30
    caplog.clear()
    roomy = replace(config, search=replace(config.search, max_trials=len(begun)))
    search.begun_with(RunDir(tmp_path), roomy, (), of)
    assert not caplog.messages
