"""Charts as SVG: text stays text, colours follow the page, and each says in words what it shows.

A chart is a list of marks in data coordinates and two axes. It is a file of its own, too: colours are then
those of a light page.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.reporting.html_page import COLOURS_DARK, COLOURS_LIGHT, series, text
from results.tables import csv_text

_WIDTH: Final = 400  # units of a chart; a page of 375 px shows it at almost its own size
_HEIGHT: Final = 300
_LEFT: Final = 52
_RIGHT: Final = 14
_TOP: Final = 12
_BOTTOM: Final = 46
_MOST_TICKS: Final = 6
_BAR_STEP: Final = 26
_BAR_LEFT: Final = 168  # where bars begin, behind their names
_NAMESPACE: Final = ' xmlns="http://www.w3.org/2000/svg"'
_FILE_STYLE: Final = (
    f"<style>:root{{{COLOURS_LIGHT}}}@media(prefers-color-scheme:dark){{:root{{{COLOURS_DARK}}}}}"
    "svg{background:var(--back);font-family:system-ui,sans-serif}</style>"
)


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a chart.

    Attributes:
        label: What it measures, with its unit.
        low: Value at its beginning.
        high: Value at its end, not that of `low`.
    """

    label: str
    low: float
    high: float

    @classmethod
    def around(cls, label: str, values: Sequence[float], *, margin: float = 0.05) -> "Axis":
        """Return an axis that holds some values; a single one stands in its middle.

        >>> Axis.around("AUC", [0.5, 0.9], margin=0.0)
        Axis(label='AUC', low=0.5, high=0.9)
        >>> Axis.around("AUC", [0.5])
        Axis(label='AUC', low=0.0, high=1.0)
        """
        found = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(found), max(found)
        if low == high:
            return cls(label, low - 0.5, high + 0.5)
        more = margin * (high - low)
        return cls(label, low - more, high + more)

    def ticks(self) -> list[float]:
        """Return round values within the axis, six at most.

        >>> Axis("share", 0.0, 1.0).ticks()
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        """
        rough = (self.high - self.low) / (_MOST_TICKS - 1)
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(place * step, 10) for place in range(first, last + 1)]


@dataclass(slots=True)
class Chart:
    """A chart with its numbers.

    Attributes:
        name: Name of its files, such as `roc`.
        title: Title in a few words.
        description: What it shows in a sentence or two, for those who cannot see it.
        across: Horizontal axis.
        up: Vertical axis.
        rows: The numbers that it is drawn from, one dictionary a row.
        is_square: Both axes are of equal length.
    """

    name: str
    title: str
    description: str
    across: Axis
    up: Axis
    rows: list[dict[str, Any]] = field(default_factory=list)
    is_square: bool = False
    _marks: list[str] = field(default_factory=list, repr=False)

    def line(
        self,
        across: Sequence[float],
        up: Sequence[float],
        place: int = 0,
        *,
        is_thin: bool = False,
        dash: str = "",
    ) -> None:
        """Draw a line through points in the colour of a series."""
        points = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in zip(across, up, strict=True))
        width = 1 if is_thin else 2.2
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._marks.append(
            f'<polyline points="{points}" fill="none" stroke="var(--{series(place)})" '
            f'stroke-width="{width}" stroke-linejoin="round"{dashed}/>'
        )

    def steps(self, across: Sequence[float], up: Sequence[float], place: int = 0) -> None:
        """Draw a line that stays at a value until the next place, as the best so far does."""
        corners = [(x, y) for x, y in zip(across[1:], up, strict=False)]
        points = [
            point for pair in zip(zip(across, up, strict=True), corners, strict=False) for point in pair
        ]
        points += [(across[-1], up[-1])] if across else []
        self.line([x for x, _ in points], [y for _, y in points], place)

    def reference(self, across: Sequence[float], up: Sequence[float]) -> None:
        """Draw a thin dashed grey line, such as that of chance."""
        points = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in zip(across, up, strict=True))
        self._marks.append(
            f'<polyline points="{points}" fill="none" stroke="var(--soft)" stroke-dasharray="4 4"/>'
        )

    def band(
        self, across: Sequence[float], low: Sequence[float], high: Sequence[float], place: int = 0
    ) -> None:
        """Fill the space between two curves in the pale colour of a series."""
        there = [f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in zip(across, high, strict=True)]
        back = [f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in zip(across, low, strict=True)]
        self._marks.append(
            f'<polygon points="{" ".join(there + back[::-1])}" fill="var(--{series(place)})" opacity="0.18"/>'
        )

    def points(
        self,
        across: Sequence[float],
        up: Sequence[float],
        place: int = 0,
        *,
        names: Sequence[str] = (),
        is_hollow: bool = False,
        radius: float = 3.5,
    ) -> None:
        """Draw points; a name is shown where the pointer rests on one."""
        colour = f"var(--{series(place)})"
        fill = f'fill="none" stroke="{colour}" stroke-width="1.4"' if is_hollow else f'fill="{colour}"'
        for number, (x, y) in enumerate(zip(across, up, strict=True)):
            name = f"<title>{text(names[number])}</title>" if names else ""
            self._marks.append(
                f'<circle cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="{radius:g}" {fill}>{name}</circle>'
            )

    def whiskers(
        self, across: Sequence[float], low: Sequence[float], high: Sequence[float], place: int = 0
    ) -> None:
        """Draw vertical intervals."""
        for x, bottom, top in zip(across, low, high, strict=True):
            self._marks.append(
                f'<line x1="{self._x(x):.1f}" x2="{self._x(x):.1f}" y1="{self._y(bottom):.1f}" '
                f'y2="{self._y(top):.1f}" stroke="var(--{series(place)})" stroke-width="1.6"/>'
            )

    def label(self, x: float, y: float, words: str) -> None:
        """Write a few words beside a point."""
        self._marks.append(
            f'<text x="{self._x(x) + 6:.1f}" y="{self._y(y) - 5:.1f}" font-size="11" fill="var(--ink)">'
            f"{text(words)}</text>"
        )

    def svg(self) -> str:
        """Return the chart as part of a page."""
        return self._svg()

    def svg_file(self) -> str:
        """Return the chart as the content of a file of its own."""
        return self._svg(_FILE_STYLE, _NAMESPACE)

    def csv(self) -> str:
        """Return the numbers of the chart as CSV with a header; empty without numbers."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        return csv_text(self.rows, columns) if columns else ""

    def _svg(self, style: str = "", extra: str = "") -> str:
        return _picture(self, self._height, f"{style}{self._axes()}{''.join(self._marks)}", extra)

    @property
    def _height(self) -> int:
        return _WIDTH - _LEFT - _RIGHT + _TOP + _BOTTOM if self.is_square else _HEIGHT

    def _x(self, value: float) -> float:
        share = (value - self.across.low) / (self.across.high - self.across.low)
        return _LEFT + min(max(share, -0.02), 1.02) * (_WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        share = (value - self.up.low) / (self.up.high - self.up.low)
        bottom = self._height - _BOTTOM
        return bottom - min(max(share, -0.02), 1.02) * (bottom - _TOP)

    def _axes(self) -> str:
        bottom = self._height - _BOTTOM
        grid = "".join(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{self._y(tick):.1f}" y2="{self._y(tick):.1f}" '
            f'stroke="var(--line)"/><text x="{_LEFT - 6}" y="{self._y(tick) + 4:.1f}" text-anchor="end">'
            f"{_number(tick)}</text>"
            for tick in self.up.ticks()
        )
        grid += "".join(
            f'<text x="{self._x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{_number(tick)}</text>'
            for tick in self.across.ticks()
        )
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        labels = (
            f'<text x="{middle:.0f}" y="{self._height - 8}" text-anchor="middle">'
            f"{text(self.across.label)}</text>"
            f'<text x="12" y="{(_TOP + bottom) / 2:.0f}" text-anchor="middle" '
            f'transform="rotate(-90 12 {(_TOP + bottom) / 2:.0f})">{text(self.up.label)}</text>'
        )
        frame = (
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}" stroke="var(--soft)"/>'
        )
        return f'<g font-size="12" fill="var(--soft)">{grid}{frame}{labels}</g>'


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars with their numbers.

    Attributes:
        name: Name of its files, such as `importance`.
        title: Title in a few words.
        description: What they show in a sentence.
        values: Name, length (0 or more) and shown value of each bar.
    """

    name: str
    title: str
    description: str
    values: tuple[tuple[str, float, str], ...]

    def svg(self) -> str:
        """Return the bars as part of a page."""
        return self._svg()

    def svg_file(self) -> str:
        """Return the bars as the content of a file of their own."""
        return self._svg(_FILE_STYLE, _NAMESPACE)

    def csv(self) -> str:
        """Return the numbers as CSV with a header."""
        rows = ({"name": label, "value": value} for label, value, _ in self.values)
        return csv_text(rows, ["name", "value"])

    def _svg(self, style: str = "", extra: str = "") -> str:
        largest = max((value for _, value, _ in self.values), default=0.0) or 1.0
        room = _WIDTH - _BAR_LEFT - 62
        marks = "".join(
            f'<text x="{_BAR_LEFT - 6}" y="{place * _BAR_STEP + 18}" text-anchor="end">'
            f"{text(_short(label))}</text>"
            f'<rect x="{_BAR_LEFT}" y="{place * _BAR_STEP + 6}" width="{max(room * value / largest, 1):.1f}" '
            f'height="16" rx="2" fill="var(--s0)"><title>{text(label)}</title></rect>'
            f'<text x="{_BAR_LEFT + room * value / largest + 6:.1f}" y="{place * _BAR_STEP + 18}">'
            f"{text(shown)}</text>"
            for place, (label, value, shown) in enumerate(self.values)
        )
        marks = f'<g font-size="12" fill="var(--ink)">{marks}</g>'
        return _picture(self, len(self.values) * _BAR_STEP + 8, style + marks, extra)


Figure = Chart | Bars


def _picture(figure: Figure, height: float, content: str, extra: str) -> str:
    title, description = f"{figure.name}-title", f"{figure.name}-description"
    return (
        f'<svg{extra} viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-labelledby="{title} {description}">'
        f'<title id="{title}">{text(figure.title)}</title>'
        f'<desc id="{description}">{text(figure.description)}</desc>{content}</svg>'
    )


def _short(label: str, most: int = 25) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
