"""How to repeat the search, and what it ran on."""

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import table, text
from trainables.common.text import command_text, typed_path


def _build(facts: RunFacts) -> Content:
    search = facts.search
    again = command_text(
        "orchestrate", "search", "--config", typed_path(facts.run.search_file), "--name", "again"
    )
    commands = [*([search.command] if search.command else []), again]
    rows = [
        ("started", f"{search.started_at:%Y-%m-%d %H:%M %Z}"),
        ("data", f"{search.source}, fingerprint {search.fingerprint}"),
        ("seed of split, sampler and training", search.request.seed),
        ("sampler and pruner", f"{search.sampler}, {search.pruner}"),
        ("backbones", ", ".join(search.backbones)),
        *([("recipes tried first", ", ".join(search.recipes))] if search.recipes else []),
        *[(f"weights of {name}", f"SHA-256 {digest}") for name, digest in search.weights.items()],
        ("packages", ", ".join(f"{name} {version}" for name, version in search.versions.items())),
    ]
    said = paragraph(
        "The first command is the one that was typed; the second repeats the search from its record, with "
        "every "
        "option. Equal data give an equal fingerprint."
        if search.command
        else "The search was started from Python; this command repeats it from its record, with every option."
    )
    shown = "".join(f"<pre>{text(command)}</pre>" for command in commands)
    return Content(said + shown + table("What it ran on", ("what", "value"), rows, is_text=True))


REPEAT = Section(130, "repeat", "How to repeat it", _build)
