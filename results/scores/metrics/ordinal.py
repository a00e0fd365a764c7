"""Metrics of classes that have an order, such as breast density A to D."""

from results.scores.metric import Metric
from results.scores.ordinal import class_distance, quadratic_kappa

QUADRATIC_KAPPA = Metric(
    name="quadratic_kappa",
    kind="decisions",
    function=quadratic_kappa,
    header="QWKappa",
    low=-1.0,
    classes="ordinal",
    place=120,
)
CLASS_DISTANCE = Metric(
    name="class_distance",
    kind="decisions",
    function=class_distance,
    header="Distance",
    higher_is_better=False,
    high=float("inf"),
    classes="ordinal",
    place=130,
)
