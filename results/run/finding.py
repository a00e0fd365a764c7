"""The run folder that a user means, by path, name or `latest`."""

import difflib
from pathlib import Path

from results.errors import RunError
from results.run.origin import check_holds_no_links
from results.run.run_folder import RunFolder
from trainables.common.text import command_text, is_uri, typed_path


def find_run(text: str, root: Path) -> RunFolder:
    """Return the run folder that the user means.

    Args:
        text: Path of a run folder, `TASK/NAME` below `root`, a bare `NAME`, or `latest`.
        root: Folder of all runs.

    Raises:
        RunError: If there is none, several have the bare name, or it was made elsewhere and holds links.
    """
    run = _named(text, root)
    check_holds_no_links(run)
    return run


def _named(text: str, root: Path) -> RunFolder:
    if is_uri(text):
        copy = command_text("orchestrate", "fetch", "URI", "TASK/NAME")
        raise RunError(
            f"{text} is at a storage, and a run is worked on in a folder of this machine; copy it here "
            f"first, with the URI that --results was given: {copy}"
        )
    if text == "latest":
        found = sorted(root.glob("*/*/search.yaml"), key=lambda path: path.stat().st_mtime)
        if not found:
            where = () if root == Path("runs") else ("--runs", typed_path(root))
            start = command_text("orchestrate", "search", "benign_malignant", *where)
            raise RunError(f"no run in {root} yet; start one with: {start}")
        return RunFolder(found[-1].parent)
    for candidate in (Path(text), root / text):
        if (candidate / "search.yaml").is_file():
            return RunFolder(candidate)
    named = [path.parent for path in root.glob(f"*/{text}/search.yaml")] if "/" not in text else []
    if len(named) == 1:
        return RunFolder(named[0])
    if named:
        raise RunError(f"{text!r} names several runs: {', '.join(map(str, named))}; name one by TASK/NAME")
    known = sorted(str(path.parent.relative_to(root)) for path in root.glob("*/*/search.yaml"))
    by_name = {name.rpartition("/")[2]: name for name in known} | {name: name for name in known}
    near = difflib.get_close_matches(text, by_name, n=1)
    hint = f"; did you mean {by_name[near[0]]}?" if near else "."
    raise RunError(
        f"no run {text!r}: neither a run folder nor a name below {root}{hint} "
        f"Known: {', '.join(known) or 'none; --runs names another folder of runs'}. A search that ended "
        "before its first trial has left no run: start it again"
    )
