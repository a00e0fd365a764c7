"""The part of a `SearchResult` that explains: relevance maps of the run's models."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.api.frames import as_paths, as_words
from results.ensembles.ensemble import BEST
from results.run.run_folder import RunFolder
from results.run.search_request import SearchRequest

if TYPE_CHECKING:  # maps are rarely asked for
    from results.relevance.explanation import Explanations


class _Result(Protocol):
    """What maps need of a result."""

    @property
    def run(self) -> RunFolder: ...

    @property
    def request(self) -> SearchRequest: ...

    def _build_if_none(self, trial: int | None, ensemble: str = BEST) -> None: ...


class WithMaps:
    """A result whose models can be explained."""

    def explain(  # noqa: PLR0913 - the options of `orchestrate explain`
        self: _Result,
        images: "str | Path | Sequence[str | Path] | Sequence[int] | None" = None,
        *,
        method: str = "occlusion",
        ensemble: str = BEST,
        trial: int | None = None,
        refit: bool = False,
        worst: int = 6,
        checks: bool = False,
        seconds: float = 4.0,
        masks: int | None = None,
        views: str | Sequence[str] = (),
        laterality: str | Sequence[str] = (),
        out: str | Path | None = None,
    ) -> "Explanations":
        """Compute relevance maps: which part of an image the model looked at.

        Args:
            images: Path of an image file, or several, or rows of the run's data; None takes the worst
                mistakes out of fold, each explained by the fold models that held it out.
            method: `occlusion` or `rise`, which need predictions alone, or a method by gradients, such as
                `layer_cam` and `integrated_gradients`.
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.
            refit: Explain the models that `refit` trained.
            worst: Number of mistakes.
            checks: Measure insertion and deletion, and whether shuffled weights change the map.
            seconds: Time of a map by occlusion or rise.
            masks: Number of changed images instead of a time.
            views: Views of image files for a model of prepared mammograms, such as `CC` or `MLO`, where the
                files do not state them: one for all, or one each.
            laterality: Sides of their breasts, `L` or `R`, likewise.
            out: Folder to write; None takes one in the run folder.

        Returns:
            What `explanations.json` holds; pictures and maps lie beside it.

        Raises:
            OrchestrateError: If `images` is empty, a row is sealed, a file cannot be used, a view or side is
                not known or does not fit, or the method cannot explain the model.
        """
        from orchestrator.postprocessing.explanations import ExplanationRequest, explain_run
        from results.export.view_and_side import stated_by
        from results.relevance.method import RelevanceSettings

        self._build_if_none(trial, ensemble)
        given: list[Any] = (
            [images] if isinstance(images, str | Path) else list(() if images is None else images)
        )
        are_rows = images is not None and not (given and isinstance(given[0], str | Path))
        request = ExplanationRequest(
            method=method,
            rows=tuple(int(one) for one in given) if are_rows else None,
            files=() if are_rows else tuple(as_paths(given)),
            worst=worst,
            settings=RelevanceSettings(seconds=seconds, masks=masks, seed=self.request.seed),
            has_checks=checks,
            stated=tuple(stated_by(as_words(views), as_words(laterality))),
        )
        folder = None if out is None else Path(out)
        return explain_run(self.run, request, ensemble=ensemble, trial=trial, refit=refit, out=folder)[0]
