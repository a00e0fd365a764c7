import pytest

from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.trial_config import TrialConfig, decode, flatten, setting_names


def test_a_configuration_survives_the_way_through_dotted_names() -> None:
    config = decode({"model.backbone": "vgg16", "model.head.hidden": [512, 256], "optimizer.lr": 0.01})
    assert decode(flatten(config.model_dump())) == config
    assert config.model.head.hidden == (512, 256)


def test_an_unknown_setting_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown setting 'optimizer.lrr'; did you mean 'optimizer.lr'"
    ):
        decode({"model.backbone": "vgg16", "optimizer.lrr": 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer.lr": -1.0}, r"optimizer\.lr: Input should be greater than 0 \(given: -1\.0\)"),
        (
            {"optimizer.name": "adam", "optimizer.momentum": 0.9},
            "momentum is for sgd only, the optimiser is adam",
        ),
        ({"model.weights": "random"}, "random needs model.trained_stages=all"),
        ({"training.class_weight": 0.0}, "class_weight"),
        ({"model.head.dropout": 0.95}, "less than or equal to 0.9"),
        ({"input.contrast": 0.0}, "greater than 0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decode({"model.backbone": "vgg16", **settings})


def test_a_missing_backbone_is_refused() -> None:
    with pytest.raises(ConfigError, match="Field required"):
        decode({"optimizer.lr": 0.1})


def test_every_setting_name_leads_to_a_field() -> None:
    flat = flatten(TrialConfig.model_validate({"model": {"backbone": "vgg16"}}).model_dump())
    assert set(flat) == set(setting_names())
    assert len(setting_names()) >= 25


def test_zero_and_none_are_different_momenta() -> None:
    config = decode({"model.backbone": "vgg16", "optimizer.name": "sgd", "optimizer.momentum": 0.0})
    assert config.optimizer.momentum == 0.0
