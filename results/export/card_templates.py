"""The fields of two published templates of model cards, filled from a manifest, and what a person adds.

Source:
    FDA (January 2025), "Artificial Intelligence-Enabled Device Software Functions", draft guidance,
    appendix E; Coalition for Health AI, Applied Model Card, schema 0.2. Fields are paraphrased.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from results.export.manifest import Manifest
from results.export.manifest_parts import TestScores
from results.run.split_labels import NAIVE, NAIVE_WARNING, scored
from results.scores.metrics import shown_metric
from trainables.common.text import count_text
from trainables.config.unit_config import PLURALS
from trainables.data.group_names import of_groups

Template = Literal["fda", "chai"]

FORMAT: Final = 1  # of `model_card.json`
TITLES: Final = {
    "fda": "FDA, example model card (draft guidance of January 2025)",
    "chai": "CHAI, applied model card 0.2",
}


@dataclass(frozen=True, slots=True)
class CardField:
    """A field of a template.

    Attributes:
        template: Template that it belongs to.
        section: Section of the template.
        name: Name of the field.
        text: What is known of the model; empty where nothing is.
        missing: What a person must add; empty where the field is filled.
    """

    template: Template
    section: str
    name: str
    text: str
    missing: str = ""

    @property
    def status(self) -> Literal["filled", "half filled", "you write this"]:
        """How far it is filled."""
        if not self.text:
            return "you write this"
        return "half filled" if self.missing else "filled"


def card_fields(manifest: Manifest) -> tuple[CardField, ...]:
    """Return the fields of both templates, in their order."""
    return (*_fda(manifest), *_chai(manifest))


def fields_as_markdown(fields: Sequence[CardField]) -> str:
    """Return the fields of one template as a table in Markdown."""
    rows = ["| section | field | what is known | what you add |", "| --- | --- | --- | --- |"]
    for field in fields:
        cells = (field.section, field.name, field.text, field.missing)
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows)


def card_as_json(manifest: Manifest) -> dict[str, Any]:
    """Return the card as plain values: the fields of both templates, each with its status."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "name": manifest.name,
        "sha256": manifest.sha256,
        "is_synthetic": manifest.is_synthetic,
        "split": manifest.split,
    }
    for template, title in TITLES.items():
        found[template] = {
            "title": title,
            "fields": [
                {
                    "section": field.section,
                    "name": field.name,
                    "status": field.status,
                    "text": field.text,
                    "missing": field.missing,
                }
                for field in card_fields(manifest)
                if field.template == template
            ],
        }
    return found


def _fda(manifest: Manifest) -> tuple[CardField, ...]:
    device, about, scores = "Device information", "Description", "Performance and limitations"
    rows = (
        (device, "Name", manifest.name, ""),
        (device, "Version", f"SHA-256 {manifest.sha256[:16]}", "a version of your own"),
        (device, "Created", f"{manifest.created_at:%Y-%m-%d}", ""),
        (device, "Architecture", _architecture(manifest), ""),
        ("Regulatory status", "Authorization", "None: research only, not a medical device.", ""),
        (about, "Intended users", "", "who is to use it, and what they must know"),
        (about, "Intended use", manifest.intended_use, ""),
        (about, "Indications for use", "", "condition, patients and setting"),
        (about, "Instructions for use", _how_to_use(manifest), ""),
        (about, "Clinical benefits", "", "benefits, with evidence"),
        (about, "Workflow", "", "phase of care in which it is used"),
        (about, "Inputs and outputs", f"{manifest.input.how_to_feed}. {manifest.output}", ""),
        (
            about,
            "Automation",
            "It answers without a person.",
            "how people check it, compared with today's care",
        ),
        (scores, "Accuracy with 95 % intervals", _scores(manifest), ""),
        (scores, "Known biases and failure modes", _audit(manifest), "failures in clinical words"),
        (scores, "Precision", _precision(manifest), "repeated images of the same patients"),
        (scores, "Gaps in the data", _gaps(manifest), "" if manifest.audit else _NOT_AUDITED),
        (scores, "Limits of development and evaluation", _limits(manifest), ""),
        (scores, "Input unlike the training data", _unlike(manifest), ""),
        (scores, "Evidence", "", "trial number, or paper"),
        (scores, "Methods of validation", manifest.out_of_fold.how, ""),
        ("Risk management", "Risks", _RISKS, "an analysis of risks in your setting"),
        ("Risk management", "Changes over time", "", "what is watched after deployment, and how often"),
        ("Risk management", "Interactions, deployment and updates", _software(manifest), "how it is updated"),
        ("Development", "Data", _data(manifest), "sites, dates, machines and patients"),
    )
    return tuple(CardField("fda", *row) for row in rows)


def _chai(manifest: Manifest) -> tuple[CardField, ...]:
    use, warn, facts = "Uses and directions", "Warnings", "Trust ingredients"
    metrics = "Key metrics"
    rows = (
        ("Basic information", "Model name", manifest.name, ""),
        ("Basic information", "Developer", "", "your name"),
        ("Basic information", "Contact", "", "an address"),
        ("Release", "Stage", "Research prototype.", ""),
        ("Release", "Date", f"{manifest.created_at:%Y-%m-%d}", ""),
        ("Release", "Version", f"SHA-256 {manifest.sha256[:16]}", "a version of your own"),
        ("Release", "Availability", "", "where it may be used"),
        ("Release", "Regulatory approval", "None: research only, not a medical device.", ""),
        ("Summary", "Summary", f"{manifest.question} {_architecture(manifest)}", ""),
        ("Summary", "Keywords", ", ".join((manifest.task, *manifest.classes)), ""),
        (use, "Intended use and workflow", manifest.intended_use, "the place in the workflow"),
        (use, "Primary users", "", "who is to use it"),
        (use, "How to use", _how_to_use(manifest), ""),
        (use, "Targeted patients", "", "patients that it is meant for"),
        (use, "Out of scope", _unlike(manifest), ""),
        (warn, "Risks and limitations", f"{_RISKS} {_limits(manifest)}", ""),
        (
            warn,
            "Biases and ethics",
            f"{_audit(manifest)} {_gaps(manifest)}".strip(),
            "ethical considerations",
        ),
        (warn, "Clinical risk level", "", "the level of risk in your setting"),
        (facts, "Outcomes and outputs", manifest.output, ""),
        (facts, "Model type", _architecture(manifest), ""),
        (facts, "Foundation models", _published(manifest), ""),
        (facts, "Source of input", manifest.input.how_to_feed, "machines that make the images"),
        (facts, "Types of input and output", f"{manifest.input.dtype} pixels; probabilities", ""),
        (facts, "Development data", _data(manifest), "sites, dates, machines and patients"),
        (facts, "Bias mitigation", "", "what was done against bias"),
        (facts, "Maintenance", "", "who watches it, and when it is renewed"),
        (facts, "Security", _SECURITY, ""),
        (facts, "Transparency", "Every setting is in manifest.json.", ""),
        ("Transparency", "Funding", "", "funding"),
        ("Transparency", "Third parties", _published(manifest), ""),
        ("Transparency", "Stakeholders consulted", "", "who was asked"),
        (metrics, "Usefulness", _scores(manifest), "what the score means in use"),
        (metrics, "Fairness", "", "scores of groups: orchestrate report RUN shows strata"),
        (metrics, "Safety and reliability", _precision(manifest), "tests in your setting"),
        ("Resources", "Evaluation", manifest.out_of_fold.how, ""),
        ("Resources", "Publications", "", "papers"),
        ("Resources", "Consent or disclosure", "", "consent of patients, or that none was needed"),
    )
    return tuple(CardField("chai", *row) for row in rows)


_RISKS: Final = "A missed malignancy delays treatment; a false alarm leads to worry and biopsies."
_NOT_AUDITED: Final = "what the data do not say of the images: orchestrate data audit tells"
_SECURITY: Final = (
    "The file is data, not code; its SHA-256 stands in the manifest, and a manifest that was mixed up is "
    "refused."
)


def _architecture(manifest: Manifest) -> str:
    made_of = "; ".join(dict.fromkeys(member.made_of for member in manifest.members))
    return f"{manifest.method} of {count_text(len(manifest.members), 'member')}: {made_of}."


def _how_to_use(manifest: Manifest) -> str:
    return f"{' '.join(manifest.command())}; see model_card.md."


def _scores(manifest: Manifest) -> str:
    found = manifest.out_of_fold
    name = scored(shown_metric(found.metric).header, manifest.split)
    said = f"Out of fold, {name} {found.interval.text(3)}."
    if isinstance(manifest.test, TestScores) and found.metric in manifest.test.metrics:
        test = manifest.test
        own = test.metrics[found.metric].text(3)
        said += f" Sealed test part ({test.images} {PLURALS[manifest.unit]}), {name} {own}."
    return " ".join(part for part in (said, manifest.said_of_no_test, manifest.said_of_precision) if part)


def _audit(manifest: Manifest) -> str:
    if manifest.audit is None:
        return ""
    found = [str(finding) for finding in manifest.audit.findings]
    return f"Audit of the data: {'; '.join(found)}." if found else "Audit of the data: no findings."


def _precision(manifest: Manifest) -> str:
    parity, lower = manifest.parity, manifest.precision
    found = (
        f"The file and PyTorch differ by {parity.onnx_difference:.0e} at most on {parity.images} images"
        f"{parity.said_of_left_out}"
    )
    if lower is not None:
        found += (
            f" before its precision was lowered to {lower.name}, which changed probabilities by up to "
            f"{lower.largest_difference:.3f} on {lower.images} images"
        )
    return f"{found}; equal images get equal answers."


def _gaps(manifest: Manifest) -> str:
    if manifest.audit is None or not manifest.audit.lacks:
        return "" if manifest.audit is None else "The set names every column that is looked for."
    return f"Not known of the images: {', '.join(manifest.audit.lacks)}."


def _limits(manifest: Manifest) -> str:
    data = manifest.data
    unit = f"{data.group_unit}s{'' if data.has_patients else ', since patients are not known'}"
    kind = " Generated images." if data.is_synthetic else ""
    naive = f" {NAIVE_WARNING}" if manifest.split == NAIVE else ""
    return f"One data set of {data.groups} {unit}; no other site, no readers, not prospective.{kind}{naive}"


def _unlike(manifest: Manifest) -> str:
    shape = "x".join(map(str, manifest.input.trained_shape))
    return (
        f"Other views, modalities, machines or cuts than those of the training data ({shape} pixels, "
        f"values up to "
        f"{manifest.input.max_value:g}); files far outside of their size or shape are refused."
    )


def _published(manifest: Manifest) -> str:
    found = {name: licence for member in manifest.members for name, licence in member.licences.items()}
    if not found:
        return "None: no published weights are in the file."
    return "; ".join(f"{name}: {licence or 'licence not known'}" for name, licence in found.items()) + "."


def _software(manifest: Manifest) -> str:
    return f"ONNX opset {manifest.onnx_opset}, ONNX Runtime; any runtime of that opset runs it."


def _data(manifest: Manifest) -> str:
    data = manifest.data
    counts = ", ".join(f"{number} {name}" for name, number in data.counts.items())
    local = "" if manifest.recalibration is None else f" {manifest.recalibration.text}"
    said = f"{data.source}: {data.images} images{of_groups(data.groups, data.group_unit)} ({counts})"
    return f"{said}, {data.folds} folds.{local}"
