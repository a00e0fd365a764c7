"""What a prediction costs, measured where a trial ran by `orchestrator.tuning.prediction_cost`.

Of networks and heads it is that of the exported graph; of trials on tables that of the fitted model.
"""

from results.scores.metric import Metric

MS_PER_IMAGE = Metric(
    name="ms_per_image",
    kind="cost",
    function=None,
    header="ms/image",
    higher_is_better=False,
    high=float("inf"),
    digits=1,
    place=200,
)
MEGABYTES = Metric(
    name="megabytes",
    kind="cost",
    function=None,
    header="MB",
    higher_is_better=False,
    high=float("inf"),
    digits=1,
    place=210,
)
