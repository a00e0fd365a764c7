"""The record of an audit: what was looked for in a data set, what was found, and that in five lines."""

from typing import Final, Literal

from pydantic import Field, FiniteFloat

from trainables.common.frozen import FrozenModel
from trainables.common.text import count_text

Check = Literal["copies", "parts", "labels", "origin", "shortcut"]

FORMAT: Final = (
    2  # raise it when an audit looks for more or decides otherwise; stored audits are then made anew
)


class Finding(FrozenModel):
    """Something that an audit found.

    Attributes:
        check: What was looked for: copies between patients, patients and tiles in two parts, labels that
            disagree, classes of one origin, or a label that needs no look at the tissue.
        is_warning: True where scores are likely to be too high, or labels wrong; False for a remark.
        text: What was found, in one sentence without a full stop and without names.
        count: Number of pairs, patients or images that it is about.
        examples: Some of them, by name; empty in the record of a run and in the card, which others read.
    """

    check: Check
    is_warning: bool
    text: str
    count: int = Field(ge=1)
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The finding with its first example."""
        return f"{self.text}, such as {self.examples[0]}" if self.examples else self.text


class Shortcut(FrozenModel):
    """How well something that is not the tissue tells the label.

    Attributes:
        name: Name of what the model saw, such as `mean`.
        sees: What that is, in words.
        columns: Number of numbers that it saw of each image.
        auc: Mean AUC over patient-grouped folds, in [0, 1]; macro one against the rest beyond two classes.
        low: Lower end of its 95 % interval.
        high: Upper end.
        low_of_images: Lower end of the interval if every image were of its own patient.
        within_sites: Mean AUC within single sites, weighted by their images; None without sites.
    """

    name: str
    sees: str
    columns: int
    auc: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    low_of_images: FiniteFloat
    within_sites: FiniteFloat | None = None

    def text(self) -> str:
        """The AUC with its interval, and that within sites where there are some."""
        within = "" if self.within_sites is None else f", within sites {self.within_sites:.2f}"
        return f"{self.name} {self.auc:.2f} [{self.low:.2f}, {self.high:.2f}]{within}"


class AuditRecord(FrozenModel):
    """The audit of a data set for one task and one split.

    Attributes:
        format: Version of the audit.
        fingerprint: Fingerprint of the patch set.
        task: Name of the task.
        images: Number of images of the set.
        compared: Number of images that were compared with each other; fewer than `images` in a large set.
        patients: Number of patients; None where patients are not known.
        scored: Number of images of the training part that the shortcuts were scored on; 0 if they were not.
        unscored: Why no shortcut was scored, as the rest of a sentence; empty if they were.
        lacks: What could not be looked for, since the set does not say it, such as `vendor`.
        findings: What was found, warnings first.
        shortcuts: Scores of what is not the tissue, the best first.
        seconds: Time that it took.
    """

    format: int = FORMAT
    fingerprint: str
    task: str
    images: int
    compared: int
    patients: int | None
    scored: int
    unscored: str = ""
    lacks: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    shortcuts: tuple[Shortcut, ...] = ()
    seconds: FiniteFloat

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that make scores too high, or labels doubtful."""
        return tuple(finding for finding in self.findings if finding.is_warning)

    def without_names(self) -> "AuditRecord":
        """Return the record without the names of images and patients."""
        findings = tuple(finding.model_copy(update={"examples": ()}) for finding in self.findings)
        return self.model_copy(update={"findings": findings})

    def lines(self) -> tuple[str, ...]:
        """Return the audit in five lines, those with a warning marked as such.

        >>> record = AuditRecord(fingerprint="0" * 64, task="idc", images=9, compared=9, patients=3, scored=0,
        ...     unscored="a class has fewer than 2 patients", seconds=0.04)
        >>> print("\\n".join(record.lines()))
        audit: 9 images of 3 patients in 0.0 s; no warnings
        audit, copies: none between patients
        audit, parts: no patient is in two parts, no labels disagree
        audit, origin: no class comes from one place alone
        audit, shortcuts: not scored, since a class has fewer than 2 patients
        """
        return (
            self._head(),
            self._line("copies", ("copies",), f"none {self._between}"),
            self._line("parts", ("parts", "labels"), "no patient is in two parts, no labels disagree"),
            self._line("origin", ("origin",), self._no_origin()),
            self._line("shortcuts", ("shortcut",), self._no_shortcut()),
        )

    def _head(self) -> str:
        of = "" if self.patients is None else f" of {count_text(self.patients, 'patient')}"
        some = "" if self.compared == self.images else f", {self.compared} of them, drawn at random, compared"
        found = count_text(len(self.warnings), "warning") if self.warnings else "no warnings"
        return f"audit: {count_text(self.images, 'image')}{of}{some} in {self.seconds:.1f} s; {found}"

    @property
    def _between(self) -> str:
        return "between images" if self.patients is None else "between patients"

    def _line(self, name: str, checks: tuple[Check, ...], nothing: str) -> str:
        found = [finding for finding in self.findings if finding.check in checks]
        if not found:
            return f"audit, {name}: {nothing}"
        text = "; ".join(map(str, found))
        if name == "shortcuts":
            text = f"{text} ({'; '.join(one.text() for one in self.shortcuts)})"
        mark = "WARNING: " if any(finding.is_warning for finding in found) else ""
        return f"{mark}audit, {name}: {text}"

    def _no_origin(self) -> str:
        unknown = f" ({', '.join(self.lacks)} not known)" if self.lacks else ""
        return f"no class comes from one place alone{unknown}"

    def _no_shortcut(self) -> str:
        if not self.shortcuts:
            return f"not scored, since {self.unscored or 'there was nothing to score'}"
        return f"no label without a look at the tissue: {'; '.join(one.text() for one in self.shortcuts)}"
