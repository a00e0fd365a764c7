"""`orchestrate prefix` says what the store holds and frees what nobody reads."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefix_examples import IMAGES, LOW, TOP, VIEWS, Counting, key

from orchestrator.cli.main import main
from trainables.data.patches import PatchSet
from trainables.features.budget import stored_files
from trainables.features.listing import stored_keys
from trainables.features.store import PrefixStore


@pytest.fixture
def store(tmp_path: Path, bright_patches: PatchSet) -> Path:
    """Two keys in the store that the patches lie in; the second was last used ten days ago."""
    folder = tmp_path / "store"
    keep = PrefixStore(folder).views
    keep(key(fingerprint=bright_patches.fingerprint), VIEWS, TOP, also=(LOW,), compute=Counting(width=400))
    keep(key(backbone="old", kind="float32"), VIEWS[:1], TOP, also=(), compute=Counting())
    for path in folder.glob("prefix/*/*/*.json"):
        if "old" in (path.parent.parent / "key.json").read_text():
            os.utime(path, (time.time() - 10 * 86_400,) * 2)
    return folder


def prefix(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["prefix", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_list_says_what_the_features_are_of(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    first, second = json.loads(prefix(capsys, "list", "--store", store, "--format", "json"))
    assert (first["source"], first["backbone"], first["images"]) == ("bright spots", "b", IMAGES)
    assert (first["size_px"], first["contrast"], first["kind"]) == (32, 1.0, "float16")
    assert first["views"] == [str(view) for view in VIEWS]
    assert first["taps"] == ["low.map", "top.gap"]
    assert first["bytes"] == sum(path.stat().st_size for path in store.rglob(f"{first['key']}/*/*.npy"))
    assert (second["source"], second["backbone"], second["kind"]) == (None, "old", "float32")
    assert first["last_used"] > second["last_used"]
    assert not first["in_use"]


def test_csv_and_table_hold_the_same_keys(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(prefix(capsys, "list", "--store", store, "--format", "csv"))))
    assert [row["taps"] for row in rows] == ["low.map top.gap", "top.gap"]
    table = prefix(capsys, "list", "--store", store)
    assert "10 d ago" in table
    assert "bright" in table
    assert "2 sets of features" in table
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80


def test_the_store_is_looked_for_below_the_runs(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    store.rename(store.parent / ".store")
    assert "2 sets of features" in prefix(capsys, "list", "--runs", store.parent)


def test_features_that_a_process_reads_are_listed_as_in_use(store: Path) -> None:
    reading = PrefixStore(store).views(
        key(backbone="old", kind="float32"), VIEWS[:1], TOP, also=(), compute=Counting()
    )
    assert {found.backbone: found.is_in_use for found in stored_keys(store)} == {"b": False, "old": True}
    del reading
    assert not any(found.is_in_use for found in stored_keys(store))


def test_pruning_by_age_leaves_what_was_used_since(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    assert "freed 0 kB in 1 file" in prefix(capsys, "prune", "--store", store, "--older-than", 7)
    assert [found.backbone for found in stored_keys(store)] == ["b"]


def test_pruning_to_a_size_leaves_what_was_used_last(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    prefix(capsys, "prune", "--store", store, "--keep-gb", 20e-6)
    files = stored_files(store / "prefix")
    assert 0 < sum(file.bytes for file in files) <= 20_000
    assert [found.backbone for found in stored_keys(store)] == ["b"]


def test_a_dry_run_says_what_would_go_and_removes_nothing(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    before = sorted(store.rglob("*"))
    said = prefix(capsys, "prune", "--store", store, "--all", "--dry-run")
    assert said.startswith("would free 33 kB in 9 files; 0 kB would stay")
    assert [path for path in sorted(store.rglob("*")) if path.name != ".room.lock"] == [
        path for path in before if path.name != ".room.lock"
    ]
    assert prefix(capsys, "prune", "--store", store, "--all").startswith(
        "freed 33 kB in 9 files; 0 kB are left"
    )
    assert stored_keys(store) == []
    assert "nothing is stored" in prefix(capsys, "list", "--store", store)


def test_what_is_being_read_stays_and_is_counted(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    reading = PrefixStore(store).views(
        key(backbone="old", kind="float32"), VIEWS[:1], TOP, also=(), compute=Counting()
    )
    assert main(["prefix", "prune", "--store", str(store), "--all"]) == 0
    assert "left because running trials read them: 1 file" in capsys.readouterr().err
    assert [found.backbone for found in stored_keys(store)] == ["old"]
    assert reading.arrays[0][1, 0] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prune",), "say what may go: --keep-gb N, --older-than DAYS or --all"),
        (("prune", "--all", "--keep-gb", "50"), "--all removes what --keep-gb would keep"),
        (("prune", "--all", "--older-than", "3"), "--all removes what --older-than would keep"),
        (("prune", "--keep-gb", "-1"), "--keep-gb must be a number from 0 up, found -1.0"),
        (("prune", "--older-than", "nan"), "--older-than must be a number from 0 up, found nan"),
        (("list", "--store", "nowhere"), "no store at nowhere; name it with --store"),
    ],
)
def test_a_request_that_cannot_be_met_is_explained(
    capsys: pytest.CaptureFixture[str], store: Path, arguments: tuple[str, ...], message: str
) -> None:
    where = () if "--store" in arguments else ("--store", str(store))
    assert main(["prefix", *arguments, *where]) == 2
    assert f"orchestrate prefix: {message}" in capsys.readouterr().err
    assert len(stored_keys(store)) == 2


def test_listing_and_pruning_load_no_torch(store: Path) -> None:
    script = (
        "import sys\nfrom orchestrator.cli.main import main\n"
        f"main(['prefix', 'list', '--store', {str(store)!r}])\n"
        f"main(['prefix', 'prune', '--all', '--store', {str(store)!r}])\n"
        "assert not {'torch', 'ray', 'optuna'} & set(sys.modules), 'a slow start'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
