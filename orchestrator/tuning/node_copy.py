"""Filling of a machine that does not see a run folder: once for all its workers, from the depot of the run.

    <own folder>/runs/<mark>/search.yaml        the search, with the paths of this machine
    <own folder>/runs/<mark>/split.json
    <own folder>/runs/<mark>/weights/           links to pretrained weights of this machine
    <own folder>/runs/<mark>/sources/           finished trials that the search builds on
    <own folder>/runs/<mark>/modules/           modules of the user's that workers import
    <own folder>/store/                         patch sets and features, where there is no store
    <own folder>/weights/<hash>/                weights that came from the depot

The own folder is private to the user: `ORCHESTRATE_NODE_FOLDER`, or `orchestrate-<user id>` in the temporary
folder. What searches leave there that have ended is removed when the next one comes; patch sets, features and
weights stay for later searches, as a store does.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.tuning.depot import SOURCES
from orchestrator.tuning.disk_usage import disk_usage, write_feature_limit
from orchestrator.tuning.invoice import DepotClient, Invoice
from results.errors import RunError
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from trainables.common.errors import MachineError, WeightsError
from trainables.common.files import folder_in_progress, is_disk_full, is_seen_folder, write_atomically
from trainables.common.plain_yaml import load_yaml
from trainables.common.progress import worked
from trainables.common.remarks import remark_once
from trainables.data.set_copy import SetFile, copy_set, has_set
from trainables.features.budget import GB
from trainables.features.locks import held, share, unread

OWN_FOLDER: Final = "ORCHESTRATE_NODE_FOLDER"
_PRIVATE: Final = 0o700
_LOOK_SECONDS: Final = 10.0  # between two measurements of what a machine keeps
_SHARE_OF_LOOKING: Final = 0.02  # of the time at most, where it keeps very many files


def sees(run: RunFolder, mark: str) -> bool:
    """Tell whether a worker sees the run folder of its search, its patch set and the weights of its nets.

    A folder that may not be entered, or whose disk does not answer, is not seen; weights may lie on the
    owner's machine alone, such as those that torchvision has downloaded there.

    Args:
        run: The run folder, at its path on the machine of its owner.
        mark: The owner's mark, which no other folder of that path holds.
    """
    try:  # a folder that this machine may not enter, or whose mount is stale, is one that it does not see
        if not run.mark_file(mark).exists():
            return False
        search = run.search()
        folder, weights = search.data_location[0], search.request.weights_dir
        return (
            has_set(folder, search.fingerprint)
            and (weights is None or weights.is_dir())
            and _has_weights(search)
        )
    except (OSError, RunError):
        return False


def _has_weights(search: SearchRecord) -> bool:
    if not search.weights:
        return True
    from orchestrator.tuning.node_weights import usable_files  # imports torch

    return usable_files(search).keys() == search.weights.keys()


def own_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of this machine that workers fill, private to the user; it is created.

    Raises:
        MachineError: If it cannot be created, or somebody else has made it.
    """
    said = environment.get(OWN_FOLDER)
    folder = Path(said) if said else Path(tempfile.gettempdir()) / f"orchestrate-{os.getuid()}"
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be made on this machine ({error.strerror or error}), where trials keep what "
            f"they need of a run whose folder is elsewhere; set {OWN_FOLDER} to a folder that can be written"
        ) from error
    if found.st_uid != os.getuid() or folder.is_symlink():
        raise MachineError(
            f"{folder} belongs to another user, or is a link; set {OWN_FOLDER} to a folder of your own"
        )
    if not said and found.st_mode & 0o077:
        folder.chmod(_PRIVATE)
    return folder


def store_here(search: SearchRecord, own: Path) -> Path:
    """Return the store of this machine: that of the search if there is such a folder, else one of its own."""
    store = Path(search.store)
    return store if is_seen_folder(store) and os.access(store, os.W_OK) else own / "store"


class NodeCopy:
    """The copy of a run on this machine; it is kept as long as a process holds this object.

    Args:
        mark: Mark of the run's owner; searches of other marks have other copies.
        own: Folder from `own_folder`.
    """

    def __init__(self, mark: str, own: Path) -> None:
        self.own, self.mark = own, mark
        runs = own / "runs"
        runs.mkdir(mode=_PRIVATE, exist_ok=True)
        self.run = RunFolder(runs / mark)
        with held(runs / ".guard", may_wait=True):
            self._reading = os.open(runs / f"{mark}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            share(self._reading)
            _remove_unread(runs, but=mark)

    def close(self) -> None:
        """Let the next search remove the copy, unless another process uses it."""
        os.close(self._reading)

    def fill(self, depot: DepotClient) -> RunFolder:
        """Bring what trials need to this machine, unless a worker of it has done so; returns the copy.

        Raises:
            OrchestrateError: If the depot lacks something, or sends what is not as it should be.
            OSError: If this machine cannot keep it.
        """
        with held(self.own / "runs" / f"{self.mark}.filling", may_wait=True):
            if not self.run.search_file.exists():
                self._fill(depot)
        with held(self.own / "runs" / f"{self.mark}.measuring", may_wait=False) as is_ours:
            if is_ours:
                self._keep_budget()
        modules = str(self.run.path / "modules")
        if Path(modules).is_dir() and modules not in sys.path:
            sys.path.insert(0, modules)
        return self.run

    def _fill(self, depot: DepotClient) -> None:
        invoice = depot.invoice()
        search = SearchRecord.model_validate(load_yaml(invoice.search))
        store = store_here(search, self.own)
        with held(store / "data" / f".{invoice.set_id}.lock", may_wait=True):
            if not has_set(store / "data", invoice.set_id):
                _fetch_set(depot, invoice, store / "data")
        for name, content in invoice.small.items():
            write_atomically(self.run.path / _inside(name), content)
        for name, size in invoice.source_files.items():
            _fetch(depot, name, size, self.run.path / _inside(name))
        write_atomically(self.run.split_file, invoice.split)
        weights = self._weights(depot, search, invoice)
        self.run.write_search(_of_this_machine(search, store, weights, self.run.path / "sources"))

    def _keep_budget(self) -> None:
        """Hold what this machine keeps below the disk budget of the search, which is that of each machine.

        Patch sets, weights and the copy must be here, so it is stored features that have what is left. One
        worker of the machine looks for all, and no more often than it is worth.
        """
        search, note = self.run.search(), self.run.path / ".measured"
        if search.request.disk_gb is None or not _is_due(note):
            return
        began, budget, store = time.monotonic(), round(search.request.disk_gb * GB), Path(search.store)
        taken = disk_usage([self.own, store])
        try:
            write_feature_limit(self.run, store, budget=budget, taken=taken)
            write_atomically(note, f"{time.monotonic() - began}")
        except OSError as error:
            if not is_disk_full(error):
                raise
            remark_once(
                f"the disk of {self.own} is full, so that what is kept there is not measured; trials go on, "
                "and features are computed for each of them alone. Make room"
            )
            return
        if self.run.store_limit() == 0:
            remark_once(
                f"what trials must have here takes all of the {budget / GB:.3g} GB of --disk-gb; features "
                "are computed again for each trial"
            )

    def _weights(self, depot: DepotClient, search: SearchRecord, invoice: Invoice) -> Path | None:
        """Folder with the weights of all backbones of the search; None if they need none."""
        if not search.weights:
            return None
        from orchestrator.tuning.node_weights import link_weights, usable_files  # imports torch

        files = {name: file.path for name, file in usable_files(search).items()}
        lacking = [name for name in search.weights if name not in files]
        if lacking:
            offered = depot.weights()
            for name in lacking:
                if name not in offered:
                    raise WeightsError(
                        f"the weights of {name}, found when the search started, are neither here nor on "
                        f"{invoice.host}, where {invoice.run} lies"
                    )
                offer, folder = offered[name], self.own / "weights" / search.weights[name]
                path = folder / _inside(offer.name)
                if offer.notes is not None:
                    write_atomically(path.with_suffix(".yaml"), offer.notes)
                _fetch(depot, f"weights/{name}", offer.size, path)
                files[name] = path
        folder = self.run.path / "weights"
        link_weights(files, folder)
        return folder


def _of_this_machine(search: SearchRecord, store: Path, weights: Path | None, sources: Path) -> SearchRecord:
    """The record of a search with the paths of this machine."""
    changes: dict[str, object] = {
        "store": str(store),
        "request": search.request.model_copy(update={"weights_dir": weights}),
    }
    for option in SOURCES:
        source: SourceTrial | None = getattr(search, option)
        if source is not None:
            changes[option] = source.model_copy(update={"run": str(sources / option)})
    return search.model_copy(update=changes)


def _fetch_set(depot: DepotClient, invoice: Invoice, folder: Path) -> None:
    def write(file: SetFile, path: Path) -> None:
        _fetch(depot, f"set/{file.name}", file.bytes, path)

    copy_set(invoice.set_files, folder, invoice.set_id, write)


def _fetch(depot: DepotClient, name: str, size: int, path: Path) -> None:
    """Write a file of the depot, whole or not at all. Each piece counts as work of this process."""
    with folder_in_progress(path) as draft:
        with (draft / "file").open("wb") as file:
            for piece in depot.pieces(name, size):
                file.write(piece.data)
                worked()
            file.flush()
            os.fsync(file.fileno())
            if file.tell() != size:
                raise MachineError(f"{name} should have come in {size:,} bytes, and came in {file.tell():,}")
        (draft / "file").replace(path)


def _inside(name: str) -> Path:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise MachineError(f"the depot named {name!r}, which lies outside the copy of a run")
    return path


def _is_due(note: Path) -> bool:
    """True if what a machine keeps is to be measured; the last measurement left a note of its cost."""
    try:
        age, seconds = time.time() - note.stat().st_mtime, float(note.read_text())
    except (OSError, ValueError):
        return True
    return not 0.0 <= age < max(_LOOK_SECONDS, seconds / _SHARE_OF_LOOKING)


def _remove_unread(runs: Path, *, but: str) -> None:
    """Remove the copies that no process of this machine uses."""
    for lock in runs.glob("*.lock"):
        if lock.stem == but:
            continue
        with unread(lock) as is_unread:
            if is_unread:
                shutil.rmtree(runs / lock.stem, ignore_errors=True)
                for path in (runs / f"{lock.stem}.filling", runs / f"{lock.stem}.measuring", lock):
                    path.unlink(missing_ok=True)
