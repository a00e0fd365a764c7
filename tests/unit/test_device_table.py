"""The table of a device: every part is asked, and one that fails, is missing or takes too long says so."""

import pytest

from benchmarks.device_table import Part, answer_of, as_markdown, parts_for
from benchmarks.search_throughput import read_arguments


def part(code: str, *needs: str) -> Part:
    return Part("a part", ("-c", code), needs)


@pytest.mark.parametrize(
    ("code", "status"), [("print('asked')", "ok"), ("print('asked'); raise SystemExit(3)", "failed")]
)
def test_a_part_answers_with_what_it_prints(code: str, status: str) -> None:
    found = answer_of(part(code), 60.0, "cpu")
    assert (found.status, found.text) == (status, "asked\n")
    assert found.seconds > 0


def test_a_part_whose_package_is_missing_is_left_out_and_says_which() -> None:
    found = answer_of(part("print('asked')", "torch", "no_such_package"), 60.0, "cpu")
    assert (found.status, found.text) == ("left out", "needs no_such_package, not installed here")


def test_a_part_that_takes_too_long_is_stopped_with_what_it_has_printed() -> None:
    code = "import time; print('begun', flush=True); time.sleep(60)"
    found = answer_of(part(code), 2.0, "cpu")
    assert (found.status, found.text) == ("stopped", "begun\n")
    assert found.seconds < 30
    assert answer_of(part(code), 0.0, "cpu").text == "no time was left"


def test_the_tests_are_told_the_device() -> None:
    code = "import os; print(os.environ['TEST_DEVICE'])"
    assert answer_of(part(code), 60.0, "cpu").text == "cpu\n"


def test_the_page_has_every_part_with_its_command() -> None:
    answers = [answer_of(part("print(1)"), 60.0, "cpu")]
    page = as_markdown(answers, "a machine")
    assert page.startswith("# a machine\n")
    assert "| a part | " in page
    assert "`python -c print(1)`" in page


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_benchmark_is_told_the_device(device: str) -> None:
    asked = [own.arguments for own in parts_for(device, None) if "benchmarks." in own.arguments[1]]
    assert len(asked) == 4
    assert sum(("--device", device) == own[2:4] for own in asked) == 3  # a search finds the GPU by itself


def test_the_search_of_the_table_is_one_that_its_benchmark_runs() -> None:
    parts = parts_for("cpu", None)
    searches = [own.arguments for own in parts if own.arguments[1] == "benchmarks.search_throughput"]
    assert [read_arguments(words[2:]).plain_sample for words in searches] == [2]
