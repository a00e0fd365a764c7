"""What a search records of a finished trial of another run that it builds on."""

import datetime

from trainables.common.frozen import FrozenModel


class OpeningLog(FrozenModel):
    """Where looks at the sealed part of an earlier search are logged, whatever becomes of its run folder.

    Attributes:
        store: Folder of stored data whose log holds them.
        fingerprint: Fingerprint of the data of that search.
        sealed: Digest of its sealed patients.
    """

    store: str
    fingerprint: str
    sealed: str


class SourceTrial(FrozenModel):
    """A finished trial of another run that a search builds on.

    Another run may lie at its path later on; the facts beside the path tell the two apart. All of them are
    None or empty in runs of earlier versions.

    Attributes:
        run: Absolute path of its run folder.
        trial: Trial number.
        started_at: Time at which its search was started, with time zone.
        split_digest: SHA-256 of the split of its search.
        predictions_digest: SHA-256 of its out-of-fold predictions.
        logs: Logs of the looks at the sealed patients of its search, and of those that this one built on.
    """

    run: str
    trial: int
    started_at: datetime.datetime | None = None
    split_digest: str | None = None
    predictions_digest: str | None = None
    logs: tuple[OpeningLog, ...] = ()
