"""Reading YAML from files that others may have written: plain values only, and no more than the file says."""

from typing import Any

import yaml

from trainables.common.text import first_line


class PlainYamlError(ValueError):
    """A text that is not YAML, or not plain; the message is one line."""


class _PlainLoader(yaml.SafeLoader):
    """A safe loader without aliases: a few hundred bytes of them can stand for billions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias (*name), which is not read")
        return super().compose_node(parent, index)


class _PlainDumper(yaml.SafeDumper):
    """A safe dumper that writes a value that occurs twice out twice, so that the plain loader reads it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def load_yaml(content: bytes) -> Any:
    """Return the value of a YAML file in UTF-8.

    Raises:
        PlainYamlError: If it is not UTF-8, not YAML, too deeply nested, or holds aliases or tags of objects.

    >>> load_yaml(b"{trials: 24, data: *images}")
    Traceback (most recent call last):
    ...
    trainables.common.plain_yaml.PlainYamlError: it holds an alias (*name), which is not read
    """
    try:
        return yaml.load(content.decode("utf-8"), Loader=_PlainLoader)
    except UnicodeDecodeError as error:
        raise PlainYamlError(f"it is not text in UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise PlainYamlError("it is too deeply nested") from error
    except (yaml.YAMLError, ValueError) as error:
        raise PlainYamlError(first_line(error)) from error


def dump_yaml(value: Any) -> str:
    """Return plain values as YAML, in their own order."""
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)
