"""What commands of the shell say to `ray start`."""

import pytest

from cluster.start_commands import ray_starts


@pytest.mark.parametrize(
    ("command", "asks"),
    [
        ("RAY_AUTH_MODE=token ray start --head", [True]),
        (
            "ulimit -n 65536 2>/dev/null; cd ~/a && X=1 RAY_AUTH_MODE=token ~/venv/bin/ray start --head",
            [True],
        ),
        ("export RAY_AUTH_MODE=token\nray start --head", [True]),
        ("RAY_AUTH_MODE=token env nice -n 5 ray start --head", [True]),
        ("RAY_AUTH_MODE=token bash -c 'cd a; ray start --head'", [True]),
        ("ray start --head", [False]),
        ("RAY_AUTH_MODE=disabled ray start --head", [False]),
        ("RAY_AUTH_MODE=token; ray start --head", [False]),  # a variable of the shell, which Ray does not get
        ("export RAY_AUTH_MODE=token; unset RAY_AUTH_MODE; ray start --head", [False]),
        ("ray start --head RAY_AUTH_MODE=token", [False]),
        ("bash -c 'ray start --head'", [False]),
        ("RAY_AUTH_MODE=token ray start --head || ray start --head", [True, False]),
        ("$(which ray start) --head", [False]),  # not understood, so not trusted
        ("RAY_AUTH_MODE=token ray stop; ray status", []),
        ("", []),
    ],
)
def test_a_ray_asks_for_the_token_if_the_variable_is_set_for_it(command: str, asks: list[bool]) -> None:
    assert [start.asks_for_token for start in ray_starts(command)] == asks


def test_options_are_read_in_both_forms_and_behind_commands_within() -> None:
    (start,) = ray_starts(
        "ray start --head --port 7001 --dashboard-port=$(python -m cluster.free_port 8265) --num-cpus=2 "
        "--block"
    )
    assert start.options["--port"] == "7001"
    assert start.options["--num-cpus"] == "2"
    assert (start.options["--head"], start.options["--block"]) == ("", "")


def test_a_quotation_without_an_end_is_read_word_by_word() -> None:
    (start,) = ray_starts("RAY_AUTH_MODE=token ray start --head --port=1 'x")
    assert (start.asks_for_token, start.options["--port"]) == (True, "1")
