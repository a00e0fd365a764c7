"""`table`: placeholder for a backbone where rows are measurements. It has no stages and no weights."""

from collections import OrderedDict

from torch import nn

from trainables.common.errors import ConfigError
from trainables.models.stages import Backbone


def _no_stages(channels: int) -> "OrderedDict[str, nn.Module]":
    raise ConfigError(
        "a table of measurements passes no stages: set classical.name to a model that takes its columns, "
        "such as svm"
    )


TABLE = Backbone(
    name="table",
    build=_no_stages,
    stage_names=("columns",),
    levels=("columns",),
    min_size_px=1,
    size_px=1,
    source="No net: the columns of a table, as they are",
)
