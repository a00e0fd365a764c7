"""A report on the disk: the page, its PDF and its figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.report.pdf import print_pdf
from orchestrator.report.report import Report, make_report
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError
from trainables.common.files import write_atomically


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report and its files.

    Attributes:
        report: The report.
        page: The HTML file.
        pdf: The PDF file; None where none was asked for.
        figures: Folder of the figures; None where none was asked for.
    """

    report: Report
    page: Path
    pdf: Path | None
    figures: Path | None


def write_report(
    run: RunFolder,
    out: Path | None = None,
    *,
    checklists: Sequence[str] = (),
    figures: Path | None = None,
    with_pdf: bool = False,
    with_pictures: bool = True,
) -> WrittenReport:
    """Make the report of a run and write it.

    Args:
        run: The run folder.
        out: The HTML file; None for `report.html` in the run folder.
        checklists: Names of the checklists that stand at its end.
        figures: Folder for each figure as SVG and its numbers as CSV; None writes none.
        with_pdf: Print it to a PDF file beside it.
        with_pictures: Show small copies of images, as far as the search allowed pictures.

    Raises:
        ConfigError: If `out` is a folder.
        RunError: If it is no run folder, or no PDF can be printed.
        UnknownNameError: If there is no such checklist.
        OSError: If a file cannot be written.
    """
    page = run.report_file if out is None else out
    if page.is_dir():
        example = page / run.report_file.name
        raise ConfigError(f"--out needs a file, such as {example}, found the folder {page}")
    report = make_report(run, checklists=checklists, with_pictures=with_pictures)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, report.html)
    if figures is not None:
        report.write_figures(figures)
    pdf = None
    if with_pdf:
        pdf = page.with_suffix(".pdf")
        print_pdf(page, pdf)
    return WrittenReport(report, page, pdf, figures)
