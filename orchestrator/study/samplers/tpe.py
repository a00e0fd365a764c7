"""`tpe`: tree-structured Parzen estimators: more of what the best trials have in common, conditions included.

TPE reads every trial at every proposal, once for each group of settings that occur together, so its cost
grows with the search. It gives old trials less weight anyway, so only the best and the newest are kept.

Source: Bergstra et al. (2011), "Algorithms for hyper-parameter optimization"; Ozaki et al. (2022),
"Multiobjective tree-structured Parzen estimator".
"""

import optuna

from orchestrator.study.optuna_private import QuickTPESampler
from orchestrator.study.sampler import Sampler, SamplingFacts
from orchestrator.study.seeded import SeededByTrial
from orchestrator.study.window import BoundedSampler


def _build(facts: SamplingFacts) -> optuna.samplers.BaseSampler:
    def make(seed: int) -> optuna.samplers.BaseSampler:
        return QuickTPESampler(seed=seed, startup_trials=facts.startup_trials)

    return BoundedSampler(SeededByTrial(make, facts.lasting_seed), facts.directions)


TPE = Sampler("tpe", _build, "more of what the best trials have and the others have not; learns conditions")
