"""`orchestrate completion`."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

HELP = "print a script that completes verbs, options and names in your shell"
EPILOG = """\
Completed are verbs, options and their choices, tasks, recipes, ensemble
methods, files, and the runs below --runs. Write the script anew after an
update of the program.

examples:
  orchestrate completion bash > \\
      ~/.local/share/bash-completion/completions/orchestrate
  orchestrate completion zsh > ~/.zfunc/_orchestrate
      with fpath+=(~/.zfunc) before compinit in ~/.zshrc
  orchestrate completion tcsh > ~/.orchestrate.tcsh
      with source ~/.orchestrate.tcsh in ~/.tcshrc
"""

_SHELLS: Final = ("bash", "zsh", "tcsh")
_FOLDERS: Final = ("runs", "store", "shared_store", "weights_dir", "out", "bundle", "explain")
_FILES: Final = ("data", "start_from", "type_from")  # texts that may be paths, too

# Runs are looked up when the key is pressed, below the --runs that was typed.
_PREAMBLE: Final = MappingProxyType(
    {
        "bash": """\
_orchestrate_runs() {
  local folder=runs i path
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ "${COMP_WORDS[i]}" == --runs ]] && folder="${COMP_WORDS[i + 1]}"
  done
  local -a names=(latest)
  for path in "$folder"/*/*/search.yaml; do
    [[ -f "$path" ]] || continue
    path="${path%/search.yaml}"
    names+=("${path#"$folder"/}")
  done
  compgen -W "${names[*]}" -- "$1"
  compgen -d -- "$1"
}
""",
        "zsh": """\
_orchestrate_runs() {
  local folder=runs
  local -i at=${words[(I)--runs]}
  (( at )) && folder=${words[at + 1]}
  local -a names=(latest ${folder}/*/*/search.yaml(N:h))
  compadd -- ${names#$folder/}
  _files -/
}
""",
        "tcsh": "",
    }
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=", ".join(_SHELLS))


def run(arguments: argparse.Namespace) -> int:
    """Print the script; returns the exit code."""
    print(script(arguments.root, arguments.shell))
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script of a parser.

    Args:
        parser: Parser of all verbs; its actions get marks for the script.
        shell: `bash`, `zsh` or `tcsh`.
    """
    import shtab

    names = _names()
    for action in _actions(parser):
        _mark(action, names)
    return str(shtab.complete(parser, shell=shell, preamble=_PREAMBLE[shell]))


def _mark(action: argparse.Action, names: Mapping[str, Callable[[], tuple[str, ...]]]) -> None:
    """Tell shtab what a value of this action may be."""
    import shtab

    if action.choices is not None:
        return
    if action.dest == "run":
        _set_complete(action, {"bash": "_orchestrate_runs", "zsh": "_orchestrate_runs", "tcsh": "d"})
    elif action.dest in names:
        action.choices = names[action.dest]()
    elif action.dest in _FOLDERS:
        _set_complete(action, shtab.DIRECTORY)
    elif action.type is Path or action.dest in _FILES:
        _set_complete(action, shtab.FILE)


def _set_complete(action: argparse.Action, how: Any) -> None:
    action.complete = how  # type: ignore[attr-defined]  # where shtab looks for it


def _names() -> Mapping[str, Callable[[], tuple[str, ...]]]:
    """Destination of an argument -> its known names, which need not be the only ones."""
    from results.ensembles.methods import METHODS
    from search_spaces.recipes import RECIPES
    from trainables.config.tasks import TASKS

    recipes = tuple(dict.fromkeys(recipe.name for recipe in RECIPES))
    methods = tuple(METHODS)
    return MappingProxyType(
        {
            "task": lambda: tuple(TASKS),
            "recipe": lambda: recipes,
            "recipes": lambda: recipes,
            "methods": lambda: methods,
            "ensemble": lambda: ("best", "best_single", *methods, "baseline"),
        }
    )


def _actions(parser: argparse.ArgumentParser) -> Iterator[Any]:
    """All actions of a parser and of the verbs below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)
