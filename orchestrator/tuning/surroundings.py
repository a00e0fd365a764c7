"""What a search runs on, and who follows it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from cluster.background import BackgroundConnection
from orchestrator.callbacks import Callback, SearchView
from orchestrator.tuning.setup import Prepared
from trainables.common.notify import Notify

# Opens a view for a search that is about to start.
OpenView = Callable[[Prepared], AbstractContextManager[SearchView]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a search runs on and who follows it; none of it changes what the search does.

    Attributes:
        notify: Function called with messages before the first trial.
        open_view: Function that opens the view of the trials.
        address: Address of a Ray cluster; None finds one or starts one here.
        callbacks: Callbacks of the user.
        ends_process: End this process if Ray does not answer after an interrupt.
        has_curves: Write the curves of the trials for TensorBoard.
        begun: What connects to Ray, begun by the caller; a session ends it. None connects to `address`.
    """

    notify: Notify
    open_view: OpenView
    address: str | None = None
    callbacks: Sequence[Callback] = ()
    ends_process: bool = False
    has_curves: bool = True
    begun: BackgroundConnection | None = None
