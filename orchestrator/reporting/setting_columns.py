"""Columns of TensorBoard's HParams table: one for every setting that a trial may have, and its cells."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any, Final, Literal

from google.protobuf.struct_pb2 import Value
from tensorboard.plugins.hparams import api_pb2

from trainables.config.trial_config import TrialConfig, setting_names

Kind = Literal["text", "flag", "number"]
Scalar = str | bool | float

FIRST_COLUMNS: Final = (
    "model.backbone",
    "model.cut",
    "model.trained_stages",
    "optimizer.lr",
    "optimizer.name",
)

_DATA_TYPES: Final = MappingProxyType(
    {
        "text": api_pb2.DATA_TYPE_STRING,
        "flag": api_pb2.DATA_TYPE_BOOL,
        "number": api_pb2.DATA_TYPE_FLOAT64,
    }
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the HParams table.

    Attributes:
        name: Name of the setting, such as `optimizer.lr`.
        kind: `number`, `flag` (true or false) or `text`; a setting that mixes numbers and words is text.
        choices: All values that occur, for filters; empty where they are not known.
        is_first: TensorBoard opens the table with five columns: those with this mark first, then the others,
            each group sorted by name.
    """

    name: str
    kind: Kind
    choices: tuple[Scalar, ...] = ()
    is_first: bool = False


def setting_columns(
    choices: Mapping[str, Collection[Any]] = MappingProxyType({}),
) -> tuple[Column, ...]:
    """Return a column for every setting of a trial, conditional ones included.

    Args:
        choices: Setting -> all values of this search, where known; others come from the configuration.

    >>> [column for column in setting_columns() if column.name == "training.sampling"]
    [Column(name='training.sampling', kind='text', choices=('none', 'over', 'under'), is_first=False)]
    """
    schema = TrialConfig.model_json_schema()
    columns = []
    for name in setting_names():
        kind, known = _kind_of(_setting_schema(schema, name))
        values = tuple(shown(value, kind) for value in choices[name]) if name in choices else known
        columns.append(Column(name, kind, tuple(dict.fromkeys(values)), name in FIRST_COLUMNS))
    return tuple(columns)


def shown(value: Any, kind: Kind) -> Scalar:
    """Convert a setting's value to the form in the HParams table.

    Lists become `512-256`, or `none` when empty, as the search spaces name hidden layers.

    >>> shown((512, 256), "text"), shown((), "text"), shown(1.3, "text"), shown(3, "number")
    ('512-256', 'none', '1.3', 3.0)
    """
    if kind == "flag":
        return bool(value)
    if kind == "number":
        return float(value)
    if isinstance(value, list | tuple):
        return "-".join(str(item) for item in value) or "none"
    return str(value)


def column_info(column: Column) -> api_pb2.HParamInfo:
    """Describe a column to TensorBoard, with its choices or its range for the filters."""
    info = api_pb2.HParamInfo(name=column.name, type=_DATA_TYPES[column.kind], differs=column.is_first)
    if column.kind == "number" and column.choices:
        numbers = [float(choice) for choice in column.choices]
        info.domain_interval.min_value, info.domain_interval.max_value = min(numbers), max(numbers)
    elif column.choices:
        info.domain_discrete.extend(column.choices)
    return info


def cell_of(value: Scalar) -> Value:
    """Return a value as the table holds it."""
    if isinstance(value, bool):
        return Value(bool_value=value)
    return Value(string_value=value) if isinstance(value, str) else Value(number_value=value)


def kind_of_value(value: Any) -> Kind:
    """Return the kind of a setting that no column is known for."""
    if isinstance(value, bool):
        return "flag"
    return "number" if isinstance(value, Real) else "text"


def _setting_schema(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Find a dotted setting in the JSON schema of the configuration."""
    place = schema
    for part in name.split("."):
        place = place["properties"][part]
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rsplit("/", 1)[-1]]
    return place


def _kind_of(setting: Mapping[str, Any]) -> tuple[Kind, tuple[Scalar, ...]]:
    """Kind of a setting, and its choices where the schema lists them all."""
    options = [option for option in setting.get("anyOf", [setting]) if option.get("type") != "null"]
    types = {option["type"] for option in options}
    if types == {"boolean"}:
        return "flag", (True, False)
    if types <= {"integer", "number"}:
        return "number", ()
    return "text", tuple(options[0].get("enum", ())) if len(options) == 1 else ()
