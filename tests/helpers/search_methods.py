"""How a search proposes and prunes, by the names of sampler and pruner."""

from orchestrator.study.method import SearchMethod
from orchestrator.study.pruners import pruner_named
from orchestrator.study.samplers import sampler_named
from results.scores.ranking import Objectives, parse_requirement


def search_method(
    *,
    trials: int = 6,
    sampler: str = "tpe",
    pruner: str = "halving",
    metrics: tuple[str, ...] = ("auc",),
    requirements: tuple[str, ...] = (),
    seed: int = 0,
) -> SearchMethod:
    objectives = Objectives(metrics, tuple(map(parse_requirement, requirements)))
    return SearchMethod(
        objectives,
        sampler_named(sampler),
        pruner_named(pruner),
        seed=seed,
        trials=trials,
        epochs=20,
        folds=4,
    )
