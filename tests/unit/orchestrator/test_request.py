"""Options of a search: from the command line, from a file, and from a run that is repeated."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from orchestrator.cli.main import build_parser
from orchestrator.cli.options import reference_page
from orchestrator.cli.search import request_of
from orchestrator.request import SearchRequest, asked_objectives, check_request, read_config
from results.run.records import SearchRecord
from results.run.request_options import flag_of, parse_request
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, OrchestrateError, UnknownNameError
from trainables.common.seeds import LARGEST_SEED

ROOT = Path(__file__).parents[3]


def asked(*arguments: str | Path) -> SearchRequest:
    return request_of(build_parser().parse_args(["search", *map(str, arguments)]))


def written(folder: Path, **values: object) -> Path:
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_reference_page_is_made_from_the_fields() -> None:
    page = (ROOT / "docs" / "reference-search.md").read_text()
    assert page == reference_page(), "run: python docs/generate.py"


def test_every_option_can_be_typed_and_has_a_description() -> None:
    for name, field in SearchRequest.model_fields.items():
        assert field.description, name
        assert flag_of(name).startswith("--"), name
    assert len(SearchRequest.model_fields) > 30


def test_what_is_not_said_has_the_default_of_its_field() -> None:
    request = asked("idc")
    assert request == SearchRequest(task="idc", data="phantom")
    found = request.most_trials, request.epochs, request.fold_count, request.features
    assert found == (24, 30, 4, "float16")


def test_a_file_is_read_and_what_is_typed_wins(tmp_path: Path) -> None:
    file = written(
        tmp_path, task="idc", trials=7, epochs=5, fixed_params={"optimizer.lr": 0.01, "model.cut": "top"}
    )
    request = asked("--config", file, "--trials", "9", "--set", "optimizer.lr=0.1")
    assert (request.task, request.trials, request.epochs) == ("idc", 9, 5)
    assert request.fixed_params == {"optimizer.lr": 0.1, "model.cut": "top"}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("recipes", "E000-1"),
        ("metrics", "auc"),
        ("requirements", "sensitivity>=0.9"),
        ("comparisons", "cut"),
        ("track", "mlflow"),
    ],
)
def test_one_text_of_an_option_of_several_needs_no_list_in_a_file(
    tmp_path: Path, name: str, word: str
) -> None:
    assert read_config(written(tmp_path, task="idc", **{name: word}))[name] == [word]


def test_folds_that_are_typed_take_the_place_of_the_files_hold_out(tmp_path: Path) -> None:
    request = asked("--config", written(tmp_path, task="idc", holdout=0.3), "--folds", "5")
    assert (request.folds, request.holdout) == (5, None)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"task": "idc", "trails": 3}, UnknownNameError, "unknown option 'trails'; did you mean 'trials'"),
        ({"task": "idc", "trials": 0}, ConfigError, "--trials must be at least 1, found 0"),
        (
            {"task": "idc", "features": "float8"},
            ConfigError,
            "--features must be one of float16, float32, off",
        ),
        ({"trials": 3}, ConfigError, "no task is given"),
        (
            {"task": "idc", "data": None},
            ConfigError,
            r"data in .* has no value; give the path of the data, or",
        ),
    ],
)
def test_a_file_that_cannot_be_met_is_explained(
    tmp_path: Path, values: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked("--config", written(tmp_path, **values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "must hold names and values"),
        ("a: [", "is not valid YAML"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "search.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        asked("--config", path)


@pytest.mark.parametrize("flag", ["--seed", "--split-seed"])
def test_a_seed_is_refused_where_no_library_could_take_it(flag: str) -> None:
    request = asked("idc", flag, str(LARGEST_SEED))
    assert LARGEST_SEED in (request.seed, request.split_seed)
    with pytest.raises(ConfigError, match=rf"{flag}.*{LARGEST_SEED}"):
        asked("idc", flag, str(LARGEST_SEED + 1))


def test_the_search_of_a_run_is_repeated_under_another_name(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    run = RunFolder(tmp_path)
    record = make_search(trials=11, seed=5, fixed_params={"model.cut": "top+1"}, holdout=0.25)
    run.write_search(record)
    again = asked("--config", run.search_file)
    assert again.name is None
    assert again == record.request.model_copy(update={"name": None})
    assert asked("--config", run.search_file, "--seed", "6", "--name", "other").seed == 6


def test_options_that_a_run_had_beside_its_recipes_are_repeated_as_they_were(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    run = RunFolder(tmp_path)
    record = make_search()
    options = {"recipes": ("E001-5",), "trials": 24, "epochs": 30}
    request = record.request.model_copy(update=options)
    run.write_search(record.model_copy(update={"request": request}))
    assert asked("idc", "--recipe", "E000-1").trials < 24  # a recipe brings its own number
    again = asked("--config", run.search_file)
    assert (again.trials, again.epochs, again.folds, again.recipes) == (24, 30, 3, ("E001-5",))


def test_a_request_means_the_same_in_every_folder(tmp_path: Path) -> None:
    request = parse_request({"task": "idc", "runs": "runs", "weights_dir": tmp_path})
    resolved = request.resolved(data="/data/patches.npz")
    assert (resolved.runs, resolved.weights_dir) == (Path.cwd() / "runs", tmp_path)
    assert (resolved.data, resolved.store) == ("/data/patches.npz", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1: 2\n", "must hold names and values of options"),
        ("fingerprint: x\n", "cannot be read: .*was it edited by hand"),
        ("fingerprint: x\nrequest: 3\n", "cannot be read: .*was it edited by hand"),
        ("task: idc\nrecipes: 5\n", "must be a list of names, found 5"),
        ("task: idc\nfixed_params: adam\n", "must hold names and values of settings, found 'adam'"),
        ("task: idc\nset: {optimizer.lr: 1}\n", "--set is called fixed_params in a file"),
        ("task: idc\naddress: auto\n", "--address can only be typed"),
        ("task: idc\ntrials: many\n", "--trials must be a whole number, found 'many'"),
        ("task: idc\nmay_download: maybe\n", "--offline must be true or false, found 'maybe'"),
        ("task: idc\nlabel_codes: 003\n", "--label-codes must be one of task, pisa, 003, found 3"),
        ("task: idc\nseed: -1\n", "--seed must lie between 0 and 9007199254740992, found -1"),
        ("task:\n", "no task is given"),
    ],
)
def test_a_file_with_other_values_than_options_have_is_explained(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        asked("--config", path, "--set", "optimizer.name=adam")


def test_settings_of_a_file_are_checked_like_typed_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown setting 'nonsense'"):
        asked("--config", written(tmp_path, task="idc", fixed_params={"nonsense": 3}))
    nested = written(tmp_path, task="idc", fixed_params={"optimizer": {"name": "adam"}}, recipes="E000-1")
    request = asked("--config", nested)
    assert request.fixed_params == {"optimizer.name": "adam"}
    assert request.recipes == ("E000-1",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metrics": ("recal",)}, "unknown metric 'recal'; did you mean 'recall'"),
        ({"metrics": ("auc", "auc")}, "--metric auc is given twice"),
        ({"requirements": ("recall>=90",)}, "recall is at most 1; for 90 % write recall>=0.9"),
        ({"requirements": ("mcc<=-1.5",)}, "--require mcc<=-1.5: no model keeps it, mcc is at least -1"),
        ({"requirements": ("recall<=0.8", "recall>=0.9")}, "--require recall<=0.8 exclude each other"),
        ({"requirements": ("ms_per_image>=50",), "max_ms": 40.0}, "exclude each other"),
        (
            {"metrics": ("partial_auc",), "task": "five_class"},
            "partial_auc is for two classes; task five_class",
        ),
        ({"requirements": ("recall_at_specificity>=1",), "task": "five_class"}, "is for two classes"),
        ({"metrics": ("ms_per_image",)}, r"it cannot be the first: .* --metric auc --metric ms_per_image"),
        ({"requirements": ("recall=0.9",)}, "--require needs a metric, >= or <=, and a number"),
        ({"requirements": ("recall>=high",)}, "--require needs a metric"),
        ({"requirements": ("recal>=0.9",)}, "unknown metric 'recal'"),
    ],
)
def test_metrics_that_cannot_be_are_refused_before_anything_runs(
    tmp_path: Path, options: dict[str, object], said: str
) -> None:
    request = parse_request({"task": "benign_malignant", "runs": tmp_path, **options})
    with pytest.raises(OrchestrateError, match=said):
        check_request(request)


def test_metrics_are_kept_by_the_names_that_find_their_results(tmp_path: Path) -> None:
    options = {"metrics": ("partial_auc@0.90", "f2"), "requirements": ("partial_auc@0.80>=0.6",)}
    objectives = asked_objectives(parse_request({"task": "benign_malignant", "runs": tmp_path, **options}))
    assert objectives.metrics == ("partial_auc@0.9", "f2")
    assert objectives.needed == ("partial_auc@0.9", "f2", "partial_auc@0.8")
    assert asked_objectives(parse_request({"task": "idc"})).metrics == ("auc",)
