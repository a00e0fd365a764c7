"""`model_card.md`, the facts that a person should know before using a bundle.

Headings follow Mitchell et al. (2019), "Model cards for model reporting". The fields of FDA's and CHAI's
templates follow, and lie in `model_card.json` for programs.
"""

from results.export.card_templates import TITLES, card_fields, fields_as_markdown
from results.export.manifest import PREPARATION_CODE, PREPARATION_FILE, REFERENCE_FILE, Manifest
from results.export.manifest_parts import Member, ParityCheck, TestScores
from results.run.audit_record import AuditRecord
from results.run.refit_records import models_of_a_fold, said_of_models
from results.run.split_labels import NAIVE, NAIVE_WARNING, scored
from results.scores.calibration import NOISE_SHARE
from results.scores.decision_rule import OUT_OF_FOLD_DECISIONS, said_of_decisions
from results.scores.fixed_model_table import said_of_thresholds
from results.scores.interval import Interval
from results.scores.metrics import shown_metric
from results.scores.outer_table import sentences
from trainables.common.text import printable
from trainables.config.unit_config import PLURALS
from trainables.data.group_names import of_groups
from trainables.data.mammogram.preparation import Preparation


def model_card(manifest: Manifest) -> str:
    """Write the card of a bundle as Markdown."""
    sections = [
        f"# Model card: {manifest.name}",
        *([_SYNTHETIC] if manifest.is_synthetic else []),
        *([f"> **NAIVE SPLIT.** {NAIVE_WARNING}"] if manifest.split == NAIVE else []),
        f"## Model details\n\n{_details(manifest)}",
        f"## Intended use\n\n{_intended_use(manifest)}",
        f"## Factors\n\n{_factors(manifest)}",
        f"## Metrics\n\n{_metrics(manifest)}",
        f"## Evaluation data\n\n{_evaluation_data(manifest)}",
        f"## Training data\n\n{_training_data(manifest)}",
        f"## Quantitative analyses\n\n{_analyses(manifest)}",
        f"## Ethical considerations\n\n{_ETHICS}",
        f"## Caveats and recommendations\n\n{_caveats(manifest)}",
        *(f"## {TITLES[name]}\n\n{_template(manifest, name)}" for name in TITLES),
    ]
    return "\n\n".join(sections) + "\n"


def _template(manifest: Manifest, name: str) -> str:
    return fields_as_markdown([field for field in card_fields(manifest) if field.template == name])


# Beginnings of licences that let one use and hand on weights; others are named at export.
_FREE = ("apache", "mit", "bsd", "cc0", "cc-by-4", "cc-by-3", "isc")
_SYNTHETIC = (
    "> **SYNTHETIC DATA.** This model was trained and scored on generated images. Its numbers show that the\n"
    "> software works; they say nothing about patients."
)
_FOLDS_SEEN = "Each fold model saw the folds other than its own."
_ALL_SEEN = (
    "The model was trained on all of them after the search. {What} are those of fold models of the same\n"
    "configuration, each of which saw the folds other than its own."
)
_ETHICS = (
    "A missed malignancy delays treatment and a false alarm leads to worry and biopsies; the model weighs\n"
    "neither. It was trained on labels that people and pathology gave, with their errors. It holds no\n"
    f"images. But `{REFERENCE_FILE}` holds an unsalted digest of every image of the training and of\n"
    "the sealed part, and of local data that it was calibrated on: whoever has the file of an image can\n"
    "tell for certain whether it is among them.\n"
    "As any trained model, the model itself may leak it, too; treat both as the data are treated."
)

_ORDER = (
    "\n\nQWKappa is Cohen's kappa with quadratic weights (1 is full agreement), Distance the mean number of "
    "classes\nbetween call and truth (0 is best)."
)
_SUBGROUPS_UNKNOWN = (
    "Age, ethnicity, breast density, machine and site are not recorded in the data, so performance was not "
    "compared between them."
)
_TELEMETRY = (
    "- ONNX Runtime may note what it runs and send it to its maker; its packages for Linux do. With a\n"
    "  runtime of your own set `ORT_DISABLE_TELEMETRY=1` before it is loaded, as `orchestrate predict` does."
)


def _details(manifest: Manifest) -> str:
    lines = [
        f"- Question: {manifest.question}",
        f"- Classes: {', '.join(manifest.classes)}; {_about_classes(manifest)}",
        f"- Model: {manifest.method}, {len(manifest.members)} member(s)",
        *_about_unit(manifest),
        f"- Input `{manifest.input.name}`: {manifest.input.how_to_feed}.",
        *(f"- Input `{extra.name}`: {extra.how_to_feed}." for extra in manifest.extra_inputs),
        *_preparation_lines(manifest),
        *_origins(manifest),
        *_licence_lines(manifest),
        *_change_lines(manifest),
        f"- Output `{manifest.output.partition(':')[0]}`: {manifest.output.partition(': ')[2]}",
        f"- File: `model.onnx`, opset {manifest.onnx_opset}, SHA-256 `{manifest.sha256}`",
        f"- Made: {manifest.created_at:%Y-%m-%d} with "
        + ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
    ]
    head = (
        "| trial | features | weights | cut | head | trained stages | folds | views | weight |\n|"
        + " --- |" * 9
    )
    return "\n".join(lines) + "\n\n" + "\n".join([head, *map(_member_row, manifest.members)])


def _preparation_lines(manifest: Manifest) -> list[str]:
    if manifest.preparation is None:
        return []
    steps = Preparation.from_dict(manifest.preparation)
    return [
        f"- Made ready before the model: {steps.sentence}. `orchestrate predict` does so by itself; other "
        f"programs import `{PREPARATION_CODE}`, with the values of `{PREPARATION_FILE}` (SHA-256 "
        f"`{steps.digest}`)."
    ]


def _change_lines(manifest: Manifest) -> list[str]:
    """What a student or a lower precision changed; nothing for a model as the search made it."""
    changes = [change for change in (manifest.distilled, manifest.precision) if change is not None]
    said = [". ".join(change.sentences(manifest.cost)) for change in changes]
    return [f"- {sentence[0].upper()}{sentence[1:]}." for sentence in said]


def _about_classes(manifest: Manifest) -> str:
    if manifest.threshold is not None:
        return f"positive is `{manifest.positive}`"
    return "in this order of degree" if manifest.is_ordinal else "each is scored against the rest"


def _about_unit(manifest: Manifest) -> list[str]:
    if manifest.unit == "image":
        return []
    rules = ", ".join(
        f"trial {member.trial}: {member.settings.get('unit.combine', 'mean')}" for member in manifest.members
    )
    return [
        f"- Unit: a {manifest.unit}. Its images are predicted one by one with `model.onnx` and combined with "
        f"`units.onnx` ({rules}); an image may be missing. All scores, the calibration and the threshold are "
        f"of {PLURALS[manifest.unit]}."
    ]


def _origins(manifest: Manifest) -> list[str]:
    """Lines about weights and finding types that members take from trials of other searches."""
    started = [
        f"- Trial {member.trial} went on from the weights of {member.started_from}."
        for member in manifest.members
        if member.started_from
    ]
    told = [
        f"- Trial {member.trial} is told mass or calcification by {member.told_by}, which is in the file too."
        for member in manifest.members
        if member.told_by
    ]
    return started + told


def licences_of(manifest: Manifest) -> dict[str, str]:
    """Return backbone -> licence of its published weights, which the file holds; empty where not known."""
    return {name: licence for member in manifest.members for name, licence in member.licences.items()}


def licence_warnings(manifest: Manifest) -> list[str]:
    """Return a sentence for each licence that forbids or may forbid what one does with a model."""
    found = []
    for name, licence in licences_of(manifest).items():
        if not licence:
            found.append(f"the licence of the weights of {name} is not known; find out before you hand it on")
        elif not licence.lower().startswith(_FREE):
            found.append(
                f"the weights of {name} are under {licence}: read it before you use or hand on the file"
            )
    return found


def _licence_lines(manifest: Manifest) -> list[str]:
    named = [f"{name}: {licence or 'not known'}" for name, licence in licences_of(manifest).items()]
    return [f"- Licences of the weights in the file: {', '.join(named)}."] if named else []


def _member_row(member: Member) -> str:
    weight = "stacked" if member.weight is None else f"{member.weight:.3f}"
    head = str(member.settings.get("classical.name", "none")).replace("none", "net")
    cells = (member.trial, member.features, member.weights, member.cut, head, member.trained_stages)
    return f"| {' | '.join(map(str, (*cells, member.folds, member.views, weight)))} |"


def _intended_use(manifest: Manifest) -> str:
    may_be_of_films = manifest.preparation is not None
    return (
        f"{manifest.intended_use}\n\n"
        f"Out of scope: {'' if may_be_of_films else 'whole mammograms, '}other views, modalities or "
        "machines than those of the training data, and patches cut in another way."
    )


def _factors(manifest: Manifest) -> str:
    shape = "x".join(map(str, manifest.input.trained_shape))
    return (
        f"Images of the search were {shape} pixels with values from 0 to {manifest.input.max_value:g}. "
        f"{_SUBGROUPS_UNKNOWN if not manifest.subgroups else ' '.join(manifest.subgroups)}"
    )


def _metrics(manifest: Manifest) -> str:
    if manifest.threshold is None:
        rule = "The most probable class is called."
    else:
        rule = (
            f"`{manifest.positive}` is called at a calibrated probability of {manifest.threshold:.4f} or "
            f"more, chosen for {manifest.chosen_for} {manifest.decided_on}; {_said_of_others(manifest)}"
            f"{OUT_OF_FOLD_DECISIONS}. Another trade between misses and false alarms needs another threshold."
        )
        if manifest.operation.prevalence is not None or manifest.triage is not None:
            rule += f" Asked of it: {manifest.said_of_operation}."
    data = manifest.data
    unit = f"{data.group_unit}s{'' if data.has_patients else ', since patients are unknown'}"
    return (
        f"{rule} Brackets are 95 % intervals over {unit}; those out of fold cover other training parts, too."
    )


def _said_of_others(manifest: Manifest) -> str:
    if manifest.threshold is None:
        return ""
    others = said_of_thresholds(manifest.thresholds, manifest.threshold, manifest.out_of_fold.metrics)
    return f"scores are at this threshold, {others}; " if others else ""


def _evaluation_data(manifest: Manifest) -> str:
    if manifest.data.folds == 1:
        where = f"a validation part of {manifest.data.held_out} images of the training data"
    else:
        where = f"{manifest.data.folds} folds of the training data"
    out_of_fold = f"Out of fold: {where}; {manifest.out_of_fold.how}."
    if isinstance(manifest.test, TestScores):
        test = manifest.test
        order = "the first opening" if test.opening == 1 else f"opening number {test.opening}"
        whose = of_groups(test.groups, manifest.data.group_unit)
        scored_on = f"{test.images} {PLURALS[manifest.unit]}{whose}"
        said = (
            f"{scored_on}, sealed before the search. These scores are from {order} of {test.openings} so far."
            f"{_sentence(test.unknown_looks)}"
        )
    else:
        said = manifest.said_of_no_test
    return "\n\n".join([out_of_fold, f"Test: {said}", *_precision_lines(manifest)])


def _sentence(words: str) -> str:
    return f" {words[0].upper()}{words[1:]}." if words else ""


def _training_data(manifest: Manifest) -> str:
    data = manifest.data
    counts = ", ".join(f"{number} {name}" for name, number in data.counts.items())
    unit = f"{data.group_unit}s{'' if data.has_patients else ' (no patient identifiers)'}"
    kind = " SYNTHETIC, generated images." if data.is_synthetic else ""
    saw = "The model saw all but the validation part." if data.folds == 1 else _FOLDS_SEEN
    if manifest.is_refitted:
        has_rule = manifest.threshold is not None and manifest.recalibration is None
        saw = _ALL_SEEN.format(
            What="Calibration, threshold and out-of-fold scores" if has_rule else "Out-of-fold scores"
        )
    if data.folds > 1 and data.held_out is not None and data.held_out < data.images:
        extra = data.images - data.held_out
        saw += f" {extra} of the images are extra ones that every fold trained on and none scored."
    audit = "" if manifest.audit is None else f"\n\n{audit_lines(manifest.audit)}"
    return (
        f"{data.images} images of {data.groups} {unit} from {_as_code(data.source)}: {counts}.{kind} "
        f"{saw}\n\nFingerprint: `{data.fingerprint}`{audit}"
    )


def audit_lines(audit: AuditRecord) -> str:
    """Return what the audit of the data found, as a list in Markdown."""
    return "\n".join(
        ["What was looked for in the data before the search:", "", *(f"- {line}" for line in audit.lines())]
    )


def _analyses(manifest: Manifest) -> str:
    test = manifest.test if isinstance(manifest.test, TestScores) else None
    rows = ["| metric | out of fold | test |", "| --- | --- | --- |"]
    out_of_fold = manifest.out_of_fold
    intervals = {"auc": out_of_fold.auc, out_of_fold.metric: out_of_fold.interval}
    for name in dict.fromkeys((out_of_fold.metric, *out_of_fold.metrics)):
        metric = shown_metric(name)
        expected = _long(intervals[name]) if name in intervals else f"{out_of_fold.metrics[name]:.3f}"
        found = str(manifest.test)
        if metric.is_cost:
            found = "the same"
        elif test:
            found = _long(test.metrics[name]) if name in test.metrics else "not computed"
        searched = "" if name != out_of_fold.metric or name == "auc" else ", by which it was chosen"
        rows.append(f"| {scored(metric.header, manifest.split)}{searched} | {expected} | {found} |")
    warning = (
        "\n\nThe out-of-fold numbers are those of a trial that was selected by them; they are too high."
        if manifest.is_single_trial
        else ""
    )
    nested = "" if manifest.nested_search is None else f"\n\n{' '.join(sentences(manifest.nested_search))}"
    lower = "".join(f"\n\n{line}" for line in _precision_lines(manifest))
    return "\n".join(rows) + (_ORDER if manifest.is_ordinal else "") + lower + warning + nested


def _precision_lines(manifest: Manifest) -> list[str]:
    """Which file the scores are of, where it is not this one."""
    return [manifest.said_of_precision] if manifest.precision is not None else []


def _caveats(manifest: Manifest) -> str:
    parity = manifest.parity
    in_float32 = "" if manifest.precision is None else ", before its precision was lowered,"
    return "\n".join(
        [
            "- Not a medical device. It was not validated prospectively, on other sites, or by readers.",
            f"- It knows the patient population of its training data only, and {_of_calibration(manifest)}.",
            *_caveats_of_inputs(manifest),
            *_caveats_of_calibration(manifest),
            *(f"- {said[0].upper()}{said[1:]}." for said in said_of_refits(manifest)),
            *([f"- {manifest.recalibration.text}"] if manifest.recalibration else []),
            _TELEMETRY,
            _caveat_of_other_images(manifest),
            f"- The file{in_float32} was compared on {parity.images} training images{_compared(parity)}.",
            *([f"- It takes {manifest.cost}, on the machine that exported it."] if manifest.cost else []),
        ]
    )


def _of_calibration(manifest: Manifest) -> str:
    holds = f"its calibration holds at {_share_of(manifest)} only"
    return said_of_decisions(len(manifest.classes), holds)


def _share_of(manifest: Manifest) -> str:
    if manifest.operation.prevalence is not None:
        return f"a share of positives of {manifest.operation.prevalence:.3g}"
    local, share = manifest.recalibration, manifest.calibrated_share
    is_local = local is not None and local.has_changed
    place = "local data" if is_local else f"{PLURALS[manifest.unit]} scored out of fold"
    if not is_local and share != manifest.data.share_of(manifest.positive):
        place = "local data that it was fitted on before"
    elif not is_local and not manifest.data.scored:  # of an earlier version
        return "their share of positives"
    return f"a share of positives of {share:.3g}, that of the {place},"


def _caveat_of_other_images(manifest: Manifest) -> str:
    novelty = manifest.novelty
    if novelty is None:
        return "- It answers for any image, also for one that is not a breast image; it has no way to say so."
    naive = (
        " (by models of a naive split, which knew the patients: of new ones it may be more)"
        if manifest.split == NAIVE
        else ""
    )
    return (
        f"- It answers for any image, also for one that is not a breast image; its output `{novelty.output}` "
        f"tells how unlike the training images an image is. `predict` warns at a p of {novelty.level:g} or "
        f"less, which at most a share of {novelty.level:g} of images like those of training have{naive}: a "
        f"conformal p-value by {novelty.images} training images of {novelty.patients} "
        f"{manifest.data.group_unit}s, from {novelty.features} features of {novelty.backbone} "
        f"({novelty.tap}). It does not find what looks like a training image."
    )


def _compared(parity: ParityCheck) -> str:
    left_out = parity.said_of_left_out
    onnx = f"PyTorch and ONNX Runtime differ by {parity.onnx_difference:.1e} at most{left_out}"
    if parity.out_of_fold_difference is None:
        return f": {onnx}. The refitted models have seen them all, so their scores are not compared"
    return (
        f", each held out by a fold model: {onnx}, fold models and the search's own predictions by "
        f"{parity.out_of_fold_difference:.1e}{left_out}"
    )


def _caveats_of_calibration(manifest: Manifest) -> list[str]:
    is_other = manifest.is_refitted or manifest.recalibration is not None
    if manifest.calibration is None or manifest.data.folds == 1 or is_other:
        return []
    return [
        "- Its calibration was fitted to single fold models and is corrected for their mean by half of what "
        "their number could change; on new patients its slope may be off by up to "
        f"{1 / (1 - NOISE_SHARE / manifest.data.folds) - 1:.0%} either way, besides chance."
    ]


def said_of_refits(manifest: Manifest) -> list[str]:
    """Return what is to be said of each member refitted to another number of models than a fold had."""
    if not manifest.is_refitted or manifest.threshold is None or manifest.recalibration is not None:
        return []
    return [
        said_of_models(member.trial, refitted=member.folds, searched=searched)
        for member in manifest.members
        if (searched := models_of_a_fold(member.settings)) != member.folds
    ]


def _caveats_of_inputs(manifest: Manifest) -> list[str]:
    found = []
    if manifest.takes("baseline"):
        found.append(
            "- It compares each image with a healthy patch of the same film. Without one it cannot be used; "
            "a patch of another film, or one with a finding, misleads it."
        )
    if manifest.takes("finding_type"):
        found.append(
            "- It must be told whether the finding is a mass or a calcification; a wrong type misleads it."
        )
    return found


def _as_code(text: str) -> str:
    """A text of the user in Markdown that reads nothing in it as markup."""
    return f"`{printable(text, keeps='').replace('`', chr(39))}`"


def _long(interval: Interval) -> str:
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
