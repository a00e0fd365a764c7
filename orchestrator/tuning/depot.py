"""The depot: what trials need of a run, for machines that do not see its folder.

It lies on the machine of the run folder and reads: search and split, the stored patch set, weights,
finished trials that the search builds on, modules of the user, and checkpoints. Files are asked for by names
of its own, never by paths, so it hands out nothing else. All that it takes is the last checkpoint of a worker
that is about to end. Nothing here knows Ray.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from orchestrator.tuning.choices import choices_in
from orchestrator.tuning.invoice import Invoice, Piece, WeightsOffer
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from trainables.data.set_copy import files_of_set

PIECE_BYTES: Final = 32 * 2**20
SOURCES: Final = ("start_from", "type_from")


class Depot:
    """The depot of one run.

    Args:
        run: The run folder.
        modules: Path below the folder of modules -> file of a module of the user's that workers import.
        host: Name of this machine, for messages.
    """

    def __init__(self, run: Path, modules: Mapping[str, Path] | None = None, host: str = "") -> None:
        self.run, self.modules, self.host = RunFolder(run), dict(modules or {}), host
        self._has_score = False

    def invoice(self) -> Invoice:
        """Return what a machine must have.

        Raises:
            OrchestrateError: If run or data cannot be read here either.
        """
        search = self.run.search()
        small = {f"modules/{name}": path.read_bytes() for name, path in self.modules.items()}
        sources: dict[str, int] = {}
        for place, path in self._source_files(search).items():
            if path.name in ("search.yaml", "record.json"):
                small[place] = path.read_bytes()
            else:
                sources[place] = path.stat().st_size
        return Invoice(
            run=str(self.run.path),
            host=self.host,
            search=self.run.search_file.read_bytes(),
            split=self.run.split_file.read_bytes(),
            set_id=search.fingerprint,
            set_files=files_of_set(*search.data_location),
            small=small,
            source_files=sources,
        )

    def weights(self) -> dict[str, WeightsOffer]:
        """Return backbone -> weights that the search was started with; those that are gone are left out."""
        from orchestrator.tuning.node_weights import offers  # imports torch, which few depots need

        return offers(self.run.search())

    def choices(self, known: Collection[str]) -> dict[str, bytes]:
        """Return name -> content of measured choices, without those that are known."""
        return choices_in(Path(self.run.search().store), but=known)

    def has_score(self) -> bool:
        """Tell whether a trial of the search is complete."""
        self._has_score = self._has_score or self.run.has_score()
        return self._has_score

    def has_record(self, number: int) -> bool:
        """Tell whether a trial has ended."""
        return self.run.has_record(number)

    def checkpoint_bytes(self, number: int) -> int | None:
        """Return the size of a trial's checkpoint; None without one."""
        try:
            return self.run.checkpoint_file(number).stat().st_size
        except FileNotFoundError:
            return None

    def keep_checkpoint(self, number: int, content: Piece) -> None:
        """Write the checkpoint of a trial whose worker is about to end, and so sends no report any more.

        All else comes through the driver, which orders it; a checkpoint stands by itself.
        """
        if not self.run.has_record(number):
            self.run.write_checkpoint(number, content.tobytes())

    def pieces(self, name: str, size: int) -> Iterator[Piece]:
        """Yield a file in pieces, in order; see `piece`."""
        for start in range(0, size, PIECE_BYTES):
            yield self.piece(name, start)

    def piece(self, name: str, start: int) -> Piece:
        """Return a part of a file.

        Args:
            name: `set/FILE`, `weights/BACKBONE`, `checkpoint/NUMBER`, or a name of `Invoice.source_files`.
            start: First byte; at most `PIECE_BYTES` follow.

        Raises:
            KeyError: If the depot has no such file.
        """
        return np.fromfile(self._path(name), dtype=np.uint8, count=PIECE_BYTES, offset=start)

    def _path(self, name: str) -> Path:
        kind, _, rest = name.partition("/")
        search = self.run.search()
        if kind == "set":
            folder, fingerprint = search.data_location
            known = {file.name for file in files_of_set(folder, fingerprint)}
            if rest in known:
                return folder / fingerprint / rest
        elif kind == "weights":
            from orchestrator.tuning.node_weights import usable_files

            files = usable_files(search)
            if rest in files:
                return files[rest].path
        elif kind == "checkpoint" and rest.isdecimal():
            return self.run.checkpoint_file(int(rest))
        elif name in (files_of_sources := self._source_files(search)):
            return files_of_sources[name]
        raise KeyError(f"the depot of {self.run.path} has no {name!r}")

    def _source_files(self, search: SearchRecord) -> dict[str, Path]:
        """Path below the copy -> file, of the finished trials that the search builds on."""
        found: dict[str, Path] = {}
        for option in SOURCES:
            source: SourceTrial | None = getattr(search, option)
            if source is None:
                continue
            run = RunFolder(Path(source.run))
            trial = run.trial(source.trial)
            wanted = [run.search_file, trial / "record.json", run.predictions_file(source.trial)]
            wanted += sorted(run.weights_folder(source.trial).glob("*.safetensors"))
            for path in wanted:
                if path.is_file():
                    found[f"sources/{option}/{path.relative_to(run.path)}"] = path
        return found


def own_modules(metrics: tuple[str, ...], here: Path) -> dict[str, Path]:
    """Return the files of modules of the user's that workers import, as they lie below the working folder.

    What is installed is found on every machine of a cluster by itself, and does not travel.

    Args:
        metrics: Names of the metrics of a search, of which `MODULE:NAME` may be the user's own.
        here: The working folder.
    """
    found: dict[str, Path] = {}
    for name in metrics:
        module_name, colon, _ = name.partition(":")
        top = module_name.partition(".")[0]
        file = getattr(sys.modules.get(module_name), "__file__", None)
        if not colon or file is None or not Path(file).resolve().is_relative_to(here.resolve()):
            continue
        if "site-packages" in Path(file).parts:
            continue
        plain = here / f"{top}.py"
        files = [plain] if plain.is_file() else sorted((here / top).rglob("*.py"))
        found |= {str(path.relative_to(here)): path for path in files}
    return found
