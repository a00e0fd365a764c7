"""What the header of a DICOM file says about an image, without the names and ids of people.

Codes of views are those of CID 4014, of view modifiers those of CID 4015 (DICOM PS3.16), in SNOMED CT and in
the SNOMED RT codes that older machines write.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from trainables.data.dicom.vendors import scanner_of, vendor_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Kind: TypeAlias = Literal[
    "mammogram", "spot view", "tomosynthesis", "film", "region", "mask", "secondary capture", "other"
]

FOR_PROCESSING_CLASSES: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1.1.1",  # digital X-ray
        "1.2.840.10008.5.1.4.1.1.1.2.1",  # digital mammography
        "1.2.840.10008.5.1.4.1.1.1.3.1",  # intra-oral
    }
)
_MAMMOGRAPHY: Final = ("1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.1.2.1")
_TOMOSYNTHESIS: Final = ("1.2.840.10008.5.1.4.1.1.13.1.3", "1.2.840.10008.5.1.4.1.1.13.1.4")
_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
_VIEW_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "399162004": "CC",
        "R-10242": "CC",
        "399368009": "MLO",
        "R-10226": "MLO",
        "399260004": "ML",
        "R-10224": "ML",
        "399352003": "LM",
        "R-10228": "LM",
        "399099002": "LMO",
        "R-10230": "LMO",
        "399196006": "FB",
        "R-10244": "FB",
        "399188001": "SIO",
        "R-102D0": "SIO",
        "441555000": "ISO",
        "R-40AAA": "ISO",
        "399192008": "XCCL",
        "R-1024A": "XCCL",
        "399101009": "XCCM",
        "R-1024B": "XCCM",
        "127457009": "SPECIMEN",
        "G-8310": "SPECIMEN",
    }
)
VIEWS: Final = frozenset(_VIEW_CODES.values())
_SPOT_CODES: Final = frozenset({"399055006", "R-102D7", "399163009", "R-102D6"})  # compression, magnified
_FILM_WORDS: Final = ("full mammogram", "film")
_LARGEST_AGE: Final = 120  # years

# Attributes that say or may say who a person is: the basic profile of DICOM PS3.15, table E.1-1, as far as
# headers of images carry them.
IDENTIFYING: Final = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "OtherPatientIDs",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientComments",
    "MilitaryRank",
    "Occupation",
    "AdditionalPatientHistory",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
    "AcquisitionDateTime",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "RequestingPhysician",
    "OperatorsName",
    "StationName",
    "DeviceSerialNumber",
    "ImageComments",
    "RequestAttributesSequence",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomHeader:
    """Facts of a header; what is unknown is None.

    Attributes:
        rows: Height in pixels; 0 for a file without an image.
        columns: Width in pixels; 0 for a file without an image.
        frames: Number of frames.
        modality: Modality as written, such as MG; scanned films may say RG or OT.
        kind: `film` for a digitised film, `region` for a cut-out of one, `mask` for a region's outline,
            `spot view` for spot compression or magnification, `secondary capture` for other images that no
            detector made, `other` for files that are no mammogram.
        presentation: Whether the pixels are meant to be looked at, or to be processed first.
        laterality: Side of the breast.
        view: View in upper case, such as CC, MLO or ML; ML is not MLO.
        spacing_mm: Distance of pixels, (between rows, between columns), in mm in the plane of the breast
            where the header knows the magnification, else at the detector.
        vendor: Maker of the machine, by one name for all spellings.
        model: Model of the machine.
        age_years: Age of the patient in whole years, 0 to 120.
        patient: PatientID, unless it is empty.
        study_uid: StudyInstanceUID, which is one examination.
        series_uid: SeriesInstanceUID.
        series_description: Description of the series.
        sop_class_uid: What kind of object the file is.
        sop_instance_uid: Identifier of the image.
        identifying: Names of attributes that say or may say who the patient is, and are filled;
            `BurnedInAnnotation` where the header says that text is in the pixels.
    """

    rows: int
    columns: int
    frames: int
    modality: str | None
    kind: Kind
    presentation: Literal["presentation", "processing"] | None
    laterality: Literal["L", "R"] | None
    view: str | None
    spacing_mm: tuple[float, float] | None
    vendor: str | None
    model: str | None
    age_years: int | None
    patient: str | None
    study_uid: str | None
    series_uid: str | None
    series_description: str | None
    sop_class_uid: str | None
    sop_instance_uid: str | None
    identifying: tuple[str, ...]


def header_of(dataset: "Dataset") -> DicomHeader:
    """Collect the facts of a header that pydicom has read; values that cannot be understood are None."""
    return DicomHeader(
        rows=_count(dataset, "Rows", 0),
        columns=_count(dataset, "Columns", 0),
        frames=_count(dataset, "NumberOfFrames", 1) or 1,
        modality=_text(dataset, "Modality"),
        kind=_kind(dataset),
        presentation=_presentation(dataset),
        laterality=_laterality(dataset),
        view=_view(dataset),
        spacing_mm=_spacing(dataset),
        vendor=vendor_of(_text(dataset, "Manufacturer"))
        or scanner_of(_text(dataset, "SecondaryCaptureDeviceManufacturer")),
        model=_text(dataset, "ManufacturerModelName"),
        age_years=_age(dataset),
        patient=_text(dataset, "PatientID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        series_description=_text(dataset, "SeriesDescription"),
        sop_class_uid=_text(dataset, "SOPClassUID"),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        identifying=_identifying(dataset),
    )


def _value(dataset: "Dataset", name: str) -> Any:
    """The value of an attribute; None if it is absent, or so malformed that pydicom cannot convert it."""
    try:
        return dataset.get(name)
    except Exception:  # pydicom converts when a value is first read, with errors of many types
        return None


def _text(dataset: "Dataset", name: str) -> str | None:
    value = _value(dataset, name)
    return None if value is None else " ".join(str(value).split()) or None


def _count(dataset: "Dataset", name: str, default: int) -> int:
    try:
        return max(0, int(_value(dataset, name)))
    except (TypeError, ValueError):
        return default


def _codes(dataset: "Dataset", name: str) -> list[str]:
    """Code values of a sequence of codes."""
    items = _value(dataset, name) or ()
    return [str(code) for item in items if (code := _value(item, "CodeValue"))]


def _presentation(dataset: "Dataset") -> Literal["presentation", "processing"] | None:
    intent = (_text(dataset, "PresentationIntentType") or "").upper()
    if intent == "FOR PROCESSING" or _text(dataset, "SOPClassUID") in FOR_PROCESSING_CLASSES:
        return "processing"
    return "presentation" if intent == "FOR PRESENTATION" else None


def _laterality(dataset: "Dataset") -> Literal["L", "R"] | None:
    for name in ("ImageLaterality", "Laterality", "FrameLaterality"):
        for place in (dataset, *_frame_anatomy(dataset)):
            written = (_text(place, name) or "").upper()
            if written in ("L", "R"):
                return "L" if written == "L" else "R"
    return None


def _frame_anatomy(dataset: "Dataset") -> list["Dataset"]:
    """Descriptions of the anatomy that all frames of a file of several share."""
    groups = _value(dataset, "SharedFunctionalGroupsSequence") or ()
    return [item for group in groups for item in (_value(group, "FrameAnatomySequence") or ())]


def _view(dataset: "Dataset") -> str | None:
    """The written view, the coded one, or the orientation, where CBIS-DDSM writes its view.

    A written view that is none of mammography, such as the FLATFIELD of a calibration, gives way to no code:
    the picture is what the machine calls it.
    """
    written = (_text(dataset, "ViewPosition") or "").upper()
    if written:
        return written
    for code in _codes(dataset, "ViewCodeSequence"):
        if code in _VIEW_CODES:
            return _VIEW_CODES[code]
    orientation = _value(dataset, "PatientOrientation")
    first = orientation if isinstance(orientation, str) else next(iter(orientation or ()), "")
    return str(first).upper() if str(first).upper() in VIEWS else None


def _spacing(dataset: "Dataset") -> tuple[float, float] | None:
    """Spacing that belongs to the stored pixels; that of the detector only where there is no other.

    A copy that was made smaller states its own PixelSpacing, but still the detector's ImagerPixelSpacing.
    """
    for name in ("PixelSpacing", "NominalScannedPixelSpacing"):
        if (pair := _pair(dataset, name)) is not None:
            return pair
    at_detector = _pair(dataset, "ImagerPixelSpacing")
    if at_detector is None:
        return None
    magnification = _number(_value(dataset, "EstimatedRadiographicMagnificationFactor")) or 1.0
    return (at_detector[0] / magnification, at_detector[1] / magnification)


def _pair(dataset: "Dataset", name: str) -> tuple[float, float] | None:
    value = _value(dataset, name)
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != 2:
        return None
    first, second = _number(value[0]), _number(value[1])
    return None if first is None or second is None else (first, second)


def _number(value: Any) -> float | None:
    """A positive finite number, else None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None


def _age(dataset: "Dataset") -> int | None:
    """Whole years of an age such as 061Y or 001D; ages that nobody reaches are None."""
    written = _text(dataset, "PatientAge") or ""
    units = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
    if len(written) < 2 or written[-1] not in units or not written[:-1].isdigit():
        return None
    years = int(int(written[:-1]) * units[written[-1]])
    return years if years <= _LARGEST_AGE else None


def _kind(dataset: "Dataset") -> Kind:
    sop_class = _text(dataset, "SOPClassUID") or ""
    described = (_text(dataset, "SeriesDescription") or "").lower()
    is_mammography = sop_class in _MAMMOGRAPHY or _text(dataset, "Modality") == "MG"
    if "roi mask" in described:
        return "mask"
    if "cropped image" in described:
        return "region"
    if sop_class in _TOMOSYNTHESIS:
        return "tomosynthesis"
    if is_mammography and _is_spot(dataset):
        return "spot view"
    if sop_class.startswith(_SECONDARY_CAPTURE):
        is_film = _text(dataset, "ConversionType") == "DF" or any(word in described for word in _FILM_WORDS)
        return "film" if is_film else "secondary capture"
    return "mammogram" if is_mammography else "other"


def _is_spot(dataset: "Dataset") -> bool:
    codes = [
        code
        for item in (_value(dataset, "ViewCodeSequence") or ())
        for code in _codes(item, "ViewModifierCodeSequence")
    ]
    return any(code in _SPOT_CODES for code in codes)


def _identifying(dataset: "Dataset") -> tuple[str, ...]:
    filled = [name for name in IDENTIFYING if _is_filled(_value(dataset, name))]
    is_burnt_in = (_text(dataset, "BurnedInAnnotation") or "").upper() == "YES"
    return (*filled, *(("BurnedInAnnotation",) if is_burnt_in else ()))


def _is_filled(value: Any) -> bool:
    return value is not None and str(value).strip(" ^[]") != ""
