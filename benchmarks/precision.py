"""What a lower precision and a student gain and lose, on the models of a finished run.

    python -m benchmarks.precision runs/benign_malignant/first --trials 0 3 --distil

Every model is exported in float32, fp16 and int8, in one process on one core, whatever changes; `--distil`
adds a student of the ensemble. The table has a line for each.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.api.export import export_model
from results.ensembles.ensemble import BEST
from results.errors import ExportError
from results.export.allowed_change import PRECISIONS, ExportChanges
from results.export.bundle import BundleReport
from results.run.run_folder import RunFolder

_HEADER = "| model | precision | MB | ms | AUC before | change [95 %] | calls changed | largest difference |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path, help="run folder with ensembles")
    parser.add_argument("--ensemble", default=BEST)
    parser.add_argument(
        "--trials", type=int, nargs="*", default=[], help="single trials besides the ensemble"
    )
    parser.add_argument("--distil", action="store_true", help="train a student of the ensemble, too")
    asked = parser.parse_args(arguments)
    print(_HEADER, "|" + " --- |" * 8, sep="\n")
    for trial in (None, *asked.trials):
        for precision in ("float32", *PRECISIONS):
            for line in _lines(RunFolder(asked.run), asked.ensemble, trial, ExportChanges(precision)):
                print(line, flush=True)
    if asked.distil:
        for line in _lines(RunFolder(asked.run), asked.ensemble, None, ExportChanges(distil=True)):
            print(line, flush=True)


def _lines(run: RunFolder, ensemble: str, trial: int | None, changes: ExportChanges) -> Iterator[str]:
    everything = ExportChanges(changes.precision, changes.distil, max_auc_loss=1.0, max_changed_calls=1.0)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bundle"
        try:
            yield _line(export_model(run, out, ensemble=ensemble, trial=trial, changes=everything))
        except ExportError as error:
            yield f"| {ensemble if trial is None else f'trial {trial}'} | {changes.precision} | {error} |"


def _line(report: BundleReport) -> str:
    manifest = report.manifest
    cost, change = manifest.cost, manifest.distilled or manifest.precision
    name = manifest.method if manifest.distilled is None else f"student, {manifest.method}"
    precision = "float32" if manifest.precision is None else manifest.precision.name
    cells = [name, precision]
    cells += ["-", "-"] if cost is None else [f"{cost.megabytes:.2f}", f"{cost.core_ms:.2f}"]
    if change is None:
        return "| " + " | ".join([*cells, f"{manifest.out_of_fold.auc.estimate:.4f}", "", "", ""]) + " |"
    auc = change.auc_change
    cells += [
        f"{change.auc_before:.4f}",
        f"{auc.estimate:+.4f} [{auc.low:+.4f}, {auc.high:+.4f}]",
        f"{change.changed_calls:.2%} of {change.images}",
        f"{change.largest_difference:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
