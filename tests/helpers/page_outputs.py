"""What a page shows of an output beside what is printed: words, headings and labels; figures may differ.

Both are brought into one shape: a figure becomes `#`, classes that are called, marks of rows and white space
count for nothing. What a page leaves out stands as `...`, on a line of its own or within one.
"""

import re

_FIGURE = re.compile(r"(?<![A-Za-z_])[-+]?\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?")
_NO_VALUE = re.compile(r"(?<!\S)-(?!\S)")
_MARK = re.compile(r"(?<!\S)[*!](?!\S)|(?<=#)[=<](?!\S)")
_CALLED = re.compile(r"\b(benign|malignant)\b")
_OF_THE_MACHINE = ("Running on ", "busy ")  # lines that another machine words differently


def shape_of(text: str) -> str:
    """Return a text without figures, marks of rows and calls, its white space evened.

    >>> shape_of(" 2=      0  0.89 [0.73, 0.96]         -  -0.006 !  efficientnet_lite0 top+1")
    '# # # [#, #] # # efficientnet_lite0 top+#'
    """
    text = _CALLED.sub("class", _NO_VALUE.sub("#", _FIGURE.sub("#", text)))
    return " ".join(_MARK.sub("", text).replace("─", "").split())


def missing_lines(shown: str, printed: str) -> list[str]:
    r"""Return the lines that a page shows and a program does not print, as their shapes.

    A line of text may be broken elsewhere; the heading of a table must be printed as a whole.

    >>> missing_lines("AUC  F2\n───────\n0.8 0.7\n...\nkept in .../first", "AUC F2 F1\n─────\n0.8 0.7 0.9")
    ['AUC F2', 'kept in', '/first']
    """
    whole = shape_of(printed)
    heads = {shape_of(line) for line in headings(shown)}
    missing = sorted(heads - {shape_of(line) for line in printed.splitlines()})
    lines = [line for line in shown.splitlines() if not line.strip().startswith(_OF_THE_MACHINE)]
    parts = [shape_of(part) for line in lines for part in line.split("...")]
    return [*missing, *(part for part in parts if part not in whole and part not in missing)]


def headings(shown: str) -> list[str]:
    """Return the lines of a text that stand above a rule, which are the headings of its tables."""
    lines = shown.splitlines()
    rules = [place for place, line in enumerate(lines) if line.strip() and not line.replace("─", "").strip()]
    return [lines[place - 1] for place in rules if place]
