"""SIGTERM and SIGHUP end a verb as Ctrl-C does; what is ignored stays ignored."""

import os
import signal
import subprocess
import sys

import pytest

from orchestrator.cli.signals import ended_like_ctrl_c


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_and_the_handler_before_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), ended_like_ctrl_c():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_like_ctrl_c():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


VERB = """
import os, signal, sys
from orchestrator.cli import main, recipes
recipes.run = lambda arguments: (os.kill(os.getpid(), getattr(signal, sys.argv[1])), signal.pause())
sys.exit(main.main(["recipes", "list"]))
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_verb_that_is_ended_says_so_and_exits_with_130(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", VERB, name], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "\norchestrate recipes: interrupted\n")
