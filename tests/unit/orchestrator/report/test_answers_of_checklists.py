"""What a run of some kind answers to the items of checklists."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reported_run import PATIENTS, make_reported_run, patches

from orchestrator.report.evidence.of_data import AUDIT, CONFOUNDERS, PARTITION
from orchestrator.report.evidence.of_model import INDETERMINATE, NO_HANDCRAFTED, OUTPUT, SIZE, TECHNOLOGY
from orchestrator.report.evidence.of_results import TEST
from orchestrator.report.facts import RunFacts
from orchestrator.report.item_evidence import Evidence
from orchestrator.report.report import make_report
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.run.audit_record import AuditRecord
from results.run.run_folder import RunFolder
from results.scores.operating_point import Operation


def facts_of(folder: Path, **kind: Any) -> RunFacts:
    return RunFacts(make_reported_run(folder, trials=2, with_ensembles=False, **kind))


def said(evidence: Evidence, facts: RunFacts) -> str:
    answer = evidence.find(facts)
    assert answer is not None
    return answer.text


# -- the parts of the data


def test_a_part_is_told_by_its_images_and_patients(run: RunFolder) -> None:
    facts = RunFacts(run)
    assert facts.split is not None
    sealed = sum(facts.sealed.values())
    patients = facts.split.counts["test"]["patients"]
    assert said(PARTITION, facts) == (
        f"3 folds, stratified by class; a sealed test part of {sealed} of {2 * PATIENTS} images "
        f"({sealed / (2 * PATIENTS):.0%}) of {patients} patients, stratified likewise; seed 0."
    )


def test_the_test_set_of_the_source_is_told_as_it_is(tmp_path: Path) -> None:
    is_test = np.arange(2 * PATIENTS) < 12  # a tenth, whatever share was asked for
    facts = facts_of(tmp_path, raw=replace(patches(), is_test=is_test))
    assert said(PARTITION, facts) == (
        "3 folds, stratified by class; the sealed test part is the set's own, 12 of 120 images (10%) of 6 "
        "patients; seed 0."
    )


def test_where_nothing_is_sealed_it_is_said_and_nobody_is_told_to_open_it(
    tmp_path: Path, run: RunFolder
) -> None:
    facts = facts_of(tmp_path, test_share=0.0)
    assert said(PARTITION, facts) == ("3 folds, stratified by class; no part was sealed for a test; seed 0.")
    assert TEST.find(facts) is None
    assert TEST.missing_in(facts).startswith("no part of the data was sealed: score the model on data")
    assert TEST.missing_in(RunFacts(run)) == "open the sealed test part, once: orchestrate evaluate RUN"
    html = make_report(facts.run, checklists=["claim"]).html
    assert "open the sealed test part" not in html
    assert "no part of the data was sealed" in html


def test_a_validation_part_is_told_by_what_it_holds(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, holdout=0.25)
    assert facts.split is not None
    counts = facts.split.counts["validation"]
    images = counts["benign"] + counts["malignant"]
    assert said(PARTITION, facts).startswith(
        f"a validation part of {images} of 120 images ({images / 120:.0%}) of {counts['patients']} patients, "
    )


def test_images_without_patients_are_not_called_patients(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, raw=replace(patches(), patients=None), is_synthetic=False)
    assert "patient" not in said(PARTITION, facts)
    assert "image group" not in said(PARTITION, facts)
    record = facts.records[0]
    facts.run.write_record(record.model_copy(update={"trained_parameters": 1234}))
    facts.run.write_record(facts.records[1].model_copy(update={"trained_parameters": 1234}))
    again = RunFacts(facts.run)
    assert again.headline is not None
    images = len(again.headline.predictions.labels)
    assert said(SIZE, again).endswith(f"1,234; predicted were {images} images.")


# -- the audit


def test_a_run_without_an_audit_is_not_sent_to_one_that_it_would_not_read(run: RunFolder) -> None:
    facts = RunFacts(run)
    assert facts.search.audit is None
    assert AUDIT.find(facts) is None
    assert "search without --no-audit" in AUDIT.missing_in(facts)
    assert "search without --no-audit" in CONFOUNDERS.missing_in(facts)


def test_an_audit_without_shortcuts_says_why_there_are_none(tmp_path: Path) -> None:
    audit = AuditRecord(
        fingerprint="0" * 64,
        task="benign_malignant",
        images=9,
        compared=9,
        patients=3,
        scored=0,
        unscored="a class has fewer than 2 patients",
        seconds=0.1,
    )
    facts = facts_of(tmp_path, audit=audit)
    assert "no warnings" in said(AUDIT, facts)
    assert CONFOUNDERS.missing_in(facts) == (
        "the audit scored no shortcuts, since a class has fewer than 2 patients"
    )


# -- the model


def with_features(facts: RunFacts, **settings: Any) -> RunFacts:
    for record in facts.records:
        facts.run.write_record(record.model_copy(update={"config": {**record.config, **settings}}))
    return RunFacts(facts.run)


@pytest.mark.parametrize(
    ("also", "nets", "is_handcrafted"),
    [
        ((), "efficientnet_lite0", False),
        (("efficientnet_lite0/block3",), "efficientnet_lite0", False),
        (("intensity/top", "texture/top"), "efficientnet_lite0, intensity, texture", True),
    ],
)
def test_features_beside_those_of_a_network_count(
    tmp_path: Path, also: tuple[str, ...], nets: str, is_handcrafted: bool
) -> None:
    facts = with_features(facts_of(tmp_path), **{"model.also": also, "classical.name": "logistic"})
    assert f"with {nets} as fixed" in said(TECHNOLOGY, facts)
    assert (NO_HANDCRAFTED.find(facts) is None) == is_handcrafted


def test_a_model_of_a_table_classifies_no_images(tmp_path: Path) -> None:
    facts = with_features(facts_of(tmp_path), **{"model.backbone": "table"})
    assert said(TECHNOLOGY, facts) == "Classification of rows of a table of measurements."
    assert NO_HANDCRAFTED.find(facts) is None


def test_a_rule_of_two_thresholds_is_told_with_its_third_answer(tmp_path: Path, run: RunFolder) -> None:
    own = make_reported_run(tmp_path, trials=4, with_ensembles=False)
    build_ensembles(own, methods=["average"], seed=0, operation=Operation.of(triage="missed=0.2,alarms=0.3"))
    rule = read_ensemble(own).triage
    assert rule is not None
    facts = RunFacts(own)
    for evidence in (INDETERMINATE, OUTPUT):
        text = said(evidence, facts)
        assert f"says benign below {rule.low:.3f}, recall from {rule.high:.3f} on, and do not know" in text
        assert "for missed=0.2,alarms=0.3" in text
    assert said(INDETERMINATE, RunFacts(run)).startswith("Every image gets a call")
    assert "do not know" not in said(OUTPUT, RunFacts(run))


def test_a_page_says_how_the_items_of_a_checklist_were_compared_with_the_paper(run: RunFolder) -> None:
    html = make_report(run, checklists=["stard-ai"]).html
    assert "were compared with a reproduction of the published table." in html
