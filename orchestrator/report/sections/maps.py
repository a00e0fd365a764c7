"""Relevance maps: the pictures that lie in the run's folder of explanations, a bounded number of them."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import as_data_url, table, text
from results.ensembles.ensemble import read_ensemble
from results.relevance.explained_folder import ENDING, EXPLANATIONS_FILE, names_of_pictures
from results.relevance.explanation import Explanations
from results.run.refit_records import refit_digest
from results.run.run_folder import RunFolder
from trainables.common.errors import OrchestrateError

_REFITTED: Final = ", refitted"  # ends the name of a model of the whole training part
_MOST: Final = 24
_MOST_BYTES: Final = 4_000_000  # of all pictures together


def _build(facts: RunFacts) -> Content | None:
    folder, told = facts.run.explanations, _told(facts.run)
    files = [file for file in sorted(folder.rglob("*.png")) if _is_of_now(file, told)]
    if not files or not facts.with_pictures:
        return None
    shown, size = [], 0
    for file in files[:_MOST]:
        size += file.stat().st_size
        if size > _MOST_BYTES:
            break
        shown.append(file)
    left = len(files) - len(shown)
    more = f" {left} more lie in the folder {folder.name} of the run." if left else ""
    said = [f"What the model looked at, as it was computed before.{more}"]
    of_shown = sorted({file.parent for file in shown} & told.keys())
    said += [_said_of_model(facts.run, told[own]) for own in of_shown]
    figures = "".join(_figure(file, folder, told.get(file.parent)) for file in shown)
    return Content("".join(map(paragraph, said)) + _froc(told) + f'<div class="grid">{figures}</div>')


def _told(run: RunFolder) -> dict[Path, Explanations]:
    """What each folder says of its pictures, unless another version has written it or it was cut off."""
    found = {}
    for file in sorted(run.explanations.rglob(EXPLANATIONS_FILE)):
        with contextlib.suppress(OSError, ValueError):
            found[file.parent] = Explanations.model_validate_json(file.read_bytes())
    return found


def _is_of_now(file: Path, told: Mapping[Path, Explanations]) -> bool:
    """Whether a picture is shown: not where it is of an explanation that a later one has replaced."""
    found = told.get(file.parent)
    return found is None or not file.name.endswith(ENDING) or file.name in names_of_pictures(found)


def _said_of_model(run: RunFolder, found: Explanations) -> str:
    """Which model the pictures of a folder are of, and whether it is another one by now."""
    trials = ", ".join(map(str, found.trials))
    said = f"{found.model}, {found.method}: of trial{'' if len(found.trials) == 1 else 's'} {trials}."
    if _is_as_it_was(run, found):
        return said
    is_refitted, name = found.model.endswith(_REFITTED), found.model.removesuffix(_REFITTED)
    kind, _, which = name.partition(" ")
    words = (f"--{kind}", which, *(["--refit"] if is_refitted else []))
    words += () if found.method == "slide" else ("--method", found.method)
    again = run.command("explain", *words)
    return f"{said} This model is another one by now, or gone; explain it again with: {again}"


def _is_as_it_was(run: RunFolder, found: Explanations) -> bool:
    """Whether a model is the one that was explained; of an earlier version's its trials alone are known."""
    kind, _, which = found.model.removesuffix(_REFITTED).partition(" ")
    if kind not in ("trial", "ensemble"):
        return True
    try:
        if kind == "trial":
            trials, digest = found.trials, run.predictions_digest(found.trials[0])
        else:
            ensemble = read_ensemble(run, which)
            digests = ensemble.digests or tuple(run.predictions_digest(one) or "" for one in ensemble.trials)
            trials, digest = ensemble.trials, ensemble.model_copy(update={"digests": digests}).digest
        if found.model.endswith(_REFITTED):
            digest = f"{digest}-{refit_digest(run, trials)}"
    except (OrchestrateError, OSError):
        return False
    return trials == found.trials and found.model_digest in (None, digest)


def _froc(told: Mapping[Path, Explanations]) -> str:
    """Share of the lesions that each model marks, by its rate of false marks; empty without marks."""
    rows, rates = [], list[float]()
    for found in told.values():
        if found.found_at:
            rates = rates or list(found.found_at)
            shares = [found.found_at.get(rate) for rate in rates]
            cells = ["-" if share is None else f"{share:.0%}" for share in shares]
            rows.append((f"{found.model}, {found.method}", str(len(found.images) - found.left_out), *cells))
    head = ("model and method", "images", *(f"{rate:g} false marks" for rate in rates))
    return table("Lesions that are marked, by false marks an image (FROC)", head, rows) if rows else ""


def _figure(file: Path, folder: Path, found: Explanations | None) -> str:
    """A picture with its name, and that of the image file that it explains where it is another one."""
    own = file.name.removesuffix(ENDING).removesuffix(".png")
    name = f"{file.parent.name}/{own}" if file.parent != folder else own
    of_file = next((one.file for one in found.images if one.name == own), None) if found else None
    if file.name.endswith(ENDING) and of_file and Path(of_file).stem != own:
        name += f": {Path(of_file).name}"
    what = "relevance map" if file.name.endswith(ENDING) else "image"
    return (
        f'<figure><img alt="{what} {text(name)}" style="max-width:100%;height:auto" '
        f'src="{as_data_url(file.read_bytes())}"><figcaption>{text(name)}</figcaption></figure>'
    )


MAPS = Section(105, "maps", "What it looked at", _build)
