"""What a further trial may cost: a share of the time that the workers have left."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final

from orchestrator.study.price import Pass, Pricing, free
from results.run.records import TrialRecord
from trainables.config.trial_config import TrialConfig, decode

SHARE: Final = 1 / 8  # of the workers' time that is left; what costs more would stand for too many others
BRIEF: Final = 1 / 8  # of that share: what costs less may come before what costs more
# Up to so many columns a head takes about the same time, without components of them and with.
_FEW_COLUMNS: Final = {False: 1_000, True: 10_000}
BRIEF_BETWEEN: Final = 6  # proposals that must be brief before each trial that is not
_OF_THE_CLOCK: Final = 0.8  # of the time on the clock that is left, or a trial may not end

TimeLeft = Callable[[], float]
_Head = tuple[str, bool, bool]  # its name, and whether it sees scaled features, and components of them
_Fits = dict[int, tuple[float, int]]  # columns -> seconds of the heads that read so many, and their number


class Allowance:
    """Knows which passes are made, what heads took, and what a further trial may cost.

    A sampler that knows nothing of time proposes a pass of a minute as readily as a head on stored features
    that takes a tenth of a second. Once a search has a time limit, a trial may take an eighth of what its
    workers have left, so that late in a search heads on stored features follow each other. A pass that has
    been made costs nothing more. One that a running trial makes costs what it costs, since a worker that
    needs it now has to wait for it; it is made once that trial has opened its features, and is not made if
    the trial ends before.

    Args:
        price: Estimates the time of a configuration on an empty store.
        stored: Passes whose features are stored.
        keeps_passes: What a pass leaves is kept for later trials; else each makes its own passes.
        brief_between: Proposals that must be brief before each trial that is not; 0 for none.

    Attributes:
        brief_between: As given.
    """

    def __init__(
        self,
        price: Pricing = free,
        stored: Iterable[Pass] = (),
        *,
        keeps_passes: bool = True,
        brief_between: int = BRIEF_BETWEEN,
    ) -> None:
        self.brief_between = brief_between
        self._keeps_passes = keeps_passes
        self._price, self._made = price, set(stored)
        self._needed: dict[int, frozenset[Pass]] = {}  # by each trial that was handed out and has not ended
        self._opening = set[int]()  # those of them that have not opened their features yet,
        self._under_way = set[Pass]()  # and what these need
        self._took, self._guessed = 0.0, 0.0  # seconds of the trained heads that have ended
        self._fits: defaultdict[_Head, _Fits] = defaultdict(dict)
        self._seconds_left: TimeLeft | None = None
        self._workers: Callable[[], int] = lambda: 1
        self._factor = 1.0  # of the limit

    def begin(self, seconds_left: TimeLeft, workers: Callable[[], int]) -> None:
        """Begin to count the time.

        Args:
            seconds_left: Returns the seconds until the search is out of time.
            workers: Returns the number of workers.
        """
        self._seconds_left, self._workers = seconds_left, workers

    @property
    def is_limited(self) -> bool:
        """The search has a time limit."""
        return self._seconds_left is not None

    @property
    def limit(self) -> float:
        """Seconds that a trial may take; infinite without a time limit."""
        if self._seconds_left is None:
            return math.inf
        left = max(0.0, self._seconds_left())
        return self._factor * min(SHARE * max(1, self._workers()) * left, _OF_THE_CLOCK * left)

    @contextmanager
    def briefly(self) -> Iterator[None]:
        """Allow a trial no more than an eighth of what it may cost otherwise."""
        self._factor = BRIEF
        try:
            yield
        finally:
            self._factor = 1.0

    def is_brief(self, config: TrialConfig) -> bool:
        """Tell whether a trial costs no more than an eighth of what it may cost."""
        return self.cost(config) <= BRIEF * self.limit

    def cost(self, config: TrialConfig) -> float:
        """Return the seconds that a trial would take now, with the passes that other trials have made."""
        price = self._price(config)
        passes = price.passes.items()
        new = math.fsum(seconds for own, seconds in passes if not (own in self._made or self._is_free(own)))
        if price.training:
            return new + price.training
        if price.head:
            return new + price.head * (self._took / self._guessed if self._guessed else 1.0)
        return new + self._head_seconds(config, price.columns)

    def _head_seconds(self, config: TrialConfig, columns: int) -> float:
        """Seconds of a head: of the same with the nearest number of columns, in proportion to that number.

        Of one that was never tried those tell that differ in scaling alone, or else the median of all closed
        ones, with components or without. The first trained head of which nothing is guessed costs nothing, or
        it would never be tried.
        """
        head = _head_of(config)
        if head in self._fits:
            return _seconds_on(columns, self._fits[head], takes_components=head[2])
        others = [own for own in self._fits if own[2] == head[2] and "none" not in (own[0], head[0])]
        like = [own for own in others if own[0] == head[0]] or others
        known = [_seconds_on(columns, self._fits[own], takes_components=head[2]) for own in like]
        return median(known) if known else 0.0

    def awaits(self, config: TrialConfig) -> bool:
        """Tell whether a trial would spend more time in waiting for other trials' passes than on its own."""
        if self._workers() <= 1:
            return False
        left = {own: seconds for own, seconds in self._price(config).passes.items() if own not in self._made}
        waiting = math.fsum(seconds for own, seconds in left.items() if own in self._under_way)
        return waiting > math.fsum(seconds for own, seconds in left.items() if own not in self._under_way)

    def hand_out(self, config: TrialConfig) -> None:
        """Take note of a trial of another session, or of another search, that has opened its features."""
        if self._keeps_passes:
            self._made.update(self._price(config).passes)

    def begin_trial(self, number: int, config: TrialConfig) -> None:
        """Take note of a trial that is handed out now: it makes the passes that nobody has made."""
        if self._keeps_passes:
            self._needed[number] = frozenset(self._price(config).passes)
            self._opening.add(number)
            self._under_way |= self._needed[number]

    def open_trial(self, number: int) -> None:
        """Take note of a trial that has opened its features: its passes are made."""
        self._made.update(self._needed.get(number, ()))
        self.postpone_trial(number)

    def postpone_trial(self, number: int) -> None:
        """Take note of a trial that is to run again after all others: it makes no passes until then."""
        self._opening.discard(number)
        self._under_way = set[Pass]().union(*(self._needed[own] for own in self._opening))

    def end_trial(self, number: int) -> None:
        """Take note of a trial that has ended: it makes no passes any more; those it left are not made."""
        self.postpone_trial(number)
        self._needed.pop(number, None)

    def _is_free(self, own: Pass) -> bool:
        """Tell whether a pass under way costs nothing: a single worker makes none while it asks."""
        return own in self._under_way and self._workers() <= 1

    def learn(self, record: TrialRecord) -> None:
        """Learn from a trial that ended what its head takes, if it trained nothing else.

        What a trial takes besides its epochs says nothing of its head: a process that is new opens the data
        and builds nets first. One that was cut has shown what an epoch takes, and is taken to need them all;
        one whose patience ran out has needed those that it trained.
        """
        settings, an_epoch = record.config, record.epoch_seconds
        if an_epoch is None or not record.epochs or settings.get("model.trained_stages"):
            return
        config = decode(settings)
        price = self._price(config)
        if price.training:
            return
        epochs = record.epochs if record.cause is None else max(record.epochs, config.training.epochs)
        took = an_epoch * epochs
        if price.head:
            self._took, self._guessed = self._took + took, self._guessed + price.head
            return
        fits = self._fits[_head_of(config)]
        seconds, heads = fits.get(price.columns, (0.0, 0))
        fits[price.columns] = seconds + took, heads + 1


def _head_of(config: TrialConfig) -> _Head:
    return config.classical.name, config.classical.standardize, bool(config.classical.pca)


def _seconds_on(columns: int, fits: _Fits, *, takes_components: bool) -> float:
    few = _FEW_COLUMNS[takes_components]
    nearest = min(fits, key=lambda own: abs(math.log(max(own, few) / max(columns, few))))
    seconds, heads = fits[nearest]
    return max(columns, few) / max(nearest, few) * seconds / heads
