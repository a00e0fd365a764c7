"""Evidence about the data: where they come from, how they were cut, and what an audit found."""

from typing import Final

from orchestrator.report.facts import RunFacts
from orchestrator.report.item_evidence import Answer, Evidence
from trainables.common.text import count_text
from trainables.data.columns import names_of
from trainables.data.group_names import of_groups
from trainables.data.mammogram.preparation import Preparation
from trainables.data.split_record import EXTRA_PART, TEST, TEST_PART, VALIDATION_PART, Split

SEARCH: Final = "search.yaml"
SPLIT: Final = "split.json"
_INPUT: Final = ("input.size_px", "input.scaling", "input.contrast", "input.clahe")
_FOLD_OF: Final = {TEST_PART: TEST, VALIDATION_PART: 0}
_NO_AUDIT: Final = (
    "the data were not audited before this search: quote orchestrate data audit, or search without --no-audit"
)
_DEMOGRAPHIC: Final = ("age_years", "density", "sex", "ethnicity", "race")


def _question(facts: RunFacts) -> Answer:
    task = facts.search.task_definition
    return Answer(f"{task.question} Classes: {', '.join(task.classes)}.", SEARCH)


def _source(facts: RunFacts) -> Answer:
    search = facts.search
    kind = " Generated images, not of patients." if search.is_synthetic else ""
    return Answer(f"{search.source}, fingerprint {search.fingerprint[:16]}.{kind}", SEARCH)


def _flow(facts: RunFacts) -> Answer | None:
    if facts.split is None:
        return None
    parts = [
        f"{part}: {', '.join(f'{number} {name}' for name, number in counts.items())}"
        for part, counts in facts.split.counts.items()
    ]
    return Answer(f"Images that have a part in the task, {'; '.join(parts)}.", SPLIT)


def _partition(facts: RunFacts) -> Answer | None:
    split = facts.split
    if split is None:
        return None
    how = f"{split.folds} folds, stratified by class"
    if split.holdout is not None:
        how = f"a validation part of {_share_of_part(facts, split, VALIDATION_PART)}, stratified by class"
    if TEST_PART not in split.counts:
        sealed = "no part was sealed for a test"
    else:
        share = _share_of_part(facts, split, TEST_PART)
        sealed = f"a sealed test part of {share}, stratified likewise"
        if split.has_own_test:
            sealed = f"the sealed test part is the set's own, {share}"
    return Answer(f"{how}; {sealed}; seed {split.seed}.", SPLIT)


def _share_of_part(facts: RunFacts, split: Split, part: str) -> str:
    """Images of a part, their share of all that are scored or trained on, and their patients."""
    images = {
        name: sum(counts.get(one, 0) for one in facts.search.classes)
        for name, counts in split.counts.items()
        if name != EXTRA_PART
    }
    number, every = images[part], sum(images.values())
    groups = sum(fold == _FOLD_OF[part] for fold in split.fold_of_group.values())
    unit = split.unit if split.unit == "patient" or groups < number else "image"
    return f"{number} of {every} images ({number / every:.0%}){of_groups(groups, unit)}"


def _disjoint(facts: RunFacts) -> Answer | None:
    split = facts.split
    if split is None:
        return None
    if split.is_naive:
        return Answer("Images were split without regard to patients, so that scores are too high.", SPLIT)
    if not split.is_grouped:
        return None
    return Answer("No patient is in two parts: all images of a patient are in one fold, or sealed.", SPLIT)


def _audit(facts: RunFacts) -> Answer | None:
    audit = facts.search.audit
    return None if audit is None else Answer("; ".join(audit.lines()) + ".", SEARCH)


def _confounders(facts: RunFacts) -> Answer | None:
    audit = facts.search.audit
    if audit is None or not audit.shortcuts:
        return None
    found = "; ".join(one.text() for one in audit.shortcuts)
    return Answer(f"How well something that is not the tissue tells the label, as an AUC: {found}.", SEARCH)


def _no_confounders(facts: RunFacts) -> str:
    audit = facts.search.audit
    if audit is None:
        return f"{_NO_AUDIT}, both of which score shortcuts"
    return f"the audit scored no shortcuts, since {audit.unscored or 'there was nothing to score'}"


def _label_codes(facts: RunFacts) -> Answer:
    search = facts.search
    return Answer(
        f"Labels are read by the code book {search.label_codes}: {', '.join(search.classes)}.", SEARCH
    )


def _preparation(facts: RunFacts) -> Answer | None:
    settings = {name: facts.setting(name) for name in _INPUT}
    shown = ", ".join(f"{name} {value}" for name, value in settings.items() if value)
    if not shown:
        return None
    before = ""
    if facts.patch_set is not None and facts.patch_set.preparation is not None:
        before = f"Before that: {Preparation.from_dict(dict(facts.patch_set.preparation)).sentence}. "
    return Answer(f"{before}Of the shipped model's members: {shown}.", facts.member_file)


def _acquisition(facts: RunFacts) -> Answer | None:
    return _listed(facts, ("vendor", "site", "view", "modality", "machine"), "Recorded of the images: ")


def _demographics(facts: RunFacts) -> Answer | None:
    return _listed(facts, _DEMOGRAPHIC, "Recorded of the images: ")


def _centres(facts: RunFacts) -> Answer | None:
    columns = (facts.patch_set.columns if facts.patch_set is not None else None) or {}
    if "site" not in columns:
        return None
    sites = sorted(set(names_of(columns["site"]).tolist()) - {""})
    return Answer(f"{count_text(len(sites), 'site')}: {', '.join(sites[:8])}.", "data of the store")


def _test_size(facts: RunFacts) -> Answer | None:
    if facts.split is None or TEST_PART not in facts.split.counts:
        return None
    said = ", ".join(f"{number} {name}" for name, number in facts.split.counts[TEST_PART].items())
    return Answer(f"The sealed test part has {sum(facts.sealed.values())} images: {said}.", SPLIT)


def _sample_size(facts: RunFacts) -> Answer | None:
    found = facts.headline
    if found is None:
        return None
    own = found.predictions
    counts = ", ".join(
        f"{int((own.labels == place).sum())} {name}" for place, name in enumerate(facts.search.classes)
    )
    groups = count_text(len(set(own.groups.tolist())), facts.group_unit)
    whose = "" if facts.group_unit == "image" else f" of {groups}"
    return Answer(
        f"{len(own.labels)} {facts.units}{whose} were predicted out of fold: {counts}.",
        SPLIT,
    )


def _listed(facts: RunFacts, wanted: tuple[str, ...], before: str) -> Answer | None:
    columns = (facts.patch_set.columns if facts.patch_set is not None else None) or {}
    found = [name for name in wanted if name in columns]
    return Answer(f"{before}{', '.join(found)}.", "data of the store") if found else None


QUESTION = Evidence("question", "state the question", _question)
SOURCE = Evidence("source", "name the data", _source)
FLOW = Evidence("flow", "count the images of each part and class", _flow)
PARTITION = Evidence("partition", "say how the data were cut", _partition)
DISJOINT = Evidence(
    "disjoint",
    "patients are not known in these data, so that nobody can tell whether the parts share some",
    _disjoint,
)
AUDIT = Evidence("audit", _NO_AUDIT, _audit)
CONFOUNDERS = Evidence("confounders", _no_confounders, _confounders)
LABEL_CODES = Evidence("label_codes", "say what the labels mean", _label_codes)
PREPARATION = Evidence("preparation", "say how images were made ready", _preparation)
ACQUISITION = Evidence("acquisition", "the set has no column on machine, site or view", _acquisition)
DEMOGRAPHICS = Evidence("demographics", "the set has no column on age, density or ethnicity", _demographics)
CENTRES = Evidence("centres", "the set has no column on the site", _centres)
TEST_SIZE = Evidence("test_size", "no part was sealed for the test", _test_size)
SAMPLE_SIZE = Evidence("sample_size", "no trial has run to its end", _sample_size)
