"""The result of a search in Python: tables, models and files of one run folder."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.api.claims import ModelClaims
from orchestrator.api.explaining import WithMaps
from orchestrator.api.frames import FACTS, arrays_predicted, as_paths, as_words, files_predicted, trial_row
from orchestrator.api.ranked import RankedTrials
from orchestrator.api.search_claims import SearchClaims
from results.ensembles.ensemble import BEST
from results.ensembles.tables import ensembles_as_json
from results.export.allowed_change import ExportChanges
from results.run.split_labels import marks, scored
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import objectives_of
from results.scores.settings_text import settings_text
from trainables.common.errors import ConfigError
from trainables.common.text import done_text

if TYPE_CHECKING:  # pandas and torch take seconds to import, and a result may only be looked at
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from orchestrator.postprocessing.recipe_ensembles import RecipeEnsemble
    from orchestrator.postprocessing.refit import RefittedTrial
    from results.export.bundle import BundleReport
    from results.export.exported_model import Bundle
    from results.predictors.test_evaluation import TestEvaluation

_SHOWN: Final = 5  # trials in a notebook


class SearchResult(RankedTrials, SearchClaims, ModelClaims, WithMaps):
    """The results of one search; arguments are those of `RunView`."""

    @cached_property
    def _opened(self) -> "dict[tuple[str, int | None, bool], Bundle]":
        """Models that predicted already; opening one takes seconds."""
        return {}

    def trials(self, *, settings: bool = False) -> "pd.DataFrame":
        """Return a row for each trial that has ended, in order of their numbers.

        Args:
            settings: Add the whole configuration of each trial, in columns `settings_NAME`.

        Returns:
            Columns `number`, `state`, `cause`, `value` (of the search metric), `best_epoch`,
            `epochs`, `seconds`, `recipe` and `error`, then `params_NAME` for what the sampler chose.
        """
        import pandas as pd

        rows = [trial_row(record, settings=settings) for record in self.records]
        columns = list(dict.fromkeys(name for row in rows for name in row)) or list(FACTS)
        return pd.DataFrame(rows, columns=columns)

    def leaderboard(self) -> "pd.DataFrame":
        """Return the trials ranked, with intervals, and the majority baseline among them.

        Returns:
            One row for each, with a column for each attribute of `results.scores.leaderboard.Row`, and for
            each further metric that the search optimises or requires something of.
        """
        import pandas as pd

        rows = [asdict(row) for row in self.ranking()]
        more = [row.pop("values") for row in rows]  # a metric that is an attribute, too, is the same number
        return pd.DataFrame([row | (own | row) for row, own in zip(rows, more, strict=True)])

    def _forget_models(self) -> None:
        self._opened.clear()

    def ensembles(self, **options: Any) -> "pd.DataFrame":
        """Return the ensembles of the best trials; builds them where there are none, or options are given.

        Args:
            options: Options of `build_ensembles`.

        Returns:
            One row for each method, with nested scores; `is_chosen` marks the one that is `best`.

        Raises:
            OrchestrateError: If no trial can be a member, or there is no such method.
        """
        import pandas as pd

        built = [] if options else self._built()
        return pd.DataFrame(ensembles_as_json(built or self.build_ensembles(**options)))

    def recipe_ensembles(self) -> "pd.DataFrame":
        """Build the ensembles among the recipes of the search: their own members, by their own method.

        Returns:
            The rows of `ensembles` with the name of the recipe before them; none without such a recipe.
        """
        import pandas as pd

        found = self.combine_recipes()
        return pd.DataFrame(
            [{"recipe": one.recipe.name, **row} for one in found for row in ensembles_as_json(one.built)]
        )

    def combine_recipes(self) -> "Iterator[RecipeEnsemble]":
        """Do what `recipe_ensembles` does, and yield each recipe with its ensembles as they are built."""
        from orchestrator.postprocessing.recipe_ensembles import ensembles_of_recipes

        self._forget_models()
        return ensembles_of_recipes(self._run, self.record, self.complete)

    def evaluate(
        self,
        *,
        ensemble: str = BEST,
        trial: int | None = None,
        refit: bool = False,
        operation: Operation = NOTHING_ASKED,
        by: str = "",
    ) -> "TestEvaluation":
        """Open the sealed test part and score a model on it.

        Each opening is logged in the run folder before a label is read. The first one is the honest one: a
        model that was chosen after a look at the test part is no longer tested by it.

        Args:
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.
            refit: Score the models that `refit` trained.
            operation: What is asked of the decisions.
            by: What opens the test part, for the log; the call as it was made where empty.

        Returns:
            Metrics with intervals over patients, and the confusion matrix.

        Raises:
            OrchestrateError: If the search has no test part, or the model cannot predict.
        """
        from orchestrator.postprocessing.test_set import open_test_part

        self._build_if_none(trial, ensemble)
        model = f"ensemble={ensemble!r}" if trial is None else f"trial={trial}"
        call = f"open_run({str(self.path)!r}).evaluate({model}{', refit=True' if refit else ''})"
        return open_test_part(
            self._run, ensemble=ensemble, trial=trial, by=by or call, refit=refit, operation=operation
        )

    def predict(  # noqa: PLR0913 - the options of `orchestrate predict`
        self,
        images: "ArrayLike | Sequence[NDArray[Any]] | Sequence[str | Path] | str | Path",
        *,
        ensemble: str = BEST,
        trial: int | None = None,
        refit: bool = False,
        baselines: "Sequence[Any]" = (),
        types: str | Sequence[str] = (),
        units: str | Sequence[str] = (),
        views: str | Sequence[str] = (),
        laterality: str | Sequence[str] = (),
    ) -> "pd.DataFrame":
        """Predict images, as the exported bundle of the same model would.

        Args:
            images: Arrays of raw pixels, (n, h, w) or (n, h, w, 3), or a list of arrays that may differ in
                size; or paths of DICOM, PNG, JPEG, TIFF, PGM or BMP files.
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.
            refit: Predict with the models that `refit` trained.
            baselines: Healthy baseline of each image, arrays or paths like `images`, for a model of pairs.
            types: `mass` or `calcification`, one for all or one each, for a model that takes the type.
            units: Name of the breast, exam or patient of each image, for a search by one of these.
            views: Views of image files for a model of prepared mammograms, such as `CC` or `MLO`, where the
                files do not state them: one for all, or one each.
            laterality: Sides of their breasts, `L` or `R`, likewise.

        Returns:
            One row an image, or a unit, whose name is then the index, with the calibrated probability of each
            class in a column of its name, and `predicted_class`. For files, the index is the path, and
            `fault` says why one has no prediction; of a unit, `images` is how many of its files were
            predicted, and `fault` why others were not. What was done to files that do not fit as they are,
            and what could not be used, is a warning each.

        Raises:
            OrchestrateError: If an array has another shape or range than the model takes, no file can be
                used, a view or side is not known or does not fit, or the model cannot predict.
        """
        from results.export.view_and_side import stated_by

        told, names = as_words(types), as_words(units)
        stated = stated_by(as_words(views), as_words(laterality))
        paths = as_paths(images)
        if stated and not paths:
            raise ConfigError("views and laterality are those of image files; arrays go in as they are")
        bundle = self._bundle(ensemble, trial, refit=refit)
        if paths:
            return files_predicted(bundle, paths, as_paths(baselines), told, names, stated)
        return arrays_predicted(bundle, images, baselines, told, names)

    def export_report(self, path: str | Path, **options: Any) -> "BundleReport":
        """Export a model as `export` does, and return what was written and how it was checked."""
        from orchestrator.api.export import export_model

        self._build_if_none(options.get("trial"), options.get("ensemble", BEST))
        return export_model(self._run, Path(path), **options)

    def export(
        self,
        path: str | Path,
        *,
        ensemble: str = BEST,
        trial: int | None = None,
        refit: bool = False,
        max_ms: float | None = None,
        operation: Operation = NOTHING_ASKED,
        **changes: Any,
    ) -> Path:
        """Write a model as one ONNX file with a manifest and a model card.

        Args:
            path: Folder to write; must be missing or empty.
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.
            refit: Export the models that `refit` trained.
            max_ms: Longest time of one image on one core of this machine, in milliseconds; None for any.
                Where no model is named, the best one that is fast enough is exported.
            operation: What is asked of the decisions, such as `Operation.of(at="sensitivity=0.95")`.
            changes: `precision` (`fp16` or `int8`), `distil` (True, or the number of the student's trial),
                `distil_weight`, `max_auc_loss` and `max_changed_calls`, see
                `results.export.allowed_change.ExportChanges`.

        Returns:
            The folder.

        Raises:
            OrchestrateError: If the folder holds something, the file disagrees with PyTorch or the search, an
                image takes longer than `max_ms`, precision or student change too much, or the model cannot
                predict. Nothing is left behind then.
        """
        model = {"ensemble": ensemble, "trial": trial, "refit": refit, "max_ms": max_ms}
        return self.export_report(path, changes=ExportChanges(**changes), operation=operation, **model).path

    def refit(
        self, *, ensemble: str = BEST, trial: int | None = None, seeds: int | None = None
    ) -> "pd.DataFrame":
        """Train the members of a model again, on the whole training part; the test part stays sealed.

        Args:
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.
            seeds: Number of models of each member, whose probabilities are averaged; None trains as many as
                each of its folds had in the search.

        Returns:
            One row for each member: trial, models, images, epochs, loss and seconds.

        Raises:
            OrchestrateError: If a member is a classical model, or data or weights are missing.
        """
        import pandas as pd

        _, members = self.refit_members(ensemble=ensemble, trial=trial, seeds=seeds)
        return pd.DataFrame(
            [{"trial": one.number, **one.record.model_dump(), "is_new": one.is_new} for one in members]
        )

    def refit_members(
        self, *, ensemble: str = BEST, trial: int | None = None, seeds: int | None = None
    ) -> "tuple[str, Iterator[RefittedTrial]]":
        """Do what `refit` does, and return the model's name, and each member as it is finished."""
        from orchestrator.postprocessing.refit import refit_model

        self._build_if_none(trial, ensemble)
        self._forget_models()
        return refit_model(self._run, ensemble=ensemble, trial=trial, seeds=seeds)

    def report(
        self,
        path: str | Path | None = None,
        *,
        checklists: Sequence[str] = (),
        figures: str | Path | None = None,
        pdf: bool = False,
        pictures: bool = True,
    ) -> Path:
        """Write one HTML page about the search that needs no network; nothing is trained or opened for it.

        Args:
            path: The file; None for `report.html` in the run folder.
            checklists: Checklists to fill: `claim`, `tripod-ai`, `stard-ai`, `metrics`.
            figures: Folder for each figure as SVG and its numbers as CSV; None writes none.
            pdf: Print it to a PDF file beside it, which needs Chromium or Chrome.
            pictures: Show small copies of images, which are of patients.

        Returns:
            The file.

        Raises:
            OrchestrateError: If there is no such checklist, or no PDF can be printed.
            OSError: If a file cannot be written.
        """
        from orchestrator.report.written import write_report

        return write_report(
            self._run,
            None if path is None else Path(path),
            checklists=checklists,
            figures=None if figures is None else Path(figures),
            with_pdf=pdf,
            with_pictures=pictures,
        ).page

    def __repr__(self) -> str:
        return f"<SearchResult {self._title()}: {self._summary()}; {self.path}>"

    def _repr_html_(self) -> str:
        record = self.record
        metric = scored(record.metric, record.split_name)
        rows = "".join(
            f"<tr><td>{one.number}</td><td>{one.scored_value:.3f}</td>"
            f"<td style='text-align:left'>{html.escape(settings_text(one.config))}</td></tr>"
            for one in objectives_of(record).rank(self.complete)[:_SHOWN]
        )
        columns = f"<th>trial</th><th>{html.escape(metric)}</th><th style='text-align:left'>settings</th>"
        table = f"<table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        said = f"{html.escape(self._summary())}<br><code>{html.escape(str(self.path))}</code>"
        return f"<p><b>{html.escape(self._title())}</b><br>{said}</p>{table}"

    def _title(self) -> str:
        record = self.record
        before = marks(is_synthetic=record.is_synthetic, split=record.split_name)
        return f"{before}{record.task}/{record.name}"

    def _summary(self) -> str:
        record, records, best = self.record, self.records, self.best
        metric = scored(record.metric, record.split_name)
        said = f"{done_text(len(records), record.request.asked_trials, 'trial')} ended"
        said += f", {len(self.complete)} complete"
        if self.is_interrupted:
            said += ", interrupted"
        if best is None:
            return f"{said}; no best trial"
        return f"{said}; best trial {best.number}, {metric} {best.scored_value:.3f}"

    def _bundle(self, ensemble: str, trial: int | None, *, refit: bool) -> "Bundle":
        """The model, opened once until the ensembles or refits change."""
        from results.export.in_memory import model_in_memory

        key = (ensemble, trial, refit)
        if key not in self._opened:
            self._build_if_none(trial, ensemble)
            self._opened[key] = model_in_memory(self._run, ensemble=ensemble, trial=trial, refit=refit)
        return self._opened[key]
