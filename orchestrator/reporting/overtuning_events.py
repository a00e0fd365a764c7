"""The overtuning of a search for TensorBoard: two curves over its trials, a picture and a text."""

import io

from orchestrator.reporting.tensorboard import TensorBoardLog
from results.run.run_folder import RunFolder
from results.scores.metrics import metric_named
from results.scores.overtuning import Overtuning


def write_overtuning_events(run: RunFolder, found: Overtuning) -> None:
    """Write the curves of the best trial and of its worth, the picture of both, and the sentence.

    Args:
        run: Run folder of the search.
        found: Its overtuning.
    """
    scalars = [
        (f"overtuning/{name}", stage.trials, value)
        for stage in found.stages
        for name, value in (("claimed", stage.claimed), ("corrected", stage.corrected))
    ]
    log = TensorBoardLog(run.tensorboard, metric=found.metric, split=found.split)
    log.write_search_events(
        "overtuning",
        scalars=scalars,
        texts={"overtuning": found.sentence},
        pictures={"overtuning": overtuning_picture(found)},
    )


def overtuning_picture(found: Overtuning) -> bytes:
    """Draw the best trial and its worth over the trials of a search; returns a PNG file's content."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # takes half a second, which only those who draw should pay

    trials = [stage.trials for stage in found.stages]
    figure = Figure(figsize=(6.4, 4.0), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.step(trials, [stage.claimed for stage in found.stages], where="post", label="best trial, as ranked")
    axes.plot(trials, [stage.corrected for stage in found.stages], label="its worth on other data")
    axes.axhline(found.default.estimate, linestyle=":", color="grey", label="first trial")
    for interval, name, marker in (
        (found.nested, "ensemble, nested", "s"),
        (found.outer, "whole search, nested", "D"),
        (found.sealed, f"sealed part, {found.sealed_model}", "*"),
    ):
        if interval is not None:
            margins = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
            axes.errorbar(trials[-1:], [interval.estimate], yerr=margins, fmt=marker, capsize=3, label=name)
    axes.set_xlabel("complete trials")
    axes.set_ylabel(metric_named(found.metric).header)
    axes.set_title("Luck and gain of the search")
    axes.legend(loc="best", fontsize="small")
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()
