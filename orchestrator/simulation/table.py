"""A table of results: what configurations did on sets, epoch by epoch."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from trainables.common.files import write_atomically

PACKAGED: Final = Path(__file__).parent / "results.json.gz"
PACKAGED_RATES: Final = Path(__file__).parent / "learning_rates.json.gz"


@dataclass(frozen=True, slots=True)
class Trajectory:
    """How a configuration did on a set.

    Attributes:
        folds: AUC of each fold at each epoch, the best so far by the mean over folds.
        seconds: Seconds that each epoch took on one core; of the first, features and opening included.
        value: AUC of the trial at its end, mean over folds, in [0, 1].
    """

    folds: tuple[tuple[float, ...], ...]
    seconds: tuple[float, ...]
    value: float

    def value_at(self, epoch: int) -> float:
        """Return the mean AUC over folds at an epoch, 1-based."""
        own = self.folds[epoch - 1]
        return sum(own) / len(own)


@dataclass(frozen=True, slots=True)
class ResultTable:
    """What a list of configurations did on sets.

    Attributes:
        settings: Dotted setting -> value of each configuration; what is missing has its default.
        sets: Name of a set -> trajectory of each configuration there; None for one that failed.
        space: Name of the space that the configurations were drawn from, in the form `module:function`.
        context: Facts that the conditions of the space depend on.
        folds: Number of folds.
        made: How the table was made: command and versions of packages.
        fresh_stores: Configurations, as indices, before which the store of features was empty: the first one,
            and each with which the table was extended later.
        trained: Name of a set -> images that all folds of an epoch train on, counted once a fold. By them a
            search with a time limit guesses what the training of a head takes; on other sets it guesses none.
    """

    settings: tuple[Mapping[str, Any], ...]
    sets: Mapping[str, tuple[Trajectory | None, ...]]
    space: str
    context: Mapping[str, Any]
    folds: int
    made: Mapping[str, Any]
    fresh_stores: tuple[int, ...] = (0,)
    trained: Mapping[str, int] = field(default_factory=dict)

    def without(self, name: str) -> "ResultTable":
        """Return the table without a set and the others of its family, which teach much of the same."""
        family = family_of(name)
        return replace(
            self, sets={other: found for other, found in self.sets.items() if family_of(other) != family}
        )


def family_of(name: str) -> str:
    """Return what sets that differ in a number only have in common, such as phantoms of several subtleties.

    >>> family_of("phantom-0.5"), family_of("infn")
    ('phantom', 'infn')
    """
    return name.partition("-")[0]


def write_table(table: ResultTable, path: Path) -> None:
    """Write a table, compressed; equal tables give equal files.

    Args:
        table: The table. AUCs are kept to four digits, seconds to milliseconds.
        path: File to write.
    """
    sets = {
        name: [
            own
            and {
                "folds": [[round(value, 4) for value in epoch] for epoch in own.folds],
                "seconds": [round(value, 3) for value in own.seconds],
                "value": round(own.value, 4),
            }
            for own in found
        ]
        for name, found in table.sets.items()
    }
    content = {
        "made": dict(table.made),
        "space": table.space,
        "context": dict(table.context),
        "folds": table.folds,
        "fresh_stores": list(table.fresh_stores),
        "settings": [dict(own) for own in table.settings],
        "sets": sets,
        "trained": dict(table.trained),
    }
    write_atomically(path, gzip.compress(json.dumps(content, sort_keys=True).encode(), mtime=0))


def read_table(path: Path) -> ResultTable:
    """Read a table that `write_table` has written."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    sets = {
        name: tuple(
            own
            and Trajectory(tuple(tuple(epoch) for epoch in own["folds"]), tuple(own["seconds"]), own["value"])
            for own in found
        )
        for name, found in content["sets"].items()
    }
    settings, facts = tuple(content["settings"]), ("space", "context", "folds", "made")
    fresh_stores = tuple(content.get("fresh_stores", (0,)))
    own = {name: content[name] for name in facts}
    return ResultTable(settings, sets, **own, fresh_stores=fresh_stores, trained=content.get("trained", {}))


def packaged_table() -> ResultTable:
    """Read the table that comes with the package: real and synthetic sets, frozen nets.

    >>> table = packaged_table()
    >>> len(table.settings) == len(table.sets["infn"])
    True
    """
    return read_table(PACKAGED)


def packaged_rates() -> ResultTable:
    """Read the table of learning rates: linear and hidden heads under each optimiser, else all the same.

    >>> {own["classical.name"] for own in packaged_rates().settings if "classical.name" in own}
    set()
    """
    return read_table(PACKAGED_RATES)
