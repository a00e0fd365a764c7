"""The description of a data set as one HTML page."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from orchestrator.description.odd_images import REASONS
from orchestrator.description.set_description import Count, SetDescription, bins_of
from orchestrator.reporting.html_page import as_data_url, facts, key, page, series, text, thumbnail
from trainables.common.text import count_text
from trainables.data.patches import PatchSet

_HEIGHT: Final = 110  # of a histogram


def description_page(description: SetDescription, patch_set: PatchSet) -> str:
    """Return the page, which holds small copies of some images.

    Args:
        description: Description of the set.
        patch_set: The set, for the images that are shown.
    """
    sections = [
        _head(description),
        _facts(description),
        _counts(description),
        _pixels(description),
        _sizes(description),
        _odd(description, patch_set),
        _samples(description, patch_set),
        f'<p class="soft">Fingerprint <code>{description.fingerprint}</code></p>',
    ]
    return page(f"{description.source}: {description.task}", sections)


def _head(description: SetDescription) -> str:
    synthetic = (
        '<p class="warn">Synthetic images: they say nothing about patients.</p>'
        if description.is_synthetic
        else ""
    )
    some = ""
    if description.looked_at < description.images:
        some = (
            f'<p class="soft">Pixels, odd images and samples are of {description.looked_at:,} images, drawn '
            "at random; all counts are of the whole set.</p>"
        )
    lacks = ""
    if description.lacks:
        lacks = f'<p class="soft">Not known of these images: {text(", ".join(description.lacks))}.</p>'
    return (
        f"<h1>{text(description.source)}</h1><p>{text(description.question)} "
        f'<span class="soft">(task {text(description.task)})</span></p>{synthetic}{some}{lacks}'
    )


def _facts(description: SetDescription) -> str:
    values = {
        "images": f"{description.images:,}",
        "patients": "not known" if description.patients is None else f"{description.patients:,}",
        "classes": str(len(description.classes)),
        "pixels": " x ".join(map(str, description.shape)),
        "number type": description.dtype,
        "white is": f"{description.max_value:g}",
        "odd images": str(sum(odd.count for odd in description.odd)),
    }
    return facts(values)


def _counts(description: SetDescription) -> str:
    tables = "".join(
        _count_table(name, counts, description.classes) for name, counts in description.counts.items()
    )
    return f'<h2>Counts</h2>{key(description.classes)}<div class="grid">{tables}</div>'


def _count_table(name: str, counts: Sequence[Count], classes: Sequence[str]) -> str:
    has_patients = counts[0].patients is not None
    largest = max(sum(count.images) for count in counts)
    head = f"<tr><th>{text(name)}</th><th>images</th>{'<th>patients</th>' * has_patients}<th></th></tr>"
    lines = []
    for count in counts:
        bars = "".join(
            f'<i style="width:{100 * images / largest:.2f}%;background:var(--{series(place)})" '
            f'title="{images} {text(classes[place])}"></i>'
            for place, images in enumerate(count.images)
            if images
        )
        patients = f"<td>{count.patients:,}</td>" if has_patients else ""
        lines.append(
            f"<tr><td>{text(count.value.strip())}</td><td>{sum(count.images):,}</td>{patients}"
            f'<td class="bar"><div class="stack">{bars}</div></td></tr>'
        )
    return f'<div class="wide"><table>{head}{"".join(lines)}</table></div>'


def _pixels(description: SetDescription) -> str:
    if not description.histograms:
        return ""
    names = ("red", "green", "blue") if len(description.shape) == 3 else ("grey values",)
    figures = []
    for channel, name in enumerate(names):
        curves = [bins_of(histogram)[channel] for histogram in description.histograms.values()]
        tallest = max(float(curve.max()) for curve in curves)
        caption = f"{name}, from black to white; the tallest bar holds {tallest:.0%} of the pixels"
        figures.append(f"<figure>{_bars(curves)}<figcaption>{caption}</figcaption></figure>")
    rows = "".join(
        f"<tr><td>{text(name)}</td>{''.join(f'<td>{value:.3f}</td>' for value in values)}</tr>"
        for name, values in description.brightness.items()
    )
    head = (
        "<tr><th>mean of an image</th><th>5 %</th><th>25 %</th><th>50 %</th><th>75 %</th><th>95 %</th></tr>"
    )
    return (
        f"<h2>Pixel values</h2>{key(description.histograms)}"
        f'<div class="grid">{"".join(figures)}</div><div class="wide"><table>{head}{rows}</table></div>'
    )


def _bars(curves: Sequence["np.ndarray[tuple[int], np.dtype[np.float64]]"]) -> str:
    """Histograms side by side, from black at the left to white at the right."""
    largest = max(float(curve.max()) for curve in curves) or 1.0
    bins, step = len(curves[0]), 30
    width = step / (len(curves) + 0.6)
    shapes = []
    for place_of_curve, curve in enumerate(curves):
        for place, share in enumerate(curve.tolist()):
            height = _HEIGHT * share / largest
            shapes.append(
                f'<rect x="{place * step + place_of_curve * width:.1f}" y="{_HEIGHT - height:.1f}" '
                f'width="{width:.1f}" height="{height:.1f}" fill="var(--{series(place_of_curve)})">'
                f"<title>{share:.1%}</title></rect>"
            )
    frame = f'<line x1="0" x2="{bins * step}" y1="{_HEIGHT}" y2="{_HEIGHT}" stroke="var(--line)"/>'
    return (
        f'<svg viewBox="0 0 {bins * step} {_HEIGHT + 2}" role="img" aria-label="histogram">'
        f"{''.join(shapes)}{frame}</svg>"
    )


def _sizes(description: SetDescription) -> str:
    if not description.sizes:
        return ""
    words = {"height_px": "height of the file", "width_px": "width of the file"}
    words |= {"box_height": "height of the region", "box_width": "width of the region"}
    rows = "".join(
        f"<tr><td>{words[size.what]}</td>{''.join(f'<td>{value:g}</td>' for value in size.quantiles)}</tr>"
        for size in description.sizes
    )
    head = "".join(f"<th>{name}</th>" for name in ("least", "5 %", "25 %", "50 %", "75 %", "95 %", "most"))
    return f'<h2>Sizes, in pixels</h2><div class="wide"><table><tr><th></th>{head}</tr>{rows}</table></div>'


def _odd(description: SetDescription, patch_set: PatchSet) -> str:
    if patch_set.is_table:
        return ""
    if not description.odd:
        return "<h2>Odd images</h2><p>None: none is blank, saturated or marked, and all are of one size.</p>"
    parts = [
        f"<h3>{count_text(odd.count, 'image')}: {text(REASONS[odd.reason])}</h3>"
        f"{_sheet(odd.rows, odd.names, patch_set)}"
        for odd in description.odd
    ]
    return "<h2>Odd images</h2>" + "".join(parts)


def _samples(description: SetDescription, patch_set: PatchSet) -> str:
    if not description.samples:
        return ""
    parts = [
        f"<h3>{text(one.name)}</h3>{_sheet(one.rows, one.names, patch_set)}" for one in description.samples
    ]
    return "<h2>Samples, drawn at random</h2>" + "".join(parts)


def _sheet(rows: Sequence[int], names: Sequence[str], patch_set: PatchSet) -> str:
    pictures = (
        f'<img alt="{text(name)}" title="{text(name)}" src="{as_data_url(thumbnail(patch_set, row))}">'
        for row, name in zip(rows, names, strict=True)
    )
    return f'<div class="sheet">{"".join(pictures)}</div>'
