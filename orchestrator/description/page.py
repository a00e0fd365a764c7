"""The description of a data set as one HTML page: no network, light and dark, and fit to be printed."""

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from orchestrator.description.odd_images import REASONS
from orchestrator.description.set_description import Count, SetDescription, bins_of
from trainables.common.text import count_text
from trainables.data.patches import PatchSet

_SIDE: Final = 96  # pixels of a shown image
_HEIGHT: Final = 110  # of a histogram
_SERIES: Final = ("s0", "s1", "s2", "s3", "s4", "s5")

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2126;--soft:#5a6570;--line:#d6dbe0;--back:#fff;--card:#f6f7f9;
--s0:#0072B2;--s1:#D55E00;--s2:#009E73;--s3:#CC79A7;--s4:#E69F00;--s5:#56B4E9;--warn:#9a5b00}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5af;--line:#3a424a;--back:#15191d;
--card:#1e2429;--s0:#4aa8e0;--s1:#ff8a3d;--s2:#2fc79a;--s3:#e39cc4;--s4:#f0b840;--s5:#8accf2;--warn:#e9a94a}}
*{box-sizing:border-box}body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:64rem;background:var(--back);
color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
h3{font-size:1rem;margin:1rem 0 .3rem}p,td,li{overflow-wrap:anywhere}.soft{color:var(--soft)}
.warn{color:var(--warn);font-weight:600}.facts{display:grid;gap:.6rem;
grid-template-columns:repeat(auto-fill,minmax(7.6rem,1fr));margin:1rem 0}
.facts div{background:var(--card);border-radius:.4rem;padding:.5rem .7rem}
.facts b{display:block;font-size:1.15rem}.facts span{color:var(--soft);font-size:.85rem}
.grid{display:grid;align-items:start;gap:1rem 2rem;
grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
caption{text-align:left;font-weight:600;padding:.2rem 0}
th,td{padding:.2rem .6rem .2rem 0;text-align:right;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}td+td,th+th{white-space:nowrap}th{font-weight:600;color:var(--soft)}
td.bar{width:34%;padding-right:0}.stack{display:flex;height:.7rem;border-radius:.2rem;overflow:hidden}
.stack i{display:block;height:100%}svg{width:100%;height:auto;display:block}
figure{margin:0;break-inside:avoid}figcaption{font-size:.85rem;color:var(--soft)}
.sheet{display:flex;flex-wrap:wrap;gap:4px}.sheet img{width:96px;height:96px;background:#000;
border:1px solid var(--line)}.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.3rem 0;font-size:.9rem}
.key i{display:inline-block;width:.8em;height:.8em;border-radius:.15em;margin-right:.35em}
ul{padding-left:1.2rem;margin:.3rem 0}code{font-size:.9em}
@media print{body{max-width:none;padding:0;font-size:11pt}h2{break-after:avoid}
.stack i,.key i,rect{print-color-adjust:exact;-webkit-print-color-adjust:exact}table{break-inside:avoid}}
"""


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
    title = f"{_text(description.source)}: {_text(description.task)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _text(text: object) -> str:
    return html.escape(str(text))


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
        lacks = f'<p class="soft">Not known of these images: {_text(", ".join(description.lacks))}.</p>'
    return (
        f"<h1>{_text(description.source)}</h1><p>{_text(description.question)} "
        f'<span class="soft">(task {_text(description.task)})</span></p>{synthetic}{some}{lacks}'
    )


def _facts(description: SetDescription) -> str:
    facts = {
        "images": f"{description.images:,}",
        "patients": "not known" if description.patients is None else f"{description.patients:,}",
        "classes": str(len(description.classes)),
        "pixels": " x ".join(map(str, description.shape)),
        "number type": description.dtype,
        "white is": f"{description.max_value:g}",
        "odd images": str(sum(odd.count for odd in description.odd)),
    }
    cells = "".join(f"<div><b>{_text(value)}</b><span>{name}</span></div>" for name, value in facts.items())
    return f'<div class="facts">{cells}</div>'


def _key(names: Iterable[str]) -> str:
    spans = (
        f'<span><i style="background:var(--{_series(place)})"></i>{_text(name)}</span>'
        for place, name in enumerate(names)
    )
    return f'<div class="key">{"".join(spans)}</div>'


def _series(place: int) -> str:
    return _SERIES[place % len(_SERIES)]


def _counts(description: SetDescription) -> str:
    tables = "".join(
        _count_table(name, counts, description.classes) for name, counts in description.counts.items()
    )
    return f'<h2>Counts</h2>{_key(description.classes)}<div class="grid">{tables}</div>'


def _count_table(name: str, counts: Sequence[Count], classes: Sequence[str]) -> str:
    has_patients = counts[0].patients is not None
    largest = max(sum(count.images) for count in counts)
    head = f"<tr><th>{_text(name)}</th><th>images</th>{'<th>patients</th>' * has_patients}<th></th></tr>"
    lines = []
    for count in counts:
        bars = "".join(
            f'<i style="width:{100 * images / largest:.2f}%;background:var(--{_series(place)})" '
            f'title="{images} {_text(classes[place])}"></i>'
            for place, images in enumerate(count.images)
            if images
        )
        patients = f"<td>{count.patients:,}</td>" if has_patients else ""
        lines.append(
            f"<tr><td>{_text(count.value.strip())}</td><td>{sum(count.images):,}</td>{patients}"
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
        f"<tr><td>{_text(name)}</td>{''.join(f'<td>{value:.3f}</td>' for value in values)}</tr>"
        for name, values in description.brightness.items()
    )
    head = (
        "<tr><th>mean of an image</th><th>5 %</th><th>25 %</th><th>50 %</th><th>75 %</th><th>95 %</th></tr>"
    )
    return (
        f"<h2>Pixel values</h2>{_key(description.histograms)}"
        f'<div class="grid">{"".join(figures)}</div><div class="wide"><table>{head}{rows}</table></div>'
    )


def _bars(curves: Sequence["np.ndarray[tuple[int], np.dtype[np.float64]]"]) -> str:
    """Histograms side by side, from black at the left to white at the right."""
    largest = max(float(curve.max()) for curve in curves) or 1.0
    bins, step = len(curves[0]), 30
    width = step / (len(curves) + 0.6)
    shapes = []
    for series, curve in enumerate(curves):
        for place, share in enumerate(curve.tolist()):
            height = _HEIGHT * share / largest
            shapes.append(
                f'<rect x="{place * step + series * width:.1f}" y="{_HEIGHT - height:.1f}" '
                f'width="{width:.1f}" height="{height:.1f}" fill="var(--{_series(series)})">'
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
        f"<h3>{count_text(odd.count, 'image')}: {_text(REASONS[odd.reason])}</h3>"
        f"{_sheet(odd.rows, odd.names, patch_set)}"
        for odd in description.odd
    ]
    return "<h2>Odd images</h2>" + "".join(parts)


def _samples(description: SetDescription, patch_set: PatchSet) -> str:
    if not description.samples:
        return ""
    parts = [
        f"<h3>{_text(one.name)}</h3>{_sheet(one.rows, one.names, patch_set)}" for one in description.samples
    ]
    return "<h2>Samples, drawn at random</h2>" + "".join(parts)


def _sheet(rows: Sequence[int], names: Sequence[str], patch_set: PatchSet) -> str:
    pictures = (
        f'<img alt="{_text(name)}" title="{_text(name)}" src="data:image/png;base64,{_png(patch_set, row)}">'
        for row, name in zip(rows, names, strict=True)
    )
    return f'<div class="sheet">{"".join(pictures)}</div>'


def _png(patch_set: PatchSet, row: int) -> str:
    """A small copy of an image in its own proportions on black, as text."""
    import cv2

    image = np.asarray(patch_set.images[row])
    scale = _SIDE / max(image.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / patch_set.max_value
    bytes_ = np.clip(small * 255.0 + 0.5, 0, 255).astype(np.uint8)
    canvas = np.zeros((_SIDE, _SIDE, *bytes_.shape[2:]), dtype=np.uint8)
    top, left = (_SIDE - bytes_.shape[0]) // 2, (_SIDE - bytes_.shape[1]) // 2
    canvas[top : top + bytes_.shape[0], left : left + bytes_.shape[1]] = bytes_
    canvas = canvas[..., ::-1] if canvas.ndim == 3 else canvas
    return base64.b64encode(cv2.imencode(".png", np.ascontiguousarray(canvas))[1].tobytes()).decode()
