"""Checks of a task's definition: name, classes, label codes and names of folders. Pure functions of texts."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from trainables.common.errors import ConfigError
from trainables.common.text import is_folder_name, plain_name

_FEWEST_OF_AN_ORDER: Final = 3  # two classes are in an order anyway


def check_name(name: str) -> None:
    """Refuse a name that cannot be a folder of runs.

    Raises:
        ConfigError: If it holds other signs than letters, digits, dots, dashes and underscores.
    """
    if not is_folder_name(name):
        raise ConfigError(
            "a task's name is letters, digits, dots, dashes and underscores, since it names the folder of "
            f"its runs; found {name!r}"
        )


def check_classes(name: str, classes: Sequence[str], *, is_ordinal: bool) -> None:
    """Refuse classes that are too few or cannot be told apart.

    Raises:
        ConfigError: If there are fewer than two, a name is empty, or two names differ only in case, spaces,
            dashes and underscores.
    """
    plain = Counter(map(plain_name, classes))
    if len(classes) < 2:
        raise ConfigError(f"task {name}: classes must be at least two names, found {len(classes)}")
    if "" in plain:
        raise ConfigError(f"task {name}: classes must be names, and one of them is empty")
    twice = [one for one in classes if plain[plain_name(one)] > 1]
    if twice:
        raise ConfigError(
            f"task {name}: classes {' and '.join(twice)} cannot be told apart: case, spaces, dashes and "
            "underscores do not count"
        )
    if is_ordinal and len(classes) < _FEWEST_OF_AN_ORDER:
        raise ConfigError(
            f"task {name}: an ordinal task has at least {_FEWEST_OF_AN_ORDER} classes, found {len(classes)}; "
            "leave ordinal out"
        )


def with_positive_last(
    name: str, classes: tuple[str, ...], positive: str | None
) -> tuple[tuple[str, ...], str | None]:
    """Return the classes with the positive one of two at the end, and its name; None for more than two.

    Raises:
        ConfigError: If the positive class is none of the classes, or there are more than two.
    """
    if len(classes) > 2:
        if positive is not None:
            raise ConfigError(
                f"task {name}: positive is for two classes, found {len(classes)}; of more, each is scored "
                "against the rest: leave it out"
            )
        return classes, None
    found = classes[-1] if positive is None else class_named(name, "positive", positive, classes)
    return (*(one for one in classes if one != found), found), found


def codes_in_listed_order(classes: tuple[str, ...]) -> dict[str, str]:
    """Codes of classes that are listed with the positive one first: numbers count as listed, and names do.

    Classes that are called 1, 2, ... are their own numbers; counting from 0 would mean something else.

    >>> codes_in_listed_order(("malignant", "benign"))
    {'0': 'malignant', '1': 'benign', 'malignant': 'malignant', 'benign': 'benign'}
    >>> codes_in_listed_order(("2", "1"))
    {'2': '2', '1': '1'}
    """
    names = {one: one for one in classes}
    if any(plain_name(one).isdigit() for one in classes):
        return names
    return {str(number): one for number, one in enumerate(classes)} | names


def are_names_and_numbers(codes: Mapping[Any, str], classes: tuple[str, ...]) -> bool:
    """Tell whether codes are those of `codes_in_listed_order`, so that labels are names and not codes.

    Args:
        codes: Code -> class, as a task keeps them.
        classes: Classes of the task, the positive one last.

    >>> are_names_and_numbers({"0": "b", "1": "a", "b": "b", "a": "a"}, ("a", "b"))
    True
    >>> are_names_and_numbers({"B": "b", "A": "a"}, ("a", "b"))
    False
    """
    listed = codes_in_listed_order(classes[::-1])
    return {str(code): one for code, one in codes.items()} == {
        code_text(code): one for code, one in listed.items()
    }


def named_classes(
    name: str, key: str, mapping: Mapping[Any, str], classes: tuple[str, ...]
) -> dict[str, str]:
    """Return codes, or names of folders, with their classes as `classes` spells them.

    Args:
        name: Name of the task, for messages.
        key: `codes`, whose every class needs one, or `folders`, which are compared as class names are.
        mapping: Code or name of a folder -> class.
        classes: Class names.

    Raises:
        ConfigError: If a class is unknown, entries differ in their form alone, or a class has no code.
    """
    found: dict[str, str] = {}
    form = plain_name if key == "folders" else code_text
    for entry, one in mapping.items():
        own, text = class_named(name, f"{key}: {entry}", one, classes), form(str(entry))
        if found.setdefault(text, own) != own:
            raise ConfigError(
                f"task {name}: {key}: {entry} is given to both {found[text]} and {own}; keep one"
            )
    without = [one for one in classes if key == "codes" and found and one not in found.values()]
    if without:
        raise ConfigError(f"task {name}: codes: no code stands for {' or '.join(without)}; add one")
    return found


def check_left_out(
    name: str,
    left_out: Sequence[str | int],
    codes: Mapping[Any, str],
    folders: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the labels and names of folders that are left out, as text.

    Raises:
        ConfigError: If one of them has a class, too.
    """
    found = tuple(code_text(str(one)) for one in left_out)
    with_class = {code_text(str(code)) for code in codes}, {plain_name(folder) for folder in folders}
    for one in found:
        if one in with_class[0] or plain_name(one) in with_class[1]:
            raise ConfigError(f"task {name}: left_out: {one} has a class, too; keep one of the two")
    return found


def class_named(name: str, place: str, given: str, classes: Iterable[str]) -> str:
    """Return the class that is meant, as `classes` spells it.

    Raises:
        ConfigError: If there is none; the message holds the nearest one.
    """
    by_plain_name = {plain_name(one): one for one in classes}
    if plain_name(given) in by_plain_name:
        return by_plain_name[plain_name(given)]
    near = difflib.get_close_matches(plain_name(given), by_plain_name, n=1)
    hint = f"; did you mean {by_plain_name[near[0]]}?" if near else "."
    raise ConfigError(
        f"task {name}: {place}: unknown class {given!r}{hint} Known: {', '.join(by_plain_name.values())}"
    )


def code_text(text: str) -> str:
    """Return a label as text: without spaces around it, and whole numbers without a decimal point.

    >>> code_text(" M "), code_text("3.0"), code_text("03")
    ('M', '3', '03')
    """
    text = text.strip()
    whole, point, rest = text.partition(".")
    return whole if point and whole.lstrip("-").isdigit() and set(rest) == {"0"} else text
