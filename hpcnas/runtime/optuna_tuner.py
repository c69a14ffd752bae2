"""Tuning by Optuna's samplers (Akiba et al., KDD 2019, doi:10.1145/3292500.3330701), asked and told by the coordinator."""

from __future__ import annotations

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from hpcnas.core.trial import Result, Trial
from hpcnas.core.tuning import LOGARITHMIC, Settings, TuningConfig

SAMPLERS = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
}


class OptunaTuner:
    """Suggestions depend on the seed, the trial's number and what was told, so that a resumed search goes on alike."""

    def __init__(self, config: TuningConfig, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._config, self._seed = config, seed
        self._distributions = {
            name: FloatDistribution(low, high, log=name in LOGARITHMIC) for name, (low, high) in config.ranges.items()
        }
        self._study = optuna.create_study(direction="maximize", sampler=self._sampler(0))
        self._asked: dict[int, optuna.Trial] = {}

    def suggest(self, trial: int) -> Settings:
        self._study.sampler = self._sampler(trial)
        self._asked[trial] = self._study.ask(self._distributions)
        return tuple(sorted(self._asked[trial].params.items()))

    def tell(self, trial: Trial, result: Result) -> None:
        state = TrialState.COMPLETE if result.state.has_score else TrialState.FAIL
        value = result.score if result.state.has_score else None
        if trial.id in self._asked:
            self._study.tell(self._asked.pop(trial.id), value, state)
        elif dict(trial.proposal.settings).keys() == self._distributions.keys():
            params = dict(trial.proposal.settings)
            self._study.add_trial(create_trial(params=params, distributions=self._distributions, value=value, state=state))

    def _sampler(self, trial: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._seed, trial, 7]).generate_state(1)[0])
        return SAMPLERS[self._config.name](seed)
