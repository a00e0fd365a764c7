"""Preparation of a collection: in parallel, in constant memory, and whole or not at all.

What is done lies as chunks in `.SET.preparing` beside the set. The same command goes on from there after it
was killed; at the end the set is put together there and moved into its place.
"""

import contextlib
import csv
import fcntl
import importlib.metadata
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from trainables.common.errors import DataError
from trainables.common.files import replace_folder, write_atomically
from trainables.common.text import as_utf8, count_text
from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.declared_steps import AS_THEY_ARE
from trainables.data.mammogram.preparation import Preparation as MammogramSteps
from trainables.data.patches import fingerprint_of
from trainables.data.patient_gaps import note_patient_gaps
from trainables.data.prepared.assembly import Layout, layout_of, notes_on_whites, write_arrays
from trainables.data.prepared.chunk import Chunk, Stored, read_notes
from trainables.data.prepared.contradictions import contradictions
from trainables.data.prepared.identity import hashed, nameless, note_kept, pseudonymous
from trainables.data.prepared.kinds import check_one_kind, is_whole_image
from trainables.data.prepared.known_files import KnownFiles, content_digest
from trainables.data.prepared.plan import Plan, what_is_there
from trainables.data.prepared.pool import ChunkPool
from trainables.data.prepared.reading import may_name_patient
from trainables.data.prepared.settings import Settings
from trainables.data.prepared.table import table_of
from trainables.data.prepared_set import (
    FACTS_FILE,
    FORMAT,
    IMAGES_FILE,
    PROBLEMS_FILE,
    PreparedSet,
    open_prepared_set,
    raw_patches,
    write_table,
)

Progress: TypeAlias = Callable[[int, int], None]

_MOST_EXAMPLES: Final = 256  # of a chunk
_MOST_BYTES: Final = 128 * 2**20  # of the files of a chunk
_WHOLE_MAMMOGRAM: Final = (1024, 832)  # height and width, in pixels; about 0.25 mm a pixel
_PIECE: Final = (299, 299)  # as source system 003 has them
_BOX: Final = (150, 150)  # as the Pisa set has them
_TOOLS: Final = ("breast-image-orchestrator", "numpy", "opencv-python-headless", "pillow", "pydicom")


@dataclass(frozen=True, slots=True)
class Preparation:
    """A set that has been prepared.

    Attributes:
        prepared: The set, open.
        problems: What was not used, each with its reason.
        notes: Sentences on what was decided and converted.
        is_new: False where the set was there already.
    """

    prepared: PreparedSet
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    is_new: bool


def prepare(
    collection: Collection,
    path: Path,
    out: Path,
    choices: Choices,
    settings: Settings,
    *,
    progress: Progress = lambda done, total: None,
    replaces: bool = False,
) -> Preparation:
    """Prepare a collection, or go on where a preparation was interrupted.

    Args:
        collection: The collection.
        path: Where it lies.
        out: Folder of the set, which must not be there yet, or be this very set.
        choices: What is taken from the collection.
        settings: What is done to each image.
        progress: Told how many examples of how many are done.
        replaces: Replace another set at `out`, such as one of files that have changed since.

    Raises:
        DataError: If there is no such collection, nothing of it can be used, `out` is something else, or, if
            the settings are strict, at the first thing that cannot be used.
        MachineError: If a process or the disk fails.
        OSError: If the set cannot be written.
    """
    path, out = path.resolve(), out.resolve()
    with ChunkPool(settings.workers) as pool:
        if not out.exists():
            pool.start_one()  # while the collection is listed, which takes as long
        listing = collection.list(path, choices)
        settings = _complete(settings, collection, listing)
        plan = Plan(collection, path, out, choices, settings, listing, KnownFiles(listing.examples))
        _check(plan)
        digest = plan.digest()
        found = what_is_there(plan, digest, pool)
        if found in ("this", "earlier"):
            done = _opened(out, is_new=False)
            return done if found == "this" else replace(done, notes=(_of_earlier(out), *done.notes))
        if found == "other" and not replaces:
            raise DataError(
                f"{out} is there already, and is not this set; name another folder, or remove it, or give "
                "the options that it was prepared with, such as --size"
            )
        _check_patients(plan)
        with _locked(plan.work):
            _begin(plan)
            chunks = _chunks(plan)
            notes = _prepare_chunks(plan, chunks, pool, progress)
            _assemble(plan, digest, chunks)
    shutil.rmtree(plan.work, ignore_errors=True)
    done = _opened(out, is_new=True)
    return replace(done, notes=(*notes, *done.notes))


def _complete(settings: Settings, collection: Collection, listing: Listing) -> Settings:
    """Settings with the size that fits the collection, where the user says none; a scale in mm is a step.

    Raises:
        DataError: If the user gives steps of whole mammograms and the images are none.
    """
    is_whole = all(is_whole_image(example) for example in listing.examples)
    is_mammogram = collection.is_mammogram if listing.is_mammogram is None else listing.is_mammogram
    size = settings.size
    if size is None and settings.mm_per_px is None:
        own = collection.size if is_whole else collection.region_size
        size = own or _usual_size(listing, is_whole=is_whole, is_mammogram=is_mammogram)
    if not (is_mammogram and is_whole):
        _refuse_steps(settings, what="regions" if is_mammogram else "no mammograms", listing=listing)
    steps = settings.steps if is_mammogram and is_whole else None
    if steps is None and settings.mm_per_px is None:
        return replace(settings, size=size, steps=None)
    steps = replace(
        steps or AS_THEY_ARE,  # a prediction repeats the scale, and knows it by the steps alone
        size=size,
        mm_per_px=settings.mm_per_px,
        allows_for_processing=settings.allows_for_processing,
    )
    return replace(settings, size=size, steps=steps)


def _refuse_steps(settings: Settings, *, what: str, listing: Listing) -> None:
    """Refuse steps that the user gives and that are not taken, rather than to pass over them."""
    usual = asdict(MammogramSteps())
    given = {} if settings.steps is None else asdict(settings.steps).items() - usual.items()
    if given:
        named = ", ".join(f"{name}={value}" for name, value in sorted(given))
        could = "" if listing.is_mammogram is None else ", or say that they are, by --option mammograms=yes"
        raise DataError(
            f"the steps of whole mammograms are given ({named}), and the images are {what}; leave them out"
            f"{could}"
        )


def _usual_size(listing: Listing, *, is_whole: bool, is_mammogram: bool) -> tuple[int, int] | None:
    if any(example.cut not in (None, "whole", "box") for example in listing.examples):
        return _PIECE
    if not is_whole:
        return _BOX
    return _WHOLE_MAMMOGRAM if is_mammogram else None


def _check(plan: Plan) -> None:
    listing = plan.listing
    if plan.settings.is_strict and listing.problems:
        raise _stopped(listing.problems[0])
    if not listing.examples:
        raise DataError(
            f"{plan.path} holds nothing of {plan.collection.title} that can be used"
            f"{_first_of(listing.problems)}"
        )
    names = Counter(example.name for example in listing.examples)
    name, number = names.most_common(1)[0]
    if number > 1:
        raise DataError(f"{plan.path} holds {number} examples of the name {name}; names must differ")
    check_one_kind(listing, plan.path.name)


def _check_patients(plan: Plan) -> None:
    """Refuse before a pixel is read what the listing shows already: too many images without a patient.

    What is known only when files are read speaks for them: missing ones do not count, and those that may
    name their patient do. Nothing is refused where examples are cut into pieces, whose number is not known.
    """
    examples = plan.listing.examples
    if any(example.cut not in (None, "whole", "box") for example in examples):
        return
    if all(example.patient is None for example in examples):
        return
    listed = [example for example in examples if plan.files.is_there(example.file)]
    patients = [
        "in its header" if one.patient is None and may_name_patient(one.file) else one.patient
        for one in listed
    ]
    names = [pseudonymous(one, plan.settings.key).name for one in listed]
    note_patient_gaps({"name": names, "patient": patients})  # what it warns of is said of what was read


def _first_of(problems: Sequence[Problem]) -> str:
    """The first problem of the most frequent reason, which is the one that a user has to mend."""
    if not problems:
        return ""
    reason, number = Counter(one.reason for one in problems).most_common(1)[0]
    first = next(one for one in problems if one.reason == reason)
    which = "the first" if number == 1 else f"the first of {number} alike"
    return f": {count_text(len(problems), 'problem')}, {which} is that {first.what} {reason}"


def _stopped(problem: Problem) -> DataError:
    return DataError(f"{problem.what} {problem.reason}; mend or remove it, or leave --strict out")


def _of_earlier(out: Path) -> str:
    return (
        f"{out} was prepared by an earlier version, which read some files in another way; remove it to "
        "prepare it again"
    )


def _opened(folder: Path, *, is_new: bool) -> Preparation:
    prepared = open_prepared_set(folder)
    with (folder / PROBLEMS_FILE).open(encoding="utf-8", newline="") as file:
        problems = tuple(Problem(row["what"], row["reason"]) for row in csv.DictReader(file))
    return Preparation(prepared, problems, tuple(prepared.facts["notes"]), is_new)


@contextlib.contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Hold the folder of an unfinished set, so that no other process prepares it at the same time."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(
                f"another process is preparing this set in {work}; wait until it has ended"
            ) from error
        yield


def _begin(plan: Plan) -> None:
    """Keep what an interrupted preparation of the same set has done; remove anything else."""
    file, digest = plan.work / "plan.json", plan.digest_of_work()
    if not (file.is_file() and json.loads(file.read_text())["digest"] == digest):
        for entry in plan.work.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()
        write_atomically(file, json.dumps({"digest": digest}))
    for left in (*plan.work.glob("*.pixels.*"), *plan.work.glob("*.trace")):
        left.unlink(missing_ok=True)


def _chunks(plan: Plan) -> list[Chunk]:
    chunks, own, size = list[Chunk](), list[Example](), 0
    first = 0
    for place, example in enumerate(plan.listing.examples):
        if not own or own[-1].file != example.file:
            size += plan.files.stamp(example.file)[0]
        own.append(example)
        is_last = place + 1 == len(plan.listing.examples)
        if is_last or len(own) >= _MOST_EXAMPLES or size >= _MOST_BYTES:
            chunks.append(Chunk(len(chunks), first, tuple(own), plan.work, plan.settings))
            own, size, first = [], 0, place + 1
    return chunks


def _prepare_chunks(plan: Plan, chunks: Sequence[Chunk], pool: ChunkPool, progress: Progress) -> list[str]:
    waiting = [chunk for chunk in chunks if not _is_done(chunk)]
    total = len(plan.listing.examples)
    done = total - sum(len(chunk.examples) for chunk in waiting)
    notes = [f"{done} of {total} examples were prepared before"] if done else []
    progress(done, total)
    if plan.settings.is_strict:
        for chunk in chunks:
            if chunk not in waiting:
                _check_strictly(plan, chunk)
    for ended in pool.prepare(waiting):
        if ended.stopped_at is not None:
            raise _stopped(_named(plan, *ended.stopped_at))
        done += len(ended.chunk.examples)
        progress(done, total)
    return notes


def _is_done(chunk: Chunk) -> bool:
    """True for a chunk that is whole, and in which the machine did not fail."""
    return chunk.notes_file.is_file() and not read_notes(chunk.notes_file).passing


def _check_strictly(plan: Plan, chunk: Chunk) -> None:
    """Refuse what a preparation that was not strict has noted before."""
    problems = read_notes(chunk.notes_file).problems
    if problems:
        raise _stopped(_named(plan, *problems[0]))


def _named(plan: Plan, place: int, reason: str) -> Problem:
    example = plan.listing.examples[place]
    if plan.settings.key is not None:
        return Problem(hashed(example.name, plan.settings.key), nameless(reason, example))
    file = example.file
    what = file.relative_to(plan.path).as_posix() if file.is_relative_to(plan.path) else file.name
    return Problem(file.name if what == "." else what, reason.replace(f"{plan.path}/", ""))


def _without_names(plan: Plan, problem: Problem) -> Problem:
    """A problem of the listing; with hashed ids it is about a hash, and its reason has no name."""
    key = plan.settings.key
    if key is None:
        return problem
    own = problem.reason.replace(problem.what, "it").replace(Path(problem.what).name, "it")
    return Problem(hashed(problem.what, key), nameless(own))


def _assemble(plan: Plan, digest: str, chunks: Sequence[Chunk]) -> None:
    problems = [_without_names(plan, one) for one in plan.listing.problems]
    noted = [read_notes(chunk.notes_file) for chunk in chunks]
    done = [(chunk, own.stored) for chunk, own in zip(chunks, noted, strict=True)]
    problems += [_named(plan, place, reason) for own in noted for place, reason in own.problems]
    stored = [one for _, own in done for one in own]
    if not stored:
        raise DataError(
            f"nothing of {count_text(len(plan.listing.examples), 'example')} in {plan.path} can be used"
            f"{_first_of(problems)}"
        )
    notes = [note if plan.settings.key is None else nameless(note) for note in plan.listing.notes]
    layout = layout_of(stored, plan.settings, notes)
    folder = plan.work / "set"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_arrays(done, layout, len(stored), folder)
    key, examples = plan.settings.key, plan.listing.examples
    placed = [layout.placed(one) for one in stored]
    table = table_of(placed, examples, plan.path, source=plan.collection.name, key=key)
    notes += note_patient_gaps(table)
    notes += notes_on_whites(stored, layout, table["name"])
    notes += contradictions(table, stored, examples)
    if key is not None and plan.collection.is_general:
        notes += note_kept(examples)
    write_table(table, folder)
    write_atomically(folder / PROBLEMS_FILE, _problems_csv(problems))
    images = np.load(folder / IMAGES_FILE, mmap_mode="r")
    codes = plan.listing.label_codes
    raw = raw_patches(images, table, codes, source=plan.collection.name, max_value=layout.max_value)
    facts = _facts(plan, digest, layout, stored, problems, notes)
    facts["passing"] = [place for own in noted for place in own.passing]
    facts["files"] = {
        "changed_at": plan.files.changed_at(),
        "content": content_digest(one for own in noted for one in own.content),
    }
    facts["fingerprint"] = fingerprint_of(raw)
    write_atomically(folder / FACTS_FILE, json.dumps(facts, indent=1) + "\n")
    replace_folder(plan.out, folder)


def _facts(
    plan: Plan,
    digest: str,
    layout: Layout,
    stored: Sequence[Stored],
    problems: Sequence[Problem],
    notes: Sequence[str],
) -> dict[str, Any]:
    identifying = Counter(name for one in stored for name in one.identifying)
    return {
        "format": FORMAT,
        "collection": plan.collection.name,
        "title": plan.collection.title,
        "licence": plan.collection.licence,
        "label_codes": plan.listing.label_codes,
        "classes": list(plan.listing.classes),
        "choices": {
            "regions": plan.choices.regions,
            "table": None if plan.choices.table is None else plan.choices.table.name,
            "options": _options_of(plan.choices),
        },
        "settings": _as_made(plan.settings, layout).as_dict(),
        "key_id": plan.settings.key_id(),
        "layout": asdict(layout),
        "max_value": layout.max_value,
        "images": len(stored),
        "problems": len(problems),
        "identifying_tags": dict(sorted(identifying.items())),
        "notes": list(notes),
        "digest": digest,
        "versions": {name: _version(name) for name in _TOOLS},
        "prepared_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _options_of(choices: Choices) -> dict[str, str]:
    """Options as they are recorded: a task by its name, or by its file without the folders above it."""
    options = {name: Path(said).name if name == "task" else said for name, said in choices.options.items()}
    return options if choices.task is None else options | {"task": choices.task.name}


def _as_made(settings: Settings, layout: Layout) -> Settings:
    """Settings whose steps state the size that images were filled up to, so that they can be repeated."""
    if settings.steps is None or not layout.fills_up:
        return settings
    return replace(settings, steps=replace(settings.steps, size=layout.size))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _problems_csv(problems: Sequence[Problem]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("what", "reason"))
    writer.writerows((problem.what, problem.reason) for problem in problems)
    return as_utf8(text.getvalue())
