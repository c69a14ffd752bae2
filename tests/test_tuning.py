from dataclasses import replace

import numpy as np
import pytest
from helpers import SPACE, completed, trial

from hpcnas.core.archive import Archive
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.errors import ConfigError
from hpcnas.core.messages import Ready
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.strategies import RandomSearch
from hpcnas.core.trial import Cost, Proposal, Trial, TrialState
from hpcnas.core.tuning import NoTuner, TuningConfig
from hpcnas.runtime.desk import make_tuner


def score(settings: dict[str, float]) -> float:
    """Best at a learning rate of 0.01 and without dropout."""
    return 1 - abs(np.log10(settings["learning_rate"] / 0.01)) - settings["dropout"]


def tell(tuner, id_: int, settings) -> None:
    tuner.tell(Trial(id_, Proposal(trial(0).architecture, None, "start", settings), 0), completed(id_, score(dict(settings))))


def tuned(name: str, trials: int) -> list:
    tuner, suggested = make_tuner(TuningConfig(name=name), seed=0), []
    for id_ in range(trials):
        suggested.append(tuner.suggest(id_))
        tell(tuner, id_, suggested[-1])
    return suggested


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_suggestions_lie_in_the_ranges_and_depend_on_seed_and_results_alone(name):
    suggested = tuned(name, 15)
    assert suggested == tuned(name, 15) and len(set(suggested)) == 15
    for settings in map(dict, suggested):
        assert settings.keys() == {"learning_rate", "weight_decay", "dropout"}
        assert 3e-3 <= settings["learning_rate"] <= 3e-2 and 0 <= settings["dropout"] <= 0.3


def test_tpe_learns_where_the_good_settings_are():
    scores = [score(dict(settings)) for settings in tuned("tpe", 60)]
    assert np.mean(scores[-20:]) > np.mean(scores[:10]) + 0.05


def test_a_resumed_tuner_goes_on_as_if_nothing_had_happened():
    suggested = tuned("tpe", 20)
    resumed = make_tuner(TuningConfig(name="tpe"), seed=0)
    for id_, settings in enumerate(suggested[:19]):
        tell(resumed, id_, settings)
    assert resumed.suggest(19) == suggested[19]


def test_a_paused_trial_counts_once_with_its_latest_result():
    def told(results: list[tuple[int, float]]):
        tuner = make_tuner(TuningConfig(name="tpe"), seed=0)
        for id_, value in results:
            settings = (("dropout", 0.02 * id_), ("learning_rate", 0.005 * (1 + id_ % 3)), ("weight_decay", 0.01))
            result = replace(completed(id_, value), state=TrialState.PAUSED if value < 0.5 else TrialState.COMPLETED)
            tuner.tell(Trial(id_, Proposal(trial(0).architecture, None, "start", settings), 0), result)
        return tuner.suggest(20)

    last = [(id_, 0.5 + 0.02 * id_) for id_ in range(14)]
    live = [pair for id_, value in last for pair in ((id_, 0.1 + 0.02 * (13 - id_)), (id_, value))]
    assert told(live) == told(last) == told(last[::-1]), "the latest results count, in whatever order they came"
    assert told(live[::2]) != told(last), "and they matter"


def test_the_coordinator_gives_every_trial_its_settings_and_tells_what_came_of_it():
    def coordinator(archive: Archive) -> Coordinator:
        return Coordinator(
            strategy=RandomSearch(), space=SPACE, config=SearchConfig(max_trials=9), seed=0, record=lambda event: None,
            measure=lambda architecture: Cost(1, 1, 1), tuner=make_tuner(TuningConfig(name="tpe"), 0), archive=archive,
        )  # fmt: skip

    first = coordinator(Archive())
    reply = first.handle(Ready(0))
    for _ in range(5):
        settings = dict(reply.trial.proposal.settings)
        reply = first.handle(Ready(0, completed(reply.trial.id, score(settings))))
    events = [e for i in range(5) for e in (first.archive.trials[i], first.archive.results[i])]
    assert coordinator(Archive(events)).handle(Ready(0)).trial == reply.trial


def test_without_tuning_nothing_is_suggested():
    assert isinstance(make_tuner(TuningConfig(), 0), NoTuner) and NoTuner().suggest(3) == ()


@pytest.mark.parametrize(("key", "value"), [("learning_rate", (0.0, 0.1)), ("dropout", (0.3, 0.1)), ("name", "grid")])
def test_ranges_that_cannot_work_are_refused(key, value):
    with pytest.raises(ConfigError, match=f"tuning.{key}"):
        TuningConfig(**{key: value})
