"""Ids of sets that are joined: one woman keeps one id, and images of two trees that share names stay two."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.data.collections import COLLECTIONS
from trainables.data.prepared_set import PreparedSet

_SAME_IMAGE: Final = 0.999  # correlation of the pixels; a copy may have been scaled to another depth


def check_one_key(sets: Sequence[PreparedSet], notes: list[str]) -> None:
    """Refuse sets of one collection whose ids are not written alike, as one patient would count as two.

    Args:
        sets: The sets.
        notes: A warning on sets whose keys are not known is added here.

    Raises:
        DataError: If some have hashes in place of ids and others do not, or the keys of the hashes differ.
    """
    found: dict[str, list[tuple[str, bool, str | None]]] = defaultdict(list)
    for one in sets:
        for collection, is_hashed, key in _ids_of(one.facts):
            found[collection].append((one.folder.name, is_hashed, key))
    for collection, own in found.items():
        named = ", ".join(dict.fromkeys(name for name, _, _ in own))
        hashes = [name for name, is_hashed, _ in own if is_hashed]
        keys = {key for _, is_hashed, key in own if is_hashed}
        if hashes and len(hashes) < len(own):
            raise DataError(
                f"{named} are sets of {collection}, and only {', '.join(dict.fromkeys(hashes))} has hashes "
                "in place of ids, so that a patient of both would count as two; prepare all with --hash-ids "
                "and one key, or all without"
            )
        if len(keys - {None}) > 1:
            raise DataError(
                f"the ids of {named}, sets of {collection}, were hashed with different keys, so that a "
                "patient of both would count as two; prepare them with one key"
            )
        if None in keys and len(own) > 1:
            notes.append(
                f"WARNING: it is not known whether the ids of {named} were hashed with one key, as an "
                "earlier version prepared them; if not, a patient of both counts as two: prepare them again"
            )


def _ids_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, bool, str | None]]:
    """Collection of a set, whether its ids are hashes, and what tells the key; of a joined set, of each."""
    if "joined" in facts:
        for entry in facts["joined"]:
            yield from _ids_of(entry)
    elif "collection" in facts:
        settings = facts.get("settings") or {}
        yield str(facts["collection"]), bool(settings.get("has_hashed_ids")), facts.get("key_id")


def told_apart(values: Sequence[Any], sources: Sequence[str], tree: str = "") -> list[str | None]:
    """Return ids with their collection in front, unless an earlier join has put it there.

    Args:
        values: Ids, None where unknown.
        sources: Collection of each.
        tree: Name of the user's own tree that the ids are of, which is put between; empty for none.

    >>> told_apart(["1", "a:2", None], ["a", "a", "a"])
    ['a:1', 'a:2', None]
    """
    between = f"{tree}/" if tree else ""
    return [
        None if value is None else f"{source}:{between}{str(value).removeprefix(f'{source}:')}"
        for value, source in zip(values, sources, strict=True)
    ]


def names_of_trees(sets: Sequence[PreparedSet]) -> list[str]:
    """Return a name for each set whose images are called as others are, without being these; else "".

    Only trees of the user's own may share names, and only images whose pixels differ though they were made
    ready in one way are different.

    Raises:
        DataError: If sets share images.
    """
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, one in enumerate(sets):
        for row, name in enumerate(_names(one)):
            places[name].append((place, row))
    repeated = {name: found for name, found in places.items() if len({place for place, _ in found}) > 1}
    shared = [name for name, found in repeated.items() if not _are_different(sets, found)]
    if shared:
        raise DataError(
            f"the sets share {len(shared)} images, such as {shared[0]}; leave one of the sets out, or, if "
            "these are different images of one name, prepare them with the same options"
        )
    alike = {place for found in repeated.values() for place, _ in found}
    times = Counter(one.folder.name for one in sets)
    names = [
        one.folder.name if times[one.folder.name] == 1 else f"{one.folder.name} {place}"
        for place, one in enumerate(sets, start=1)
    ]
    return [name if place in alike else "" for place, name in enumerate(names)]


def _names(one: PreparedSet) -> Iterator[str]:
    """Names with their collection in front, without the trees that an earlier join has put there."""
    trees = {f"{entry['name']}/" for entry in one.facts.get("joined", ())}
    for source, name in zip(
        one.table["source"], told_apart(one.table["name"], one.table["source"]), strict=True
    ):
        below = str(name).removeprefix(f"{source}:")
        tree = next((tree for tree in trees if below.startswith(tree)), "")
        yield f"{source}:{below.removeprefix(tree)}"


def _are_different(sets: Sequence[PreparedSet], found: Sequence[tuple[int, int]]) -> bool:
    """True for images of one name that are of several of the user's own trees."""
    sources = {str(sets[place].table["source"][row]) for place, row in found}
    is_own = all(source in COLLECTIONS and COLLECTIONS[source].is_general for source in sources)
    ways = {_way_of(sets[place].facts) for place, _ in found}
    if not is_own or len(ways) > 1:
        return False
    images = [(place, sets[place].images[row]) for place, row in found]
    return not any(
        place != other_place and _is_same(one, other)
        for number, (place, one) in enumerate(images)
        for other_place, other in images[number + 1 :]
    )


def _way_of(facts: Mapping[str, Any]) -> str:
    """How the images of a set were made ready, as text."""
    ways = {_way_of(entry) for entry in facts.get("joined", ())} or {
        json.dumps(facts.get("settings"), sort_keys=True)
    }
    return "; ".join(sorted(ways))


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """True for images that are copies, but for depth, brightness and grey copied to RGB."""
    first, second = (image.mean(axis=2) if image.ndim == 3 else image for image in (one, other))
    flat, other_flat = (np.asarray(image, dtype=np.float64).ravel() for image in (first, second))
    if flat.std() == 0 or other_flat.std() == 0:
        return bool(flat.std() == other_flat.std())
    return bool(np.corrcoef(flat, other_flat)[0, 1] > _SAME_IMAGE)
