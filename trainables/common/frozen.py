"""The base of every record that is read from text: frozen, and unknown names are refused."""

import functools
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter


class FrozenModel(BaseModel):
    """A pydantic model that cannot be changed and takes no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@functools.cache
def setting_check(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    """Return the check of one setting of a model, made once: making it takes about a millisecond.

    Args:
        model: Model whose fields may be models.
        name: Dotted name of a setting that it has.
    """
    *path, last = name.split(".")
    for part in path:
        model = model.model_fields[part].annotation  # type: ignore[assignment] # a model, by the name
    field = model.model_fields[last]
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return TypeAdapter(kind)
