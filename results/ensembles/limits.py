"""How many trials an ensemble is made of; quick to import, since the command line shows it."""

from typing import Final

DEFAULT_MEMBERS: Final = 8  # of an ensemble, at most
CONSIDERED: Final = 40  # best trials among which members are looked for
