"""Documentation says what the code says: tables, names of files, tasks, verbs and settings."""

import re
from pathlib import Path

import pytest
from generate import made, whole

from orchestrator.cli.main import VERBS
from results.export import manifest
from trainables.common.disk_room import FOR_INSTALLATION_GIB
from trainables.config.tasks import TASKS
from trainables.config.trial_config import setting_names

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")])
FILE_NAME = re.compile(r"\w+\.(onnx|json|md|py)")
# What was true on a day stays as it was written.
HISTORY = {ROOT / "docs" / "lab_log.md", ROOT / "CHANGELOG.md"}
CURRENT = [page for page in PAGES if page not in HISTORY]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_made_from_the_code(page: Path) -> None:
    text = page.read_text()
    assert made(text) == text, "run: python docs/generate.py"


def test_reference_pages_and_diagrams_are_made_from_the_code() -> None:
    files = whole()
    assert len(files) >= 7
    assert [path.name for path, text in files.items() if path.read_text() != text] == [], (
        "run: python docs/generate.py"
    )


def test_the_page_of_files_names_every_path_of_a_run_once() -> None:
    text = (ROOT / "docs" / "reference-files.md").read_text()
    paths = re.findall(
        r"^\| `(\S+)` \|", text.partition("## Run folder")[2].partition("###")[0], re.MULTILINE
    )
    assert len(paths) == len(set(paths))
    assert {"trials/NUMBER/checkpoint.safetensors", "ensembles/ENSEMBLE.json", "outer/FOLD"} <= set(paths)
    assert {"students/METHOD-NUMBER", "bundle", "report.html", "prediction_costs.json"} <= set(paths)


def test_the_page_of_files_names_every_file_of_a_bundle() -> None:
    text = (ROOT / "docs" / "reference-files.md").read_text()
    named = re.findall(r"^\| `(\S+)` \|", text.partition("## Bundle")[2].partition("###")[0], re.MULTILINE)
    texts = (value for value in vars(manifest).values() if isinstance(value, str))
    files = {text for text in texts if FILE_NAME.fullmatch(text)}
    assert len(files) >= 8
    assert set(named) == files


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_cell_that_explains_is_left_without_words(page: Path) -> None:
    rows = [line for line in page.read_text().splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == [], "say what it is in the docstring"


def test_the_pages_with_tables_are_there() -> None:
    marked = {page.name for page in PAGES if "<!-- made: " in page.read_text()}
    assert marked >= {"architecture.md", "how-to-data.md", "how-to-search.md"}


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:orchestrator|search_spaces|cluster|results|trainables|tests|benchmarks|docs)/[\w./-]+)`",
        page.read_text(),
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[\w-]+)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_every_setting_that_is_held_exists(page: Path) -> None:
    held = re.findall(r"--set ([a-z_.0-9]+)=", page.read_text())
    of_clusters = ("provider.", "auth.")  # of the files for `ray up`, which have --set too
    assert [name for name in held if name not in setting_names() and not name.startswith(of_clusters)] == []


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_every_verb_exists(page: Path) -> None:
    text = re.sub(r"^```(python|diff) title=.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    typed = re.findall(r"^orchestrate (\w+)|`orchestrate (\w+)", text, flags=re.MULTILINE)
    assert [verb for pair in typed for verb in pair if verb and verb not in VERBS] == []


def test_the_first_page_names_every_task() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in TASKS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_every_benchmark_that_is_named_has_the_options_that_are_typed(page: Path) -> None:
    typed = re.findall(r"python -m benchmarks\.(\w+)([^`\n]*)", page.read_text())
    for name, options in typed:
        folder = ROOT / "benchmarks" / name
        source = (folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py")).read_text()
        assert [flag for flag in re.findall(r"--[a-z-]+", options) if f'"{flag}"' not in source] == []


def test_the_pages_name_benchmarks() -> None:
    named = {
        name for page in CURRENT for name in re.findall(r"python -m benchmarks\.(\w+)", page.read_text())
    }
    assert named >= {"search_throughput", "overhead", "pipeline"}


def test_the_tutorial_says_what_the_two_commands_run() -> None:
    lines = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin").replace("$(PYTHON)", "python3")
    for name, value in re.findall(r"^(\w+) \?= (\S+)$", lines, flags=re.MULTILINE):
        lines = lines.replace(f"$({name})", value)
    lines = lines.replace(" --quiet --disable-pip-version-check", "")
    recipes = dict(re.findall(r"^([\w./-]+):[^\n]*\n((?:\t[^\n]*\n)+)", lines, flags=re.MULTILINE))
    text = (ROOT / "docs" / "tutorial-command-line.md").read_text().replace(" && ", "\n")
    typed = {
        line
        for target in (".venv/.installed", "search", "check", "test")
        for line in recipes[target].split("\n")
    }
    commands = [
        line.strip() for line in typed if line.strip() and "sys.exit" not in line and "touch" not in line
    ]
    assert len(commands) >= 8
    assert [command for command in commands if f"\n{command}\n" not in text] == []


def test_every_page_is_one_click_from_the_first_one() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", (ROOT / "README.md").read_text()))
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.ipynb"), *ROOT.glob("C*.md")]
    named = {str(page.relative_to(ROOT)) for page in pages}
    assert {"docs/security.md", "CHANGELOG.md"} <= named
    assert sorted(named - linked) == []


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial-command-line.md", "docs/how-to-cluster.md"])
def test_pages_ask_for_the_disk_that_is_checked(page: str) -> None:
    text = " ".join((ROOT / page).read_text().split())
    asked = re.findall(r"(\d+) GiB of free disk", text)
    assert set(asked) == {str(FOR_INSTALLATION_GIB)}
    assert re.findall(r"of which (\d+) GB stay", text) == ["7"]


def test_the_first_page_shows_how_a_dgx_is_started() -> None:
    text = (ROOT / "README.md").read_text()
    start, search = text.index("ray up cluster/dgx.yaml"), text.rindex("orchestrate search benign_malignant")
    assert text.index("three marked lines") < start < search


def test_the_glossary_says_each_word_once_in_the_order_of_the_alphabet() -> None:
    rows = (ROOT / "docs" / "glossary.md").read_text().splitlines()[4:]
    words = [row.split("|")[1].strip().casefold() for row in rows if row.startswith("|")]
    assert words == sorted(set(words))
    assert {"metric", "front", "requirement", "sampler", "pruner", "trial", "search space"} <= set(words)
