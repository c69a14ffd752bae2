"""Tuning by Optuna's samplers (Akiba et al., KDD 2019, doi:10.1145/3292500.3330701), asked and told by the coordinator."""

from __future__ import annotations

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpcnas.core.trial import Result, Trial
from hpcnas.core.tuning import LOGARITHMIC, Settings, TuningConfig

SAMPLERS = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
}


class OptunaTuner:
    """Suggestions depend on the seed, the trial's number and the latest result of each trial, so that a resumed search goes on
    alike: the study is made anew for each of them."""

    def __init__(self, config: TuningConfig, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._config, self._seed = config, seed
        self._distributions: dict[str, BaseDistribution] = {
            name: FloatDistribution(low, high, log=name in LOGARITHMIC) for name, (low, high) in config.ranges.items()
        }
        self._told: dict[int, FrozenTrial] = {}

    def suggest(self, trial: int) -> Settings:
        seed = int(np.random.SeedSequence([self._seed, trial, 7]).generate_state(1)[0])
        study = optuna.create_study(direction="maximize", sampler=SAMPLERS[self._config.name](seed))
        study.add_trials([told for _, told in sorted(self._told.items())])
        return tuple(sorted(study.ask(self._distributions).params.items()))

    def tell(self, trial: Trial, result: Result) -> None:
        """What came of a trial; of one that was paused before, in place of what was told then."""
        settings = dict(trial.proposal.settings)
        if settings.keys() == self._distributions.keys():  # suggested or copied architectures have none, or others
            state = TrialState.COMPLETE if result.state.has_score else TrialState.FAIL
            value = result.merit if result.state.has_score else None
            told = create_trial(params=settings, distributions=self._distributions, value=value, state=state)
            self._told[trial.id] = told
