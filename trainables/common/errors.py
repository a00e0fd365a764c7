"""Errors that a caller can act on.

OrchestrateError            root: the command line prints its message and exits with 2
├── MachineError            the machine failed, not the request: exits with 1
├── UnknownNameError        a task, backbone, source or setting that is not in its registry
├── ConfigError             a configuration that no trial can run
├── DataError               images, labels or patients that cannot be used
│   └── OneClassError       a single class where two are needed
├── SplitError              a split that cannot be made, or does not belong to the data
├── WeightsError            pretrained weights that are missing or do not fit
├── PrefixError             stored features that cannot be written or read
└── OutOfTimeError          the time limit of the search came while features were computed
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar, Final

INTERRUPTED: Final = 130  # exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT


class OrchestrateError(Exception):
    """An error that the user can correct; the message says what was needed, what was found and what to do.

    Attributes:
        exit_code: Exit code of the command line.
    """

    exit_code: ClassVar[int] = 2


class MachineError(OrchestrateError):
    """A disk, file or process of the machine that failed, though the request can be met."""

    exit_code = 1


class UnknownNameError(OrchestrateError):
    """A name that a registry does not hold.

    Args:
        kind: What is named, in a word or two.
        name: The name.
        known: Names that the registry holds.
        own: How the user names one of their own, such as `MODULE:FUNCTION`; empty where there is no way.

    >>> raise UnknownNameError("backbone", "vgg61", ["vgg16", "resnet50"])
    Traceback (most recent call last):
    ...
    trainables.common.errors.UnknownNameError: unknown backbone 'vgg61'; did you mean 'vgg16'? Known: ...
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, own: str = "") -> None:
        choices = sorted(known)
        near = difflib.get_close_matches(name, choices, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        form = f"; {own} names one of your own" if own else ""
        super().__init__(f"unknown {kind} {name!r}{hint} Known: {', '.join(choices)}{form}")


class ConfigError(OrchestrateError):
    """A configuration that no trial can run."""


class DataError(OrchestrateError):
    """Images, labels or patients that cannot be used."""


class OneClassError(DataError):
    """A single class where at least two are needed."""


class SplitError(OrchestrateError):
    """A split that cannot be made, or that does not belong to the data at hand."""


class WeightsError(OrchestrateError):
    """Pretrained weights that are missing or do not fit the model."""


class PrefixError(OrchestrateError):
    """Stored features that cannot be written or read."""


class OutOfTimeError(OrchestrateError):
    """The time limit of the search came while features were computed.

    Attributes:
        view_seconds: Seconds that the view which had been begun takes in all; None if none had been begun.
    """

    def __init__(self, message: str, *, view_seconds: float | None = None) -> None:
        super().__init__(message)
        self.view_seconds = view_seconds
