"""A mistake on the command line is one sentence that names what was probably meant."""

from importlib.metadata import version

import pytest

from orchestrator.cli.main import EXIT_CODES, main


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.strip()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("serach", "did you mean search?"),
        ("recipes lst", "did you mean list?"),
        ("leaderboard latest --format jsno", "did you mean json?"),
        ("search idc --trails 3", "orchestrate search: unknown option --trails; did you mean --trials?"),
        ("search idc --trails=3", "orchestrate search: unknown option --trails; did you mean --trials?"),
        ("prefix list --stroe x", "orchestrate prefix list: unknown option --stroe; did you mean --store?"),
        ("leaderboard latest more", "orchestrate leaderboard: unexpected argument 'more'."),
        (
            "export latest --uot x",
            "unknown option --uot; did you mean --out?; the following arguments are required: --out.",
        ),
        ("leaderboard latest --xyzzy", "unknown option --xyzzy. See orchestrate leaderboard --help"),
        ("--verison", "unknown option --verison; did you mean --version?"),
        ("search idc --trials abc", "argument --trials: invalid int value: 'abc'."),
    ],
)
def test_a_mistake_is_one_sentence_with_the_nearest_name(
    typed: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = said(capsys, *typed.split())
    assert message in printed
    assert printed.endswith("--help")


def test_what_is_typed_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in said(capsys, "leaderboard", "latest", "--\x1b[2J")


def test_a_value_that_looks_like_a_number_is_no_unknown_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown option" not in said(capsys, "leaderboard", "--top", "-3")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"orchestrate {version('breast-image-orchestrator')}\n"


def test_the_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.rpartition("Exit codes:")[2].split())
    assert [code for code in EXIT_CODES if f"{code} " in text] == [0, 1, 2, 130]
