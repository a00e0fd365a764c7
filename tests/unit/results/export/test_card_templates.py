"""The fields of published templates of model cards."""

import datetime
import json

import pytest

from results.export.card_templates import TITLES, card_as_json, card_fields, fields_as_markdown
from results.export.manifest import Manifest
from results.export.manifest_parts import (
    Member,
    Novelty,
    OutOfFoldScores,
    ParityCheck,
    TestScores,
    TrainingData,
)
from results.export.model_card import model_card, said_of_refits
from results.export.model_input import ModelInput
from results.export.precision_record import LowerPrecision
from results.run.audit_record import AuditRecord
from results.run.split_labels import NAIVE_WARNING
from results.scores.interval import Interval
from results.scores.operating_point import Operation
from results.scores.triage import TriageAim, TriageRule


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return Manifest(
        name="idc/first, ensemble | average",
        task="idc",
        question="Is it a carcinoma?",
        classes=("negative", "positive"),
        positive="positive",
        threshold=0.5,
        is_synthetic=False,
        input=ModelInput(
            name="raw",
            dtype="int32",
            channels=1,
            max_value=255,
            trained_shape=(50, 50),
            how_to_feed="raw pixels",
        ),
        output="probabilities: float32 (B, 2)",
        method="average",
        is_single_trial=False,
        members=(
            Member(
                trial=1,
                backbone="vgg16",
                weights="imagenet",
                cut="top",
                trained_stages=0,
                folds=4,
                views=8,
                weight=1.0,
                settings={},
                licences={"vgg16": ""},
            ),
        ),
        calibration=None,
        data=TrainingData(
            source="idc",
            is_synthetic=False,
            images=100,
            groups=20,
            has_patients=True,
            counts={"negative": 60, "positive": 40},
            folds=4,
            fingerprint="f" * 64,
        ),
        out_of_fold=OutOfFoldScores(how="nested", auc=Interval(0.8, 0.7, 0.9), metrics={"auc": 0.8}),
        test="not opened",
        parity=ParityCheck(images=32, onnx_difference=1e-7, out_of_fold_difference=0.001),
        onnx_opset=20,
        versions={},
        sha256="a" * 64,
        intended_use="Research.",
        created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    )


def test_every_field_says_something_or_who_must(manifest: Manifest) -> None:
    fields = card_fields(manifest)
    assert len(fields) >= 60
    assert [field for field in fields if not field.text and not field.missing] == []
    assert {field.status for field in fields} == {"filled", "half filled", "you write this"}
    names = [(field.template, field.section, field.name) for field in fields]
    assert len(names) == len(set(names))


def test_the_scores_of_the_manifest_stand_in_both_templates(manifest: Manifest) -> None:
    said = [field.text for field in card_fields(manifest) if "AUC 0.800 [0.700, 0.900]" in field.text]
    assert len(said) == len(TITLES) == 2
    assert all("was not opened" in one for one in said)


def test_promises_for_new_patients_are_qualified_where_the_models_knew_them(manifest: Manifest) -> None:
    aim = TriageAim(missed=0.02, alarms=0.1)
    triage = TriageRule(low=0.1, high=0.9, aim=aim, patients=(20, 20))
    novelty = Novelty(
        output="novelty_p", trial=0, backbone="net", tap="top", features=8, images=40, patients=20, level=0.05
    )
    asked = {"triage": triage, "novelty": novelty, "operation": Operation.of(prevalence=0.01)}
    grouped = manifest.model_copy(update={**asked, "unit": "breast"})
    naive = grouped.model_copy(update={"split": "naive split"})
    assert "0.01 of the breasts are positive" in grouped.said_of_operation
    assert "new patient on average, as out-of-fold predictions promise" in grouped.said_of_operation
    assert "of new ones it may be more" in naive.said_of_operation
    assert "of a naive split, which knew the patients: of new ones it may be more" in model_card(naive)
    assert "may be more" not in model_card(grouped)
    exact = naive.model_copy(update={"triage": triage.model_copy(update={"is_exact": True})})
    assert "may be more" not in exact.said_of_operation
    groups = grouped.model_copy(
        update={"data": manifest.data.model_copy(update={"has_patients": False}), "test": "nothing sealed"}
    )
    assert "of a new image group on average" in groups.said_of_operation
    assert "no image groups are left" in groups.said_of_no_test
    assert "40 training images of 20 image groups" in model_card(groups)


def test_a_naive_split_stands_beside_each_score_and_among_the_limits(manifest: Manifest) -> None:
    tested = TestScores(
        opening=1, openings=1, images=20, groups=5, metrics={"auc": Interval(0.75, 0.6, 0.85)}
    )
    naive = manifest.model_copy(update={"split": "naive split", "test": tested})
    texts = [field.text for field in card_fields(naive)]
    assert sum(text.count("AUC (naive split) 0.800 [0.700, 0.900]") for text in texts) == len(TITLES)
    assert sum(text.count("AUC (naive split) 0.750 [0.600, 0.850]") for text in texts) == len(TITLES)
    assert sum(NAIVE_WARNING in text for text in texts) == len(TITLES)
    assert card_as_json(naive)["split"] == "naive split"
    assert "naive" not in str(card_as_json(manifest.model_copy(update={"test": tested}))).lower()


def test_images_that_a_comparison_left_out_are_said_wherever_its_figure_is(manifest: Manifest) -> None:
    parity = manifest.parity.model_copy(update={"left_out": 3})
    apart = manifest.model_copy(update={"parity": parity})
    for one, number in ((apart, 1), (manifest, 0)):
        texts = [field.text for field in card_fields(one) if "The file and PyTorch differ" in field.text]
        assert texts
        assert all(
            text.count("on 32 images, without the 3 answers that differ most") == number for text in texts
        )
        assert model_card(one).count("at most, without the 3 answers that differ most, fold models") == number


def test_a_lower_precision_stands_where_the_difference_from_pytorch_is_said(manifest: Manifest) -> None:
    lower = LowerPrecision(
        name="int8",
        images=90,
        how="out of fold",
        auc_before=0.8,
        auc_change=Interval(-0.01, -0.02, 0.0),
        changed_calls=0.02,
        largest_difference=0.071,
        max_auc_loss=0.02,
        max_changed_calls=0.05,
        calibration_images=32,
        converted=12,
    )
    in_float32 = [field.text for field in card_fields(manifest) if "differ by 1e-07" in field.text]
    lowered = manifest.model_copy(update={"precision": lower})
    said = [field.text for field in card_fields(lowered) if "differ by 1e-07" in field.text]
    assert len(said) == len(in_float32) == len(TITLES)
    assert not any("lowered" in one for one in in_float32)
    for one in said:
        assert "on 32 images before its precision was lowered to int8" in one
        assert "probabilities by up to 0.071 on 90 images" in one
    unqualified = "All scores, out of fold and on a sealed part, are those of the model in float32"
    for field in card_fields(lowered):
        if field.name in ("Accuracy with 95 % intervals", "Usefulness"):
            assert unqualified in field.text
    sections = {part.partition("\n")[0]: part for part in model_card(lowered).split("\n## ")}
    for heading in ("Evaluation data", "Quantitative analyses"):
        assert unqualified in sections[heading]
    assert unqualified not in model_card(manifest)


def test_a_refit_to_another_number_of_models_than_a_fold_had_is_said(manifest: Manifest) -> None:
    (member,) = manifest.members
    for models, said in ((3, ""), (1, "Calibration and threshold of trial 1 are of folds of 3 models")):
        own = member.model_copy(update={"settings": {"training.repeats": 3}, "folds": models})
        found = manifest.model_copy(update={"is_refitted": True, "members": (own,)})
        assert [one.capitalize().startswith(said) for one in said_of_refits(found)] == [True] * bool(said)
        assert said in model_card(found)
    assert said_of_refits(manifest) == []


def test_what_an_audit_found_and_lacked_is_said(manifest: Manifest) -> None:
    audit = AuditRecord(
        fingerprint="f" * 64,
        task="idc",
        images=100,
        compared=100,
        patients=20,
        scored=80,
        lacks=("vendor", "site"),
        seconds=1.0,
    )
    fields = {field.name: field for field in card_fields(manifest.model_copy(update={"audit": audit}))}
    assert fields["Gaps in the data"].text == "Not known of the images: vendor, site."
    assert fields["Known biases and failure modes"].text == "Audit of the data: no findings."


def test_the_card_for_programs_has_every_field_with_its_status(manifest: Manifest) -> None:
    found = json.loads(json.dumps(card_as_json(manifest)))
    assert found["sha256"] == manifest.sha256
    shown = [field for name in TITLES for field in found[name]["fields"]]
    assert len(shown) == len(card_fields(manifest))
    assert all(set(field) == {"section", "name", "status", "text", "missing"} for field in shown)


def test_a_name_with_a_bar_stays_in_its_cell(manifest: Manifest) -> None:
    lines = fields_as_markdown([one for one in card_fields(manifest) if one.template == "fda"]).splitlines()
    assert all(line.replace("\\|", "").count("|") == 5 for line in lines)


def test_a_card_of_three_classes_claims_no_calibration(manifest: Manifest) -> None:
    data = manifest.data.model_copy(update={"counts": {"negative": 50, "unclear": 20, "positive": 30}})
    several = {"classes": ("negative", "unclear", "positive"), "threshold": None, "data": data}
    of_three = model_card(manifest.model_copy(update={**several, "is_refitted": True}))
    assert "only, and probabilities are not calibrated, and the most probable class is called." in of_three
    assert "Out-of-fold scores are those of fold models" in of_three
    assert "threshold" not in of_three
    of_two = model_card(manifest.model_copy(update={"is_refitted": True}))
    assert "its calibration holds at their share of positives only." in of_two
    assert "Calibration, threshold and out-of-fold scores are those of fold models" in of_two
