"""The base of every record that is read from text: frozen, and unknown names are refused."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A pydantic model that cannot be changed and takes no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
