"""Predictions of DICOM images as structured reports: one measurement report (TID 1500) for each image.

A report names its image, series and study by their UIDs alone. Name and id of the patient, dates and numbers
of the examination stay out of it; the id goes in if it is asked for, so that an archive can file the report.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from results.errors import ExportError
from results.export.exported_model import Bundle
from results.export.onnx_predictor import Prediction
from trainables.common.files import write_atomically
from trainables.config.unit_config import PLURALS
from trainables.data.dicom.reading import DicomError, DicomHeader, read_headers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAKER: Final = "breast-image-orchestrator"
SCHEME: Final = "99BIO"  # codes of this program: DICOM has none for the probability of a class by a model
_EMPTY: Final = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_MODEL_DIGITS: Final = 8  # of the model's SHA-256 in the name of a report
_CHARACTERS: Final = "ISO_IR 192"  # UTF-8: names of classes and ids of patients are in any script
_LONGEST_CODE: Final = 16  # characters of a code value, and
_LONGEST_MEANING: Final = 64  # of its meaning, by DICOM


@dataclass(frozen=True, slots=True)
class Reports:
    """Reports that were written, and sentences about images without one."""

    files: tuple[Path, ...]
    problems: tuple[str, ...]


def write_reports(
    bundle: Bundle, predictions: Sequence[Prediction], out: Path, *, has_patient_id: bool = False
) -> Reports:
    """Write a report for each predicted DICOM image.

    Args:
        bundle: The model that predicted.
        predictions: Its predictions; those of other files than DICOM, and of images without valid UIDs, are
            named as problems.
        out: Folder of the reports, which is made if it is missing. A report is named after the SOP
            instance of its image and the first characters of the model's SHA-256, so that each model has its
            own; one that is there already is written anew, with another UID where it says something else. Of
            several files with one SOP instance the first has a report, and the others are problems.
        has_patient_id: Copy the patient's id from the image into the report.

    Raises:
        ExportError: If the folder cannot be written, or the model predicts no single images.
    """
    check_reported(bundle)
    written: dict[Path, Path] = {}
    problems = []
    for prediction in predictions:
        path = Path(prediction.file)
        try:
            header = _with_identifiers(path)
        except DicomError as error:
            problems.append(f"no report: {error}")
            continue
        file = out / f"{header.sop_instance_uid}.{bundle.manifest.sha256[:_MODEL_DIGITS]}.sr.dcm"
        if file in written:
            problems.append(
                f"no report: {path} has the SOPInstanceUID of {written[file]}, which has a report"
            )
            continue
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_atomically(file, _report(bundle, prediction, header, has_patient_id=has_patient_id))
        except OSError as error:
            raise ExportError(
                f"cannot write reports to {out}: {error.strerror}; give another --dicom-sr"
            ) from error
        written[file] = path
    return Reports(tuple(written), tuple(problems))


def check_reported(bundle: Bundle) -> None:
    """Check that reports can be written of what a model predicts.

    Raises:
        ExportError: If it predicts breasts, exams or patients.
    """
    unit = bundle.manifest.unit
    if unit != "image":
        raise ExportError(
            f"a report is of a single image, and this model predicts {PLURALS[unit]}; leave --dicom-sr out"
        )


def _with_identifiers(path: Path) -> DicomHeader:
    header = read_headers(path)
    needed = {
        "SOPClassUID": header.sop_class_uid,
        "SOPInstanceUID": header.sop_instance_uid,
        "SeriesInstanceUID": header.series_uid,
        "StudyInstanceUID": header.study_uid,
    }
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise DicomError(f"{path} has no {', '.join(missing)}, by which a report refers to it")
    wrong = [f"{name} {value}" for name, value in needed.items() if not _is_uid(str(value))]
    if wrong:
        raise DicomError(
            f"{path} has {', '.join(wrong)}, which is no UID: numbers without leading zeros and with dots "
            "between them, at most 64 characters"
        )
    return header


def _is_uid(text: str) -> bool:
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    return UID(text, validation_mode=IGNORE).is_valid


def _report(bundle: Bundle, prediction: Prediction, header: DicomHeader, *, has_patient_id: bool) -> bytes:
    from highdicom.sr import ComprehensiveSR
    from pydicom.uid import UID

    report = ComprehensiveSR(
        evidence=[_evidence(header, has_patient_id=has_patient_id)],
        content=_content(bundle, prediction, header),
        series_number=1,
        series_instance_uid=_uid(bundle.manifest.sha256, str(header.series_uid)),
        sop_instance_uid=_uid(bundle.manifest.sha256, str(header.sop_instance_uid)),
        instance_number=1,
        manufacturer=MAKER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        specific_character_set=_CHARACTERS,
    )
    # Archives take two objects of one UID for one: it follows from all that the report says, its time too.
    uid = UID(_uid(bundle.manifest.sha256, hashlib.sha256(_as_file(report)).hexdigest()))
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = uid
    return _as_file(report)


def _as_file(report: "Dataset") -> bytes:
    import io

    written = io.BytesIO()
    report.save_as(written)
    return written.getvalue()


def _evidence(header: DicomHeader, *, has_patient_id: bool) -> "Dataset":
    """What the report may know of its image: identifiers of the image, and empty fields for the rest."""
    from pydicom.dataset import Dataset

    evidence = Dataset()
    for name in _EMPTY:
        setattr(evidence, name, "")
    if has_patient_id:
        evidence.PatientID = header.patient or ""
    evidence.SOPClassUID, evidence.SOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
    evidence.SeriesInstanceUID, evidence.StudyInstanceUID = header.series_uid, header.study_uid
    evidence.Rows, evidence.Columns, evidence.Modality = header.rows, header.columns, header.modality or "OT"
    return evidence


def _content(bundle: Bundle, prediction: Prediction, header: DicomHeader) -> Any:
    """The measurement report: a probability for each class, and the class that is called."""
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        Measurement,
        MeasurementReport,
        MeasurementsAndQualitativeEvaluations,
        ObservationContext,
        ObserverContext,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )
    from highdicom.sr.coding import CodedConcept

    manifest = bundle.manifest
    model = _uid(manifest.sha256, "model")
    device = ObserverContext(
        observer_type=CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=model, name=MAKER, manufacturer_name=MAKER, model_name=manifest.name[:_LONGEST_MEANING]
        ),
    )
    measurements = [
        Measurement(
            name=_code(f"p_{name}", f"Probability of {name} (research use only)"),
            value=probability,
            unit=CodedConcept("1", "UCUM", "no units"),
        )
        for name, probability in zip(manifest.classes, prediction.probabilities, strict=True)
    ]
    called = QualitativeEvaluation(
        name=_code("called", "Class that the model calls (research use only)"),
        value=_code(prediction.predicted_class, prediction.predicted_class),
    )
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=_uid(manifest.sha256, f"{header.sop_instance_uid} group"), identifier="image"
        ),
        measurements=measurements,
        qualitative_evaluations=[called],
        source_images=[
            SourceImageForMeasurementGroup(
                referenced_sop_class_uid=str(header.sop_class_uid),
                referenced_sop_instance_uid=str(header.sop_instance_uid),
            )
        ],
    )
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device),
        procedure_reported=CodedConcept("71651007", "SCT", "Mammography"),
        imaging_measurements=[group],
        title=CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )


def _code(value: str, meaning: str) -> Any:
    from highdicom.sr.coding import CodedConcept

    if len(value) > _LONGEST_CODE:
        value = f"{value[:8]}{hashlib.sha256(value.encode()).hexdigest()[:8]}"
    return CodedConcept(value, SCHEME, meaning[:_LONGEST_MEANING])


def _uid(*parts: str) -> str:
    """A UID that follows from its parts, so that what is the same in two reports has the same UID in both."""
    number = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:16], "big")
    return f"2.25.{number}"
