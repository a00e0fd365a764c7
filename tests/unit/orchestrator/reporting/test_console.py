"""What is printed is text, not markup: brackets, colons and control characters of others are shown."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from orchestrator.reporting.console import Sections, print_message, print_next, print_warning
from orchestrator.reporting.plain_console import PlainConsole
from trainables.common.text import command_text, printable

ROOT = Path(__file__).parents[4]
ROOMS = ("orchestrator", "results", "trainables", "search_spaces", "cluster")
FOREIGN = ["a[final].png", "x[/b].png", "[link=https://a.b]c", ":cat:.png", "[bold]x.png", "[[", "\\[a]"]


def console(**options: Any) -> PlainConsole:
    file = io.StringIO()
    return PlainConsole(is_for_messages=False, falls_silent=False, file=file, width=200, **options)


def printed(one: PlainConsole) -> str:
    assert isinstance(one.file, io.StringIO)
    return one.file.getvalue()


@pytest.mark.parametrize("name", FOREIGN)
def test_brackets_and_colons_stay_in_messages_tables_titles_and_captions(name: str) -> None:
    out = console()
    print_message(out, f"read {name}")
    print_warning(out, name)
    table = Table(title=f"title {name}", caption=f"caption {name}")
    table.add_column(name)
    table.add_row(f"cell {name}")
    out.print(table)
    text = printed(out)
    assert all(f"{place} {name}" in text for place in ("read", "title", "caption", "cell"))
    assert text.count(name) == 6


@pytest.mark.parametrize(
    "name", ["a\x1b[2Jb", "a\x9b31mb", "a\x07b", "a\rb", "a\x00b", "a\u202egnp.b", "a\udcffb"]
)
def test_control_characters_are_shown_and_not_obeyed(name: str) -> None:
    out = console(force_terminal=True, color_system="truecolor")
    print_message(out, name)
    table = Table()
    table.add_row(name)
    out.print(table)
    assert printable(name) in printed(out)
    assert name not in printed(out)
    assert "\\" in printable(name)


def test_lines_and_accents_stay() -> None:
    assert printable("é\n日本\t👍🏽") == "é\n日本\t👍🏽"
    assert printable("a\nb", keeps="") == "a\\nb"


@pytest.mark.parametrize(
    "word",
    [
        "a b",
        "a'b",
        'a"b',
        "a[b]",
        "a$b",
        "a;b",
        "~",
        "é",
        "a\nb",
        "a\x1b[2Jb",
        "a\u202eb",
        "-x",
        "a\\\nb",
        "",
    ],
)
def test_a_command_that_is_pasted_into_a_shell_has_its_words_again(word: str) -> None:
    pasted = command_text("show", word, "end")
    assert "\x1b" not in pasted
    done = subprocess.run(
        ["bash", "-c", f"show() {{ printf '%s\\0' \"$@\"; }}; {pasted}"], capture_output=True, check=True
    )
    assert done.stdout.decode().split("\0") == [word, "end", ""]


def test_a_byte_that_is_not_utf_8_survives_pasting() -> None:
    word = os.fsdecode(b"a\xff'b")
    done = subprocess.run(["bash", "-c", f"printf %s {command_text(word)}"], capture_output=True, check=True)
    assert done.stdout == b"a\xff'b"


def test_the_next_command_is_never_folded() -> None:
    out = PlainConsole(
        is_for_messages=True,
        falls_silent=True,
        file=io.StringIO(),
        width=40,
        force_terminal=True,
        color_system=None,
    )
    print_next(out, "orchestrate", "evaluate", f"{'long ' * 40}run")
    assert printed(out).rstrip("\n").count("\n") == 0


def test_the_product_prints_through_one_console() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 100
    makers = [path.name for path in files if re.search(r"[^n]Console\((?!Console)", path.read_text())]
    assert makers == []


def test_results_end_quietly_when_their_reader_has_gone() -> None:
    verb = f"{sys.executable} -m orchestrator.cli.main recipes list"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {verb} | head -1"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "recipes" in done.stdout


@pytest.mark.parametrize(("falls_silent", "is_done"), [(True, True), (False, False)])
def test_work_that_must_be_done_goes_on_when_the_reader_of_its_results_has_gone(
    tmp_path: Path, falls_silent: bool, is_done: bool
) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from orchestrator.reporting.console import results\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        f"console = results(falls_silent={falls_silent})\n"
        "console.print('a'); console.print('b'); Path('done').touch()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, cwd=tmp_path)
    assert (done.returncode == 0) is is_done
    assert (tmp_path / "done").exists() is is_done


def test_messages_fall_silent_when_their_reader_has_gone() -> None:
    script = (
        "import os, sys\n"
        "from orchestrator.reporting.console import messages, print_message\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 2)\n"
        "console = messages()\n"
        "print_message(console, 'a'); print_message(console, 'b'); print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("error", [ValueError("the first"), KeyboardInterrupt()])
def test_facts_that_fail_too_do_not_replace_the_error_at_hand(error: BaseException) -> None:
    def facts() -> dict[str, str]:
        raise RuntimeError("the second")

    with pytest.raises(type(error)) as caught, Sections("json", facts):
        raise error
    assert caught.value is error
