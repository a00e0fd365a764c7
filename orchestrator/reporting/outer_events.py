"""The nested score of a search for TensorBoard: a scalar for each model, and a text."""

from orchestrator.reporting.tensorboard import TensorBoardLog
from results.run.run_folder import RunFolder
from results.scores.outer_result import OuterResult
from results.scores.outer_table import ROLE_TEXTS, sentences


def write_outer_events(run: RunFolder, result: OuterResult) -> None:
    """Write the scores of a nested search, one scalar for each model, and its sentences as a text.

    Args:
        run: Run folder of the outer search.
        result: Result of the nested search.
    """
    scalars = [
        (f"nested/{result.metric}/{role}", 0, score.value.estimate) for role, score in result.scores.items()
    ]
    rows = [
        f"| {ROLE_TEXTS[role]} | {score.value} | {score.inner_value:.3f} | {score.optimism:+.3f} |"
        for role, score in result.scores.items()
    ]
    table = [
        f"| model | {result.metric} [95 %] | said inside | too good by |",
        "| --- | --- | --- | --- |",
        *rows,
    ]
    text = "\n".join([*table, "", *sentences(result)])
    log = TensorBoardLog(run.tensorboard, metric=result.metric, split=result.split)
    log.write_search_events("nested", scalars=scalars, texts={"nested search": text})
