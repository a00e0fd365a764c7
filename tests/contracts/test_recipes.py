"""The catalogue holds every experiment of the sources, and each of them can be run as it stands."""

import pytest
from scipy.stats import binomtest

from results.ensembles.methods import METHODS
from results.scores.metrics import METRICS
from search_spaces.recipes import RECIPES, Recipe, ReportedScore, recipe_named, recipes_of
from search_spaces.recipes.ours import BEST_OF_OURS
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.tasks import TASKS
from trainables.config.trial_config import decode, setting_names
from trainables.models.registry import backbone_named
from trainables.training.assembly import assemble_part

MC, BM, NA = "mass_calcification", "benign_malignant", "normal_abnormal"

# Ids of the specification; those with a family stand for several recipes, one for each backbone or model.
FAMILIES = {"E000-4": 3, "E001-9": 3, "E001-17": 2, "E003-14": 3, "E003-19": 7}
SCRATCH = [f"E004-SCRATCH_{number}" for number in range(1, 7)]
SIAMESE = [f"E004-SIAMESE_{number}" for number in range(1, 6)]
INCEPTION = [f"E004-INCEPTION_{number}" for number in range(1, 7)]
INCEPTION_BM = [f"E004-INCEPTION_BM_{name}" for name in (*range(1, 8), "BEST", "REPLICATE")]
VGG = [f"E004-VGG_V{number}" for number in (1, 2, 3, 5, 6)]
VGG_BM = [f"E004-VGG_BM_{name}" for name in (1, 2, 3, 4, "BEST")]
SCRATCH_BM = [f"E004-BM_V{number}" for number in range(1, 7)]


def numbered(source: str, first: int, last: int) -> list[str]:
    ids = [f"{source}-{number}" for number in range(first, last + 1)]
    return [name for name in ids if name not in FAMILIES]


IDS_OF_TASKS = {
    "idc": numbered("E000", 1, 7),
    MC: [*numbered("E001", 1, 19), *SCRATCH, *VGG, *INCEPTION, *SIAMESE],
    BM: [*numbered("E001", 1, 21), *SCRATCH_BM, *VGG_BM, *INCEPTION_BM, "E004-ENSEMBLE"],
    "healthy_sick": ["E002-1", "E002-2"],
    NA: [*numbered("E003", 1, 9), *numbered("E003", 15, 18), *numbered("E003-MIAS", 1, 4)],
    "five_class": numbered("E003", 10, 13),
}
FAMILIES_OF_TASKS = {
    "idc": ["E000-4"],
    MC: ["E001-9", "E001-17"],
    BM: ["E001-9", "E001-17"],
    NA: ["E003-14"],
    "wisconsin": ["E003-19"],
}

EXPLICIT = {
    *("model.backbone", "model.weights", "model.cut", "model.trained_stages", "model.channels"),
    *("model.pair", "model.type_input", "model.head.pooling", "model.head.hidden", "model.head.batch_norm"),
    *("model.head.dropout", "model.head.output", "model.head.style"),
    *("input.size_px", "input.scaling", "input.contrast", "input.contrast_test"),
    *("optimizer.name", "optimizer.lr", "optimizer.weight_decay", "optimizer.schedule"),
    *("training.epochs", "training.patience", "training.batch_size", "training.augmentation"),
    *("training.average_views", "training.class_weight", "training.sampling", "training.first_phase"),
    *("training.feature_noise", "training.feature_dropout", "training.mixup", "classical.name"),
}


def each(recipes: tuple[Recipe, ...] = RECIPES) -> list[object]:
    return [pytest.param(recipe, id=f"{recipe.name}-{recipe.task}") for recipe in recipes]


def names(task: str) -> set[str]:
    return {recipe.name for recipe in recipes_of(task)}


def test_every_experiment_of_the_sources_is_there() -> None:
    for task, ids in IDS_OF_TASKS.items():
        assert set(ids) <= names(task), task
    for task, families in FAMILIES_OF_TASKS.items():
        for family in families:
            assert sum(name.startswith(f"{family}-") for name in names(task)) == FAMILIES[family], family


def test_there_is_nothing_else_but_our_own() -> None:
    listed = {name for ids in IDS_OF_TASKS.values() for name in ids}
    families = tuple(f"{family}-" for family in FAMILIES)
    rest = {recipe.name for recipe in RECIPES} - listed
    assert {name for name in rest if not name.startswith(families)} == {
        *("colour-intensity", "portfolio", "frozen-lite0"),
    }
    assert len({recipe.name for recipe in RECIPES}) >= 85


def test_no_task_has_an_id_twice() -> None:
    pairs = [(recipe.task, recipe.name.lower()) for recipe in RECIPES]
    assert len(set(pairs)) == len(pairs)
    assert len({hash(recipe) for recipe in RECIPES}) == len(RECIPES)


@pytest.mark.parametrize("recipe", each())
def test_a_recipe_says_what_it_is_and_how_it_was_measured(recipe: Recipe) -> None:
    assert recipe.task in TASKS
    assert 0 < len(recipe.about) <= 60
    protocol = recipe.protocol
    assert (protocol.folds == 1) == (protocol.holdout is not None)
    assert 0 <= protocol.test_share <= 0.5
    for figure in recipe.figures:
        assert figure.metric in {*METRICS, "loss"}
        assert 0 <= figure.value <= 1
        interval = figure.interval()
        assert interval is None or interval[0] <= figure.value <= interval[1]


@pytest.mark.parametrize("recipe", each())
def test_every_point_is_a_whole_configuration_of_a_net_that_exists(recipe: Recipe) -> None:
    for point in recipe.points:
        assert set(point) >= EXPLICIT
        assert set(point) <= set(setting_names())
        config = decode(point)
        backbone = backbone_named(config.model.backbone)
        assert backbone.cut_index(config.model.cut) >= 1
        if backbone.name != "table":  # no stages to plan
            backbone.plan(config.model)
        assert config.input.size_px is None or config.input.size_px >= backbone.min_size_px
        assert not config.training.average_views or recipe.name in ("frozen-lite0", "portfolio")
    assert len({str(sorted(point.items(), key=str)) for point in recipe.points}) == len(recipe.points)


@pytest.mark.parametrize("recipe", each())
def test_what_a_recipe_builds_on_is_in_the_catalogue(recipe: Recipe) -> None:
    assert bool(recipe.members) == (not recipe.points) == bool(recipe.method)
    for member in recipe.members:
        assert recipe_named(member, recipe.task).points
    assert not recipe.method or recipe.method in METHODS
    for point in recipe.points:
        model = decode(point).model
        assert (model.weights == "start") == bool(recipe.starts_from)
        assert (model.type_input in ("probability", "hard")) == bool(recipe.type_from)
        assert (model.pair != "none") == ("baseline pairs" in recipe.needs)
        if recipe.starts_from:
            start = decode(recipe_named(recipe.starts_from, recipe.task).points[0]).model
            assert (start.backbone, start.cut, start.pair) == (model.backbone, model.cut, model.pair)
        has_weights = model.backbone != "table" and not backbone_named(model.backbone).is_fixed
        if model.weights == "imagenet" and has_weights:
            assert f"ImageNet weights of {model.backbone}" in recipe.needs
    if recipe.type_from:
        assert recipe_named(recipe.type_from, MC).points


def test_frozen_layers_are_those_of_the_sources() -> None:
    def plan(name: str, task: str | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        model = decode(recipe_named(name, task).points[0]).model
        found = backbone_named(model.backbone).plan(model)
        return found.frozen, found.trained

    assert plan("E000-3")[0] == ("block1", "block2")  # Keras: input, two convolutions, pool, two convolutions
    assert plan("E000-4-VGG16")[0] == ("block1", "block2")
    assert plan("E000-4-MOBILENET")[0] == plan("E000-4-NASNET")[0] == ("stem",)
    assert plan("E001-9-VGG16", MC)[1] == ("block5_conv3", "block5_pool")
    assert plan("E001-9-RESNET50", MC)[1] == ("layer4_3",)
    assert plan("E001-9-INCEPTION_V3", MC)[1] == ("Mixed_7c",)
    assert plan("E004-VGG_BM_3")[0][-1] == "block4"
    assert plan("E001-20")[1] == ()


@pytest.mark.parametrize(
    ("name", "task", "classes", "trainable"),
    [
        ("E001-1", MC, 2, 5_325_249),
        ("E003-5", NA, 2, 32_198_594),
        ("E003-10", "five_class", 5, 32_204_741),
        ("E003-8", NA, 2, 15_815_042),
        ("E003-9", NA, 2, 8_531_410),
        ("E004-SCRATCH_6", MC, 2, 3_452_545),
        ("E004-SIAMESE_5", MC, 2, 3_977_345),
        ("E004-VGG_BM_BEST", BM, 2, 4_194_816 + 513 + 6),
        ("E004-INCEPTION_3", MC, 2, 9_437_696 + 513 + 6),
        ("E004-INCEPTION_BM_BEST", BM, 2, 5_898_752 + 131_328 + 257 + 6),
    ],
)
def test_nets_have_as_many_parameters_as_the_sources_print(
    name: str, task: str, classes: int, trainable: int
) -> None:
    config = decode(recipe_named(name, task).points[0])
    side = config.input.size_px
    assert side is not None
    shape = (1, side, side) if config.model.pair == "none" else (2, 1, side, side)
    part = assemble_part(config, shape, weights=None, image_channels=1, classes=classes)
    assert sum(tensor.numel() for tensor in part.parameters() if tensor.requires_grad) == trainable


def test_penalties_are_those_of_the_sources() -> None:
    m2 = decode(recipe_named("E001-4", MC).points[0]).optimizer
    assert (m2.l1, m2.weight_decay) == (1e-5, 2e-4)  # Keras's l2 of 1e-4
    v46, v35 = (decode(recipe_named(name).points[0]).optimizer for name in ("E003-6", "E003-5"))
    assert (v46.weight_decay, v46.stage_weight_decay) == (2.5e-3, 1e-4)
    assert (v35.weight_decay, v35.stage_weight_decay) == (2.5e-3, 1e-5)


def test_sweeps_hold_all_of_their_points() -> None:
    def counts(name: str, setting: str) -> list[object]:
        return list(dict.fromkeys(point[setting] for point in recipe_named(name).points))

    assert len(recipe_named("E000-5").points) == 3 * 4 * 3
    assert counts("E000-6", "training.train_fraction") == [0.195, 0.39, 0.585, 1.0]
    assert counts("E003-15", "training.class_weight") == [1, 2, 3, 4]
    assert counts("E003-16", "input.scaling") == ["raw", "unit", "centred", "centred_scaled"]
    assert counts("E003-17", "input.contrast_test") == [1.5, 1.8]
    assert len(recipe_named("E003-14-VGG19").points) == 5 * 5 * 2


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    low, high = ReportedScore("accuracy", 219 / 336, 336, "test").interval() or (0.0, 0.0)
    reference = binomtest(219, 336).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=1e-9)
    assert (low, high) == pytest.approx((0.59939, 0.70075), abs=1e-5)
    none, one = (ReportedScore("accuracy", value, 20, "test").interval() or () for value in (0.0, 1.0))
    assert none == pytest.approx((0.0, 0.16113), abs=1e-5)
    assert one == pytest.approx((0.83887, 1.0), abs=1e-5)


def test_the_interval_of_a_recall_counts_positives_only() -> None:
    low, high = ReportedScore("recall", 85 / 117, 336, "test", positives=117).interval() or (0.0, 0.0)
    reference = binomtest(85, 117).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_the_interval_of_an_auc_is_hanley_and_mcneils() -> None:
    # By hand: Q1 .550388, Q2 .589591, variance 24.2123 / 25623, standard error .030740.
    interval = ReportedScore("auc", 0.71, 336, "test", positives=117).interval()
    assert interval == pytest.approx((0.64975, 0.77025), abs=2e-5)
    assert ReportedScore("auc", 1.0, 20, "test", positives=10).interval() == (1.0, 1.0)


@pytest.mark.parametrize(
    "figure",
    [
        ReportedScore("accuracy", 0.8, None, "test"),
        ReportedScore("recall", 0.8, 336, "test"),
        ReportedScore("auc", 0.8, 336, "test"),
        ReportedScore("f2", 0.8, 336, "test", positives=117),
        ReportedScore("loss", 0.8, 336, "test", positives=117),
    ],
)
def test_a_figure_without_what_it_takes_has_no_interval(figure: ReportedScore) -> None:
    assert figure.interval() is None


@pytest.mark.parametrize("task", sorted({recipe.task for recipe in RECIPES}))
def test_recipes_come_best_first_and_doubtful_ones_last(task: str) -> None:
    ours = {recipe.name for recipe in BEST_OF_OURS}
    ordered = [recipe for recipe in recipes_of(task) if recipe.name not in ours]
    doubts = [bool(recipe.doubt) for recipe in ordered]
    assert doubts == sorted(doubts)
    trusted = [recipe.main_score for recipe in ordered if not recipe.doubt]
    values = [figure.value if figure else -1.0 for figure in trusted]
    assert values == sorted(values, reverse=True)
    if not TASKS[task].takes_table:
        assert recipes_of(task)[0].name == "colour-intensity"


def test_recipes_are_compared_by_what_was_not_trained_on() -> None:
    overfitted = recipe_named("E004-SCRATCH_1").main_score
    assert overfitted is not None
    assert (overfitted.part, overfitted.value) == ("validation", 0.81)
    told = recipe_named("E001-11", MC).main_score
    assert told is not None
    assert (told.metric, told.value) == ("auc", 0.891)
    assert recipe_named("E002-1").main_score is None


def test_a_recipe_is_found_by_its_id_in_capitals_or_not() -> None:
    assert recipe_named("e003-5").name == "E003-5"
    assert recipe_named("E001-12", BM).task == BM
    assert set(recipes_of("finding_type")) <= set(BEST_OF_OURS)


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("E003-55", None, r"unknown recipe 'E003-55'; did you mean 'E003-\d+'\? Known: E003-1, "),
        ("vgg", None, r"unknown recipe 'vgg'.* Known: E000-1, .*frozen-lite0"),
        ("E001-12", None, f"several tasks; say which with --task: {MC}, {BM}"),
        ("E001-12", "idc", f"recipe E001-12 is not of task idc, but of {MC}, {BM}"),
        ("E000-3", MC, f"recipe E000-3 is not of task {MC}, but of idc"),
    ],
)
def test_an_id_that_means_no_recipe_is_explained(name: str, task: str | None, message: str) -> None:
    with pytest.raises((UnknownNameError, ConfigError), match=message):
        recipe_named(name, task)
