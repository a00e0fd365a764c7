"""Who follows the searches that are started from Python or the terminal."""

from collections.abc import Sequence

from cluster.background import BackgroundConnection
from orchestrator.api.displays import Display
from orchestrator.callbacks import Callback
from orchestrator.tuning.surroundings import Surroundings


def surroundings_of(
    display: Display,
    address: str | None,
    callbacks: Sequence[Callback],
    *,
    has_curves: bool = True,
    begun: BackgroundConnection | None = None,
) -> Surroundings:
    """Return the surroundings of a search that a display shows.

    Args:
        display: What shows it.
        address: A Ray cluster; None finds one or starts one here.
        callbacks: Callbacks of the user.
        has_curves: Write the curves of its trials for TensorBoard.
        begun: What connects to Ray, if it was begun before; the session ends it.
    """
    return Surroundings(
        notify=display.note,
        open_view=display.open_view,
        address=address,
        callbacks=tuple(callbacks),
        ends_process=display.ends_process,
        has_curves=has_curves,
        begun=begun,
    )
