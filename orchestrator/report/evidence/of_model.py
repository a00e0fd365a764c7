"""Evidence about the model: what it is built of, how it was trained and chosen, and how one uses it."""

from typing import Final

from orchestrator.report.evidence.of_data import SEARCH
from orchestrator.report.facts import RunFacts
from orchestrator.report.item_evidence import Answer, Evidence
from results.ensembles.ensemble import Ensemble
from results.ensembles.weighted_mean import WeightedMean
from results.scores.decision_rule import said_of_aim, said_of_decisions
from results.scores.settings_text import backbones_of, settings_text
from results.scores.triage import OUTCOMES, TriageRule
from trainables.common.text import count_text, trials_text

_ENSEMBLE: Final = "ensembles/best.json"
_TABLE: Final = "table"
_HAND_CRAFTED: Final = frozenset({"texture", "intensity", _TABLE})
_TRAINING: Final = (
    *("optimizer.name", "optimizer.lr", "training.epochs", "training.batch_size", "training.augmentation"),
    *("training.checkpoint_metric", "model.head.hidden", "model.head.dropout"),
)


def _architecture(facts: RunFacts) -> Answer | None:
    if not facts.member_records:
        return None
    said = "; ".join(f"trial {one.number}: {settings_text(one.config)}" for one in facts.member_records)
    return Answer(f"{said}. Every setting is in the records.", facts.member_file)


def _technology(facts: RunFacts) -> Answer | None:
    if not facts.member_records:
        return None
    nets = ", ".join(sorted(_backbones(facts)))
    if nets == _TABLE:
        return Answer("Classification of rows of a table of measurements.", facts.member_file)
    return Answer(
        f"Classification of images with {nets} as fixed or trained feature extractors.",
        facts.member_file,
    )


def _backbones(facts: RunFacts) -> set[str]:
    """Names of all backbones whose features the members take."""
    return {name for one in facts.member_records for name in backbones_of(one.config)}


def _software(facts: RunFacts) -> Answer | None:
    versions = facts.search.versions
    said = ", ".join(f"{name} {one}" for name, one in versions.items())
    return Answer(f"{said}.", SEARCH) if said else None


def _start(facts: RunFacts) -> Answer | None:
    if not facts.member_records:
        return None
    kinds = sorted({str(one.config.get("model.weights", "random")) for one in facts.member_records})
    digests = ", ".join(f"{name} {digest[:12]}" for name, digest in facts.search.weights.items())
    files = f" Files of weights (SHA-256): {digests}." if digests else ""
    return Answer(f"Weights at the start: {', '.join(kinds)}.{files}", facts.member_file)


def _training(facts: RunFacts) -> Answer | None:
    found = {name: facts.setting(name) for name in _TRAINING}
    said = ", ".join(f"{name} {value}" for name, value in found.items() if value)
    return Answer(f"{said}; seed {facts.search.request.seed}.", facts.member_file) if said else None


def _search(facts: RunFacts) -> Answer:
    search = facts.search
    return Answer(
        f"{len(facts.records)} configurations were tried, proposed by {search.sampler}, stopped early by "
        f"{search.pruner}; {len(facts.complete)} ran to their end.",
        SEARCH,
    )


def _selection(facts: RunFacts) -> Answer | None:
    found = facts.headline
    if found is None:
        return None
    metrics = ", ".join(facts.objectives.metrics)
    return Answer(f"Chosen by {metrics}, out of fold: {found.model}. {found.how}", _model_file(facts))


def _ensemble(facts: RunFacts) -> Answer | None:
    chosen = facts.chosen
    if chosen is None:
        return None
    if len(chosen.trials) == 1:
        return Answer(
            f"No ensemble: trial {chosen.trials[0]} alone, as the mean of its fold models.", _ENSEMBLE
        )
    weights = ""
    if isinstance(chosen.fitted, WeightedMean):
        weights = f", weights {', '.join(f'{one:.2f}' for one in chosen.fitted.weights)}"
    return Answer(
        f"{chosen.method} of {trials_text(chosen.trials)}{weights}, each the mean of its fold models.",
        _ENSEMBLE,
    )


def _output(facts: RunFacts) -> Answer | None:
    chosen = facts.chosen
    classes = ", ".join(facts.search.classes)
    if chosen is None:
        return None
    if len(facts.search.classes) > 2:
        return Answer(f"A probability of each class ({classes}); the most probable one is called.", _ENSEMBLE)
    triage = "" if chosen.triage is None else f" {_said_of_triage(chosen.triage)}"
    return Answer(
        f"Calibrated probabilities of {classes}; {facts.search.classes[1]} is called at "
        f"{chosen.threshold:.3f} or more, chosen for {_chosen_for(chosen)} out of fold.{triage}",
        _ENSEMBLE,
    )


def _said_of_triage(rule: TriageRule) -> str:
    """What a rule of two thresholds calls, in a sentence."""
    benign, unsure, recall = OUTCOMES
    return (
        f"A rule of two thresholds, for {rule.aim}, says {benign} below {rule.low:.3f}, {recall} from "
        f"{rule.high:.3f} on, and {unsure} between them."
    )


def _no_output(facts: RunFacts) -> str:
    fixes = ", which fixes the threshold" if len(facts.search.classes) == 2 else ""
    return f"build ensembles{fixes}: orchestrate ensemble RUN"


def _chosen_for(chosen: Ensemble) -> str:
    aim, prevalence = said_of_aim(chosen.best_for, chosen.operation.at), chosen.operation.prevalence
    return aim if prevalence is None else f"{aim} at prevalence {prevalence:g}"


def _imbalance(facts: RunFacts) -> Answer | None:
    found = {name: facts.setting(name) for name in ("training.class_weight", "training.sampling")}
    said = ", ".join(f"{name} {value}" for name, value in found.items() if value)
    decided = said_of_decisions(
        len(facts.search.classes), "probabilities are calibrated out of fold afterwards"
    )
    return Answer(f"{said}; {decided}.", facts.member_file) if said else None


def _size(facts: RunFacts) -> Answer | None:
    found = facts.headline
    known = [one for one in facts.member_records if one.trained_parameters is not None]
    if found is None or not known:
        return None
    counts = ", ".join(f"trial {one.number}: {one.trained_parameters:,}" for one in known)
    groups = count_text(len(set(found.predictions.groups.tolist())), facts.group_unit)
    return Answer(f"Trained weights of a fold's model, {counts}; predicted were {groups}.", facts.member_file)


def _use(facts: RunFacts) -> Answer | None:
    if not facts.readable:
        return None
    command = facts.run.command("export", "--out", "bundle/")
    return Answer(
        f"{command} writes one ONNX file with manifest and card; orchestrate predict bundle/ IMAGE... "
        f"predicts.",
        _model_file(facts),
    )


def _bad_input(facts: RunFacts) -> Answer:
    return Answer(
        "Files that cannot be read, or whose size or shape is far outside of the training images, are "
        "named and "
        "get no prediction.",
        "model_card.md of an export",
    )


def _indeterminate(facts: RunFacts) -> Answer:
    chosen = facts.chosen
    if chosen is not None and chosen.triage is not None:
        return Answer(_said_of_triage(chosen.triage), _ENSEMBLE)
    return Answer("Every image gets a call; there is no indeterminate result.", _model_file(facts))


def _no_segmentation(facts: RunFacts) -> Answer:
    return Answer(
        "Not applicable: no segmentation is part of the model, whole images are classified.", SEARCH
    )


def _no_handcrafted(facts: RunFacts) -> Answer | None:
    nets = _backbones(facts)
    if not nets or nets & _HAND_CRAFTED:
        return None
    return Answer(
        "Not applicable: no hand-crafted features, a network computes them from pixels.", facts.member_file
    )


def _repeat(facts: RunFacts) -> Answer:
    command = facts.search.command or "a call from Python, whose options are recorded"
    return Answer(f"{command}; seed {facts.search.request.seed}.", SEARCH)


def _stored(facts: RunFacts) -> Answer:
    return Answer(
        "Out-of-fold predictions of every complete trial (trials/*/oof.npz) and each look at the test part "
        "(test_openings.jsonl) are kept.",
        "trials/",
    )


def _model_file(facts: RunFacts) -> str:
    return _ENSEMBLE if facts.chosen is not None else "leaderboard.csv"


TECHNOLOGY = Evidence("technology", "no trial has run to its end", _technology)
ARCHITECTURE = Evidence("architecture", "no trial has run to its end", _architecture)
SOFTWARE = Evidence("software", "the record names no versions", _software)
START = Evidence("start", "no trial has run to its end", _start)
TRAINING = Evidence("training", "no trial has run to its end", _training)
SEARCHED = Evidence("search", "no search was run", _search)
SELECTION = Evidence("selection", "no trial has run to its end", _selection)
ENSEMBLE = Evidence("ensemble", "build ensembles: orchestrate ensemble RUN", _ensemble)
OUTPUT = Evidence("output", _no_output, _output)
IMBALANCE = Evidence("imbalance", "no trial has run to its end", _imbalance)
SIZE = Evidence("size", "the records do not count the trained weights", _size)
USE = Evidence("use", "no trial has run to its end", _use)
BAD_INPUT = Evidence("bad_input", "say what happens to images that cannot be used", _bad_input)
INDETERMINATE = Evidence("indeterminate", "say how unclear results are handled", _indeterminate)
NO_SEGMENTATION = Evidence("no_segmentation", "describe the segmentation", _no_segmentation)
NO_HANDCRAFTED = Evidence(
    "no_handcrafted", "describe the hand-crafted features of the members", _no_handcrafted
)
REPEAT = Evidence("repeat", "name the command", _repeat)
STORED = Evidence("stored", "say where outputs are kept", _stored)
