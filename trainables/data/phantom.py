"""A seeded generator of mammogram-like patches, for trials where no patient data may be used.

Tissue is an isotropic Gaussian random field with power spectrum 1/f^beta, beta near 3, under a few strands
of glandular tissue. Lesions are added with random size, position and contrast; their apparent malignancy is a
continuous score in which the two classes overlap. A lesion is normalised so that neither its size nor its
contrast separates benign from malignant, but only its shape.

Source of the exponent:
    Burgess (1999), "Mammographic structure: data preparation and spatial statistics analysis", SPIE 3661.
    Burgess, Jacobson, Judy (2001), "Human observer detection experiments with mammograms and power-law
    noise", Medical Physics 28(4): beta of about 3 for digitised mammograms.
"""

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.data.patches import NO_PARTNER, RawPatches

FloatImage: TypeAlias = NDArray[np.float32]

_REFERENCE_PX: Final = 150.0  # lengths below are pixels of a patch of this side
_SUBPIXEL_BITS: Final = 4
_VIEWS: Final = ("CC", "MLO")
_BOX: Final = ("finding_left", "finding_top", "finding_width", "finding_height")
_VISIBLE: Final = 1 / 3  # share of a lesion's highest strength inside its box
_LEANING_SHARE: Final = 0.7  # share of a patient's lesions that are of the patient's own kind


@dataclass(frozen=True, slots=True)
class _Breast:
    """Properties that all patches of one patient share."""

    density: float
    texture: float
    beta: float
    strands: float
    angle: float
    malignant_share: float


def make_phantom(
    *,
    patients: int = 60,
    lesions_per_patient: int = 4,
    size_px: int = 150,
    subtlety: float = 0.5,
    seed: int = 0,
    views: int = 1,
    boxes: bool = False,
) -> RawPatches:
    """Generate pairs of a baseline and an abnormality patch of the same breast.

    Args:
        patients: Number of patients, at least 1. A patient's patches do not change when others are added.
        lesions_per_patient: Pairs per patient, at least 1; about half are masses, half calcifications.
        size_px: Side of a patch, 32 to 1024 pixels.
        subtlety: Subtlety of the lesions, in [0, 1]: 0 is obvious, 1 nearly invisible; it lowers the contrast
            and blurs the difference between benign and malignant.
        seed: Seed of the generator, at least 0; the same seed gives the same pixels.
        views: Number of views of each lesion, 1 to 8. With several, each lesion is one breast: its views have
            the same kind and class, and everything else is drawn anew for each. The set then has the columns
            `exam`, `laterality` and `view`; two lesions in turn are the left and right breast of an exam.
        boxes: Add the columns `finding_left`, `finding_top`, `finding_width` and `finding_height`, where the
            lesion lies, in pixels; NaN for baselines. The pixels stay the same.

    Returns:
        Patches with baselines in even rows and abnormalities in odd rows, in the label codes `pisa`; images
        are uint16 of shape (2 * patients * lesions_per_patient * views, size_px, size_px).

    Raises:
        DataError: If an argument is out of range.

    >>> raw = make_phantom(patients=1, lesions_per_patient=2, size_px=32)
    >>> raw.images.shape, raw.images.dtype.name, raw.partners.tolist(), raw.labels[::2].tolist()
    ((4, 32, 32), 'uint16', [-1, 0, -1, 2], [0, 0])
    """
    _check_ranges(patients, lesions_per_patient, size_px, subtlety, seed, views)
    pairs = patients * lesions_per_patient * views
    images = np.empty((2 * pairs, size_px, size_px), np.uint16)
    labels = np.zeros(2 * pairs, np.int64)
    findings = np.full((2 * pairs, 4), np.nan)
    for patient in range(patients):
        rng = np.random.default_rng((seed, patient))
        breast = _breast(rng)
        for lesion in range(lesions_per_patient):
            kind = _kind(rng, breast)
            for view in range(views):
                row = 2 * ((patient * lesions_per_patient + lesion) * views + view)
                images[row : row + 2], lesion_strength = _pair(rng, breast, size_px, subtlety, kind)
                labels[row + 1], findings[row + 1] = kind.code, _box(lesion_strength)
    rows = np.arange(2 * pairs, dtype=np.int64)
    return RawPatches(
        images=images,
        labels=labels,
        label_codes="pisa",
        patients=np.array([f"phantom-{row // (2 * lesions_per_patient * views):03d}" for row in rows]),
        partners=np.where(rows % 2 == 1, rows - 1, NO_PARTNER),
        source="phantom",
        is_synthetic=True,
        columns=(
            (_columns(rows, lesions_per_patient, views) if views > 1 else {})
            | (dict(zip(_BOX, findings.T, strict=True)) if boxes else {})
        )
        or None,
    )


def _box(strength: FloatImage) -> tuple[int, int, int, int]:
    """Left, top, width and height of where a lesion has a third of its highest strength or more."""
    rows, columns = np.nonzero(strength >= _VISIBLE * strength.max())
    return int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def _columns(rows: NDArray[np.int64], lesions: int, views: int) -> dict[str, NDArray[np.str_]]:
    """Exam, side and view of each row; the two breasts of an exam come one after the other."""
    breast, view = rows // (2 * views), rows // 2 % views
    patient, own = breast // lesions, breast % lesions
    names = [*_VIEWS[:views], *(f"VIEW{number + 1}" for number in range(len(_VIEWS), views))]
    return {
        "exam": np.array([f"phantom-{one:03d}-{of // 2 + 1}" for one, of in zip(patient, own, strict=True)]),
        "laterality": np.array(["L", "R"])[own % 2],
        "view": np.array(names)[view],
    }


def _check_ranges(patients: int, lesions: int, size_px: int, subtlety: float, seed: int, views: int) -> None:
    allowed = (
        ("patients", patients, 1, 100_000),
        ("lesions_per_patient", lesions, 1, 1000),
        ("size_px", size_px, 32, 1024),
        ("subtlety", subtlety, 0.0, 1.0),
        ("seed", seed, 0, 2**63),
        ("views", views, 1, 8),
    )
    for name, value, low, high in allowed:
        if not low <= value <= high:
            raise DataError(f"phantom: {name} must be from {low} to {high}, found {value}")


def _breast(rng: np.random.Generator) -> _Breast:
    leans_malignant = rng.random() < 0.45
    return _Breast(
        density=rng.uniform(0.34, 0.58),
        texture=rng.uniform(0.045, 0.075),
        beta=rng.uniform(2.8, 3.2),
        strands=rng.uniform(0.3, 1.0),
        angle=rng.uniform(0.0, math.pi),
        malignant_share=_LEANING_SHARE if leans_malignant else 1.0 - _LEANING_SHARE,
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """What all views of a lesion share."""

    is_malignant: bool
    is_calcification: bool

    @property
    def code(self) -> int:
        """Label code of the abnormality."""
        return 1 + self.is_malignant + 2 * self.is_calcification


def _kind(rng: np.random.Generator, breast: _Breast) -> _Kind:
    is_malignant = bool(rng.random() < breast.malignant_share)
    return _Kind(is_malignant, bool(rng.random() < 0.5))


def _pair(
    rng: np.random.Generator, breast: _Breast, size_px: int, subtlety: float, kind: _Kind
) -> tuple[NDArray[np.uint16], FloatImage]:
    """Baseline and abnormality patch, cut side by side from one field, and the lesion by itself."""
    field = _tissue(rng, breast, size_px)
    draw = _calcifications if kind.is_calcification else _mass
    contrast = breast.texture * rng.uniform(0.6, 1.4) * (1.25 - subtlety)
    lesion = contrast * draw(rng, size_px, _malignancy(rng, kind.is_malignant, subtlety))
    patches = np.stack([field[:, :size_px], field[:, size_px:] + lesion])
    patches += breast.texture * np.stack([_specks(rng, size_px) for _ in patches])
    patches += rng.normal(0.0, 0.006, patches.shape)  # film grain
    found: NDArray[np.uint16] = np.round(np.clip(patches, 0.0, 1.0) * 65535.0).astype(np.uint16)
    return found, lesion


def _malignancy(rng: np.random.Generator, is_malignant: bool, subtlety: float) -> float:
    """Apparent malignancy of a lesion, in [0, 1]; the classes overlap more, the subtler they are."""
    centre = 0.5 + (0.46 - 0.14 * subtlety) * (1.0 if is_malignant else -1.0)
    return float(np.clip(rng.normal(centre, 0.1 + 0.1 * subtlety), 0.0, 1.0))


def _tissue(rng: np.random.Generator, breast: _Breast, size_px: int) -> FloatImage:
    """Background of shape (size_px, 2 * size_px) around the breast's density, without clipping."""
    from scipy import fft

    rows, columns = (fft.next_fast_len(round(1.3 * side), real=True) for side in (size_px, 2 * size_px))
    frequency = np.hypot(fft.fftfreq(rows)[:, None], fft.rfftfreq(columns)[None, :])
    frequency[0, 0] = np.inf  # the mean is the breast's density, not chance
    noise = fft.rfft2(rng.standard_normal((rows, columns)))
    parenchyma = _standardised(fft.irfft2(noise * frequency ** (-breast.beta / 2), s=(rows, columns)))
    field = parenchyma + 0.35 * breast.strands * _strands(rng, breast, frequency, (rows, columns))
    return (breast.density + breast.texture * field[:size_px, : 2 * size_px]).astype(np.float32)


def _strands(
    rng: np.random.Generator, breast: _Breast, frequency: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Ridges of a smooth random field, mostly along one direction: ducts and fibrous septa."""
    from scipy import fft

    rows, columns = shape
    scale = rows / (1.3 * _REFERENCE_PX)
    direction = np.arctan2(fft.fftfreq(rows)[:, None], fft.rfftfreq(columns)[None, :])
    across = np.abs(np.cos(direction - breast.angle)) ** 6 + 0.05
    band = np.exp(-((np.log(frequency.clip(1e-6, 1.0) * 45.0 * scale)) ** 2) * 2.0)
    spectra = (fft.rfft2(rng.standard_normal(shape)) * band * across for _ in range(2))
    ridge, presence = (_standardised(fft.irfft2(spectrum, s=shape)) for spectrum in spectra)
    return _standardised(np.exp(-(ridge**2) / 0.12) * np.clip(presence, 0.0, None))


def _standardised(field: NDArray[np.float64]) -> NDArray[np.float64]:
    return (field - field.mean()) / field.std()


def _mass(rng: np.random.Generator, size_px: int, malignancy: float) -> FloatImage:
    """A mass of unit strength: smooth and circumscribed, or irregular, ill-defined and spiculated."""
    scale = size_px / _REFERENCE_PX
    radius = rng.uniform(15.0, 27.0) * scale
    centre = _centre(rng, size_px, margin=0.36)
    distance, angle = _polar(size_px, centre)
    margin = radius * _outline(rng, angle, malignancy)
    softness = (1.2 + 2.5 * malignancy * rng.uniform(0.6, 1.4)) * scale
    body = 1.0 / (1.0 + np.exp(np.clip((distance - margin) / softness, -30.0, 30.0)))
    dome = np.sqrt(np.clip(1.0 - (distance / (1.5 * radius)) ** 2, 0.15, 1.0))
    spicules = _spicules(rng, size_px, centre, radius, malignancy)
    lesion = np.maximum(body * dome, 0.8 * malignancy**0.5 * spicules)
    # The same total for the same radius: brightness must not separate the classes.
    return (lesion * (2.4 * radius**2 / lesion.sum()) * 3.4).astype(np.float32)


def _outline(rng: np.random.Generator, angle: NDArray[np.float64], malignancy: float) -> NDArray[np.float64]:
    """Relative radius at each angle: an oval, and lobes and notches that grow with malignancy."""
    outline = 1.0 + rng.uniform(0.0, 0.18) * np.cos(2 * (angle - rng.uniform(0.0, math.pi)))
    for order in range(3, 10):
        amplitude = (0.012 + 0.13 * malignancy**1.5) * rng.normal() * (3.0 / order) ** 0.7
        outline += amplitude * np.cos(order * angle + rng.uniform(0.0, 2 * math.pi))
    return np.clip(outline, 0.4, 1.8)


def _spicules(
    rng: np.random.Generator, size_px: int, centre: tuple[float, float], radius: float, malignancy: float
) -> FloatImage:
    canvas = np.zeros((size_px, size_px), np.uint8)
    thickness = max(1, round(size_px / _REFERENCE_PX))
    for _ in range(round(26 * max(0.0, malignancy - 0.25))):
        angle = rng.uniform(0.0, 2 * math.pi)
        bend = rng.normal(0.0, 0.18)
        steps = np.linspace(0.5, 1.0 + rng.uniform(0.35, 1.0) * malignancy, 8) * radius
        bearing = angle + bend * np.linspace(0.0, 1.0, 8) ** 2
        points = np.stack([centre[0] + steps * np.cos(bearing), centre[1] + steps * np.sin(bearing)], axis=1)
        _polyline(canvas, points, thickness=thickness)
        _polyline(canvas, points[:5], thickness=2 * thickness)  # a spicule tapers
    return _blurred(canvas, 0.7 * size_px / _REFERENCE_PX)


def _calcifications(rng: np.random.Generator, size_px: int, malignancy: float) -> FloatImage:
    """A cluster of unit strength: few round scattered flecks, or many fine ones of all shapes in a line."""
    scale = size_px / _REFERENCE_PX
    centre = _centre(rng, size_px, margin=0.36)
    flecks = round(rng.uniform(6, 10) + 16 * malignancy * rng.uniform(0.6, 1.2))
    along = rng.normal(0.0, (16.0 + 2.0 * malignancy) * scale, flecks)
    across = rng.normal(0.0, (16.0 - 12.5 * malignancy) * scale, flecks)
    turn = rng.uniform(0.0, math.pi)
    canvas = np.zeros((size_px, size_px), np.uint8)
    for x, y in zip(along, across, strict=True):
        place = (
            centre[0] + x * math.cos(turn) - y * math.sin(turn),
            centre[1] + x * math.sin(turn) + y * math.cos(turn),
        )
        _fleck(rng, canvas, place, turn, malignancy)
    lesion = _blurred(canvas, 0.75 * scale)
    # The same energy for every cluster: neither brightness nor variance may separate the classes.
    energy = float(np.sum(lesion.astype(np.float64) ** 2))
    strength = 4.2 * math.sqrt(200.0) * scale
    return lesion * np.float32(strength / math.sqrt(max(energy, 1e-6)))


def _specks(rng: np.random.Generator, size_px: int) -> FloatImage:
    """Lone bright specks that any patch may hold: skin calcifications and dust on the film."""
    canvas = np.zeros((size_px, size_px), np.uint8)
    for _ in range(rng.poisson(2.0)):
        x, y = rng.uniform(0.0, size_px, 2)
        _fleck(rng, canvas, (float(x), float(y)), 0.0, malignancy=rng.random())
    return np.float32(3.5) * _blurred(canvas, 0.75 * size_px / _REFERENCE_PX)


def _fleck(
    rng: np.random.Generator,
    canvas: NDArray[np.uint8],
    place: tuple[float, float],
    turn: float,
    malignancy: float,
) -> None:
    scale = canvas.shape[0] / _REFERENCE_PX
    radius = max(0.5, rng.normal(2.7 - 1.7 * malignancy, 0.25 + 0.3 * malignancy)) * scale
    stretch = 1.0 + 2.2 * malignancy * rng.random()
    bearing = math.degrees(turn + rng.normal(0.0, 0.5))
    axes = _fixed_point((radius * stretch, radius / stretch**0.5))
    level = int(255 * rng.uniform(1.0 - 0.6 * malignancy, 1.0))
    cv2.ellipse(canvas, _fixed_point(place), axes, bearing, 0, 360, level, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _centre(rng: np.random.Generator, size_px: int, *, margin: float) -> tuple[float, float]:
    x, y = rng.uniform(margin * size_px, (1.0 - margin) * size_px, 2)
    return float(x), float(y)


def _polar(size_px: int, centre: tuple[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.mgrid[:size_px, :size_px].astype(np.float64)
    x, y = columns - centre[0], rows - centre[1]
    return np.hypot(x, y), np.arctan2(y, x)


def _polyline(canvas: NDArray[np.uint8], points: NDArray[np.float64], *, thickness: int) -> None:
    fixed = np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.polylines(canvas, [fixed], False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed_point(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0] * 2**_SUBPIXEL_BITS), round(point[1] * 2**_SUBPIXEL_BITS)


def _blurred(canvas: NDArray[np.uint8], sigma: float) -> FloatImage:
    share = canvas.astype(np.float32) / np.float32(255.0)
    return cv2.GaussianBlur(share, (0, 0), max(sigma, 0.3)).astype(np.float32, copy=False)
