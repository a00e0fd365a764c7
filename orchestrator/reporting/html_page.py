"""Pages of HTML that can be handed on: one file, no network, no script, light and dark, fit for paper."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainables.data.patches import PatchSet

SERIES: Final = ("s0", "s1", "s2", "s3", "s4", "s5")
# Colours are those of Okabe and Ito, lightened for dark pages; every text has a contrast of 4.5 or more.
COLOURS_LIGHT: Final = (
    "--ink:#1c2126;--soft:#56616b;--line:#d6dbe0;--back:#fff;--card:#f6f7f9;"
    "--s0:#0072B2;--s1:#C04F00;--s2:#00785A;--s3:#A8527F;--s4:#8F6200;--s5:#2F7FB0;--warn:#8a5200"
)
COLOURS_DARK: Final = (
    "--ink:#e6e9ec;--soft:#a3adb7;--line:#3a424a;--back:#15191d;--card:#1e2429;"
    "--s0:#4aa8e0;--s1:#ff8a3d;--s2:#2fc79a;--s3:#e39cc4;--s4:#f0b840;--s5:#8accf2;--warn:#e9a94a"
)
_SIDE: Final = 96  # pixels of a shown image

STYLE: Final = (
    ":root{color-scheme:light dark;" + COLOURS_LIGHT + "}\n"
    "@media(prefers-color-scheme:dark){:root{" + COLOURS_DARK + "}}\n"
    "@media print{:root{color-scheme:light;" + COLOURS_LIGHT + "}}"
    """
*{box-sizing:border-box}body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:64rem;background:var(--back);
color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
h3{font-size:1rem;margin:1rem 0 .3rem}p,td,li,figcaption{overflow-wrap:anywhere}.soft{color:var(--soft)}
.warn{color:var(--warn);font-weight:600}.facts{display:grid;gap:.6rem;
grid-template-columns:repeat(auto-fill,minmax(7.6rem,1fr));margin:1rem 0}
.facts div{background:var(--card);border-radius:.4rem;padding:.5rem .7rem}
.facts b{display:block;font-size:1.15rem}.facts span{color:var(--soft);font-size:.85rem}
.grid{display:grid;align-items:start;gap:1rem 2rem;
grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}
.grid>*{min-width:0}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
caption{text-align:left;font-weight:600;padding:.2rem 0}
th,td{padding:.2rem .6rem .2rem 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
th:first-child,td:first-child,.left th,.left td{text-align:left}td+td,th+th{white-space:nowrap}
.left td+td,.left th+th{white-space:normal}.last td:last-child,.last th:last-child{text-align:left;
white-space:normal;min-width:20rem}th{font-weight:600;color:var(--soft)}
td.bar{width:34%;padding-right:0}.stack{display:flex;height:.7rem;border-radius:.2rem;overflow:hidden}
.stack i{display:block;height:100%}svg{width:100%;height:auto;display:block;font-family:system-ui,sans-serif}
figure{margin:0;max-width:31rem;break-inside:avoid}figcaption{font-size:.85rem;color:var(--soft)}
.sheet{display:flex;flex-wrap:wrap;gap:4px}.sheet img{width:96px;height:96px;background:#000;
border:1px solid var(--line)}.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.3rem 0;font-size:.9rem}
.key i{display:inline-block;width:.8em;height:.8em;border-radius:.15em;margin-right:.35em}
.sheet figure{width:min(112px,calc(33.3% - 4px))}.sheet figure img{width:100%;height:auto}
.sheet .near{display:flex;gap:2px}.sheet .near img{width:calc(33.3% - 1.4px);min-width:0}
ul{padding-left:1.2rem;margin:.3rem 0}code{font-size:.9em}pre{white-space:pre-wrap;overflow-wrap:anywhere;
background:var(--card);padding:.6rem .8rem;border-radius:.4rem}
a{color:var(--s0)}nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1rem;list-style:none;padding:0}
.skip{position:absolute;left:-99rem}.skip:focus{position:static}
:focus-visible{outline:3px solid var(--s0);outline-offset:2px}
@media print{body{max-width:none;padding:0;font-size:10pt}h2,h3{break-after:avoid}nav,.skip{display:none}
.stack i,.key i,svg{print-color-adjust:exact;-webkit-print-color-adjust:exact}tr{break-inside:avoid}
.wide{overflow:visible}table{font-size:8pt}.grid{grid-template-columns:1fr 1fr;gap:.6rem 1.2rem}
.last td:last-child{min-width:0}.facts{grid-template-columns:repeat(6,1fr)}figure{max-width:17rem}}
"""
)


def page(title: str, sections: Sequence[str], *, contents: Mapping[str, str] | None = None) -> str:
    """Return a whole page.

    Args:
        title: Title of the browser's window, as plain text.
        sections: Parts of the page as HTML.
        contents: Id of a heading -> its text, for a list of links at the top; None for no list.
    """
    links = "".join(
        f'<li><a href="#{name}">{text(words)}</a></li>' for name, words in (contents or {}).items()
    )
    nav = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if links else ""
    skip = '<a class="skip" href="#content">Skip to the content</a>' if links else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body>\n{skip}"
        + (sections[0] if sections else "")
        + nav
        + '\n<main id="content">\n'
        + "\n".join(sections[1:])
        + "\n</main></body></html>\n"
    )


def text(value: object) -> str:
    """Return a value as text that HTML reads as nothing but text.

    >>> text("<b> & co")
    '&lt;b&gt; &amp; co'
    """
    return html.escape(str(value))


def facts(values: Mapping[str, object]) -> str:
    """Return cards, each with a value and its name below."""
    cells = "".join(
        f"<div><b>{text(value)}</b><span>{text(name)}</span></div>" for name, value in values.items()
    )
    return f'<div class="facts">{cells}</div>'


def key(names: Iterable[str]) -> str:
    """Return the key of the series' colours, in their order."""
    spans = (
        f'<span><i style="background:var(--{series(place)})"></i>{text(name)}</span>'
        for place, name in enumerate(names)
    )
    return f'<div class="key">{"".join(spans)}</div>'


def series(place: int) -> str:
    """Return the name of a series' colour; they begin anew after the last.

    >>> series(0), series(7)
    ('s0', 's1')
    """
    return SERIES[place % len(SERIES)]


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    is_text: bool = False,
    ends_in_text: bool = False,
) -> str:
    """Return a table that scrolls by itself where it is wider than the page.

    Args:
        caption: What it shows.
        head: Headers of the columns; the first column names the rows.
        rows: Values of each row.
        is_text: The cells hold sentences, which are set at the left and may be folded.
        ends_in_text: Those of the last column do.
    """
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(value)}</td>" for value in rest)}</tr>'
        for first, *rest in rows
    )
    kind = ' class="left"' if is_text else ' class="last"' if ends_in_text else ""
    return (
        f'<div class="wide" role="region" aria-label="{text(caption)}" tabindex="0"><table{kind}>'
        f"<caption>{text(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def thumbnail(patch_set: PatchSet, row: int, *, side: int = _SIDE) -> bytes:
    """Return a small copy of an image in its own proportions on black, as the content of a PNG file.

    Args:
        patch_set: The set.
        row: Row of the image.
        side: Height and width in pixels.
    """
    import cv2

    canvas = small_copy(patch_set, row, side=side)
    return bytes(cv2.imencode(".png", np.ascontiguousarray(canvas))[1].tobytes())


def small_copy(patch_set: PatchSet, row: int, *, side: int = _SIDE) -> NDArray[np.uint8]:
    """Return a small copy of an image on black, shape (side, side) or (side, side, 3) in blue, green, red."""
    import cv2

    image = np.asarray(patch_set.images[row])
    scale = side / max(image.shape[:2])
    size = tuple(max(1, round(length * scale)) for length in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / patch_set.max_value
    bytes_ = np.clip(small * 255.0 + 0.5, 0, 255).astype(np.uint8)
    canvas = np.zeros((side, side, *bytes_.shape[2:]), dtype=np.uint8)
    top, left = (side - bytes_.shape[0]) // 2, (side - bytes_.shape[1]) // 2
    canvas[top : top + bytes_.shape[0], left : left + bytes_.shape[1]] = bytes_
    return canvas[..., ::-1] if canvas.ndim == 3 else canvas


def as_data_url(png: bytes) -> str:
    """Return the content of a PNG file as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
