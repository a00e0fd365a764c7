"""How a function tells in words what goes on: its caller says where the words go."""

from collections.abc import Callable
from typing import TypeAlias

Notify: TypeAlias = Callable[[str], None]
