"""What is prepared, from what and where to, and whether that very set is there already."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from trainables.common.errors import MachineError
from trainables.common.files import write_atomically
from trainables.data.collections.collection import Choices, Collection, Listing
from trainables.data.prepared.chunk import Chunk, read_notes
from trainables.data.prepared.known_files import KnownFiles
from trainables.data.prepared.pool import ChunkPool
from trainables.data.prepared.reading import READERS
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import FACTS_FILE, FORMAT, is_prepared_set, open_prepared_set

Found: TypeAlias = Literal["nothing", "this", "earlier", "incomplete", "other"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is prepared, from what, and where to.

    Attributes:
        collection: The collection.
        path: Where it lies.
        out: Folder of the set.
        choices: What is taken from the collection.
        settings: What is done to each image, with the size that fits the collection.
        listing: What the collection holds.
        files: Stamps of its files.
    """

    collection: Collection
    path: Path
    out: Path
    choices: Choices
    settings: Settings
    listing: Listing
    files: KnownFiles

    @property
    def work(self) -> Path:
        """Folder of the unfinished set."""
        return self.out.with_name(f".{self.out.name}.preparing")

    def digest(self) -> str:
        """Digest of everything that the set follows from: listing, files, choices, settings and readers."""
        beside = (self.files.beside(example) for example in self.listing.examples)
        return self._digest_with((f"readers {READERS}", *beside))

    def earlier_digest(self) -> str:
        """Digest that earlier versions wrote, which knew neither readers nor the headers beside a film."""
        return self._digest_with(())

    def digest_of_work(self) -> str:
        """Digest of an unfinished set, which begins anew when a file may have changed."""
        return hashlib.sha256(f"{self.digest()} {self.files.changed_at()}".encode()).hexdigest()

    def _digest_with(self, more: Iterable[str]) -> str:
        digest = hashlib.sha256()
        head = [FORMAT, self.collection.name, self.listing.label_codes, self.listing.classes]
        digest.update(json.dumps([*head, self.settings.as_dict(), self.settings.key_digest()]).encode())
        for example in self.listing.examples:
            digest.update(self.files.described(example).encode())
        for text in more:
            digest.update(text.encode())
        return digest.hexdigest()


def what_is_there(plan: Plan, digest: str, pool: ChunkPool) -> Found:
    """Tell what lies where a set is to be prepared.

    Args:
        plan: The plan.
        digest: Its digest.
        pool: Processes that read again what the machine failed to read.

    Returns:
        `nothing`; `this` set; `earlier`: this set by an earlier version; `incomplete`: this set without files
        that can be read now; or `other`, which may be this set before one of its files changed.
    """
    if not plan.out.exists():
        return "nothing"
    facts = open_prepared_set(plan.out).facts if is_prepared_set(plan.out) else {}
    if facts.get("digest") == digest:
        if _can_be_read_now(plan, facts["passing"], pool):
            return "incomplete"
        return "this" if _is_unchanged(plan, facts["files"]) else "other"
    return "earlier" if facts.get("digest") == plan.earlier_digest() else "other"


def _is_unchanged(plan: Plan, known: dict[str, str]) -> bool:
    """True if no file changed since; where only the times of change differ, the content decides."""
    now = plan.files.changed_at()
    if known["changed_at"] == now:
        return True
    if known["content"] != plan.files.content():
        return False
    with contextlib.suppress(OSError):  # a set that may not be written is compared again the next time
        facts = {**open_prepared_set(plan.out).facts, "files": {**known, "changed_at": now}}
        write_atomically(plan.out / FACTS_FILE, json.dumps(facts, indent=1) + "\n")
    return True


def _can_be_read_now(plan: Plan, places: Sequence[int], pool: ChunkPool) -> bool:
    """True if one of the examples that the machine failed to read can be read now."""
    if not places:
        return False
    own = tuple(plan.listing.examples[place] for place in places)
    with tempfile.TemporaryDirectory() as folder:
        chunk = Chunk(0, 0, own, Path(folder), replace(plan.settings, is_strict=False))
        try:
            (ended,) = pool.prepare([chunk])
        except MachineError:
            return False
        return bool(read_notes(ended.chunk.notes_file).stored)
