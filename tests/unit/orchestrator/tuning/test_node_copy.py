"""A machine that does not see a run folder, filled from a depot in the same process."""

import errno
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker_run import worker_run

from orchestrator.preflight.run_data import open_run_data
from orchestrator.tuning import depot as depots
from orchestrator.tuning import node_copy, node_weights
from orchestrator.tuning.choices import choices_in
from orchestrator.tuning.depot import Depot, own_modules
from orchestrator.tuning.disk_usage import disk_usage
from orchestrator.tuning.node_copy import NodeCopy, own_folder, sees
from orchestrator.tuning.parcel import deliver
from orchestrator.tuning.run_copy import RunCopy
from orchestrator.tuning.trial_runner import TrialRunner
from results.errors import RecordExistsError
from results.run.records import CIRCUMSTANCES
from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from trainables.common.errors import DataError, MachineError, WeightsError
from trainables.common.progress import work_done
from trainables.common.remarks import take_remarks
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet, RawPatches, open_patch_set, store_patch_set
from trainables.data.set_copy import check_fingerprint, has_set
from trainables.features.budget import GB
from trainables.features.locks import unread
from trainables.models.weights import take_inventory
from trainables.runtime.devices import Device

pytestmark = pytest.mark.slow

CONFIG = decode(
    {
        "model.backbone": "efficientnet_lite0",
        "input.size_px": 32,
        "model.head.hidden": [8],
        "training.epochs": 2,
    }
)


LONG = CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"epochs": 200})})


def searched(patches: PatchSet, folder: Path, **fields: Any) -> RunFolder:
    """A run whose search knows its weights, as preflight writes it."""
    found = take_inventory(("efficientnet_lite0",), weights_dir=None, may_download=False)
    file = found.usable["efficientnet_lite0"]
    assert file is not None
    return worker_run(patches, folder, weights={"efficientnet_lite0": file.sha256}, **fields)


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    return searched(bright_patches, tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The own folder of a machine that has no store at the path of the search."""
    monkeypatch.setattr(node_copy, "store_here", lambda search, own: own / "store")
    own = tmp_path / "node"
    own.mkdir()
    return own


class NotingDepot(Depot):
    """Notes which files it is asked for."""

    def __init__(self, run: Path) -> None:
        super().__init__(run, host="far")
        self.asked: list[str] = []

    def piece(self, name: str, start: int) -> Any:
        self.asked.append(name)
        return super().piece(name, start)


def filled(run: RunFolder, own: Path, mark: str = "m") -> tuple[NodeCopy, RunFolder, NotingDepot]:
    depot, copy = NotingDepot(run.path), NodeCopy(mark, own)
    return copy, copy.fill(depot), depot


def test_a_trial_on_a_copy_leaves_the_same_files_as_one_in_the_run_folder(
    run: RunFolder, elsewhere: Path, tmp_path: Path
) -> None:
    _, local, depot = filled(run, elsewhere)
    assert local.search().store == str(elsewhere / "store")
    away = RunCopy(local, 0, depot)
    trial = TrialRunner(away, 0, CONFIG, {}, gpus=0.0, cpus=1.0)
    while not trial.step().is_end:
        pass
    assert run.records() == []
    assert list(local.path.glob("trials/*/*")) == []
    sent = away.leave()
    assert sent is not None
    folds = [f"folds/{fold}.safetensors" for fold in range(3)]
    assert [name for name, _ in sent.files][:5] == ["oof.npz", *folds, "record.json"]
    deliver(sent, run)
    there = TrialRunner(run, 1, CONFIG, {}, gpus=0.0, cpus=1.0)
    while not there.step().is_end:
        pass
    first, second = run.records()
    changing = {"number", *CIRCUMSTANCES}
    assert first.model_dump(exclude=changing) == second.model_dump(exclude=changing)
    assert np.array_equal(run.out_of_fold(0).probabilities, run.out_of_fold(1).probabilities)
    for number in (0, 1):
        assert len(list(run.weights_folder(number).iterdir())) == 3


def test_the_second_worker_of_a_machine_fetches_nothing(run: RunFolder, elsewhere: Path) -> None:
    _, _, first = filled(run, elsewhere)
    assert "set/images.npy" in first.asked
    _, local, second = filled(run, elsewhere)
    assert second.asked == []
    assert local.search().fingerprint == run.search().fingerprint


def test_a_set_that_is_there_already_is_not_fetched_by_a_later_search(
    run: RunFolder, elsewhere: Path
) -> None:
    copy, _, _ = filled(run, elsewhere, "first")
    copy.close()
    _, _, later = filled(run, elsewhere, "second")
    assert later.asked == []
    assert not (elsewhere / "runs" / "first").exists()
    assert not (elsewhere / "runs" / "first.lock").exists()


def test_the_copy_of_a_running_search_stays(run: RunFolder, elsewhere: Path) -> None:
    _, local, _ = filled(run, elsewhere, "first")
    filled(run, elsewhere, "second")
    assert local.search_file.exists()
    with unread(elsewhere / "runs" / "first.lock") as is_unread:
        assert not is_unread


def test_the_disk_budget_of_a_search_holds_on_each_machine(
    bright_patches: PatchSet, tmp_path: Path, elsewhere: Path
) -> None:
    run = searched(bright_patches, tmp_path, disk_gb=1.0)
    _, local, _ = filled(run, elsewhere)
    needed = disk_usage([elsewhere])
    limit = local.store_limit()
    assert limit is not None
    assert limit == pytest.approx(GB - needed, abs=GB // 50)
    assert run.store_limit() is None  # that of the other machine is its own affair
    _, runtime = open_run_data(local, local.search(), Device("cpu"))
    assert runtime.store_gb == pytest.approx(limit / GB)


def test_where_a_search_needs_all_of_its_budget_features_have_nothing_and_it_is_said(
    bright_patches: PatchSet, tmp_path: Path, elsewhere: Path
) -> None:
    run = searched(bright_patches, tmp_path, disk_gb=1e-6)
    with pytest.warns(UserWarning, match="takes all of the 1e-06 GB of --disk-gb"):
        _, local, _ = filled(run, elsewhere)
    assert local.store_limit() == 0
    assert len(take_remarks()) == 1


def test_a_full_disk_of_a_machine_that_has_its_copy_fails_no_trial(
    bright_patches: PatchSet, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = searched(bright_patches, tmp_path, disk_gb=1.0)
    copy, local, depot = filled(run, elsewhere)
    (local.path / ".measured").unlink()

    def full(path: Path, content: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(node_copy, "write_atomically", full)
    with pytest.warns(UserWarning, match=r"is full, so that what is kept there is not measured"):
        assert copy.fill(depot).path == local.path
    assert len(take_remarks()) == 1


def test_a_set_that_comes_in_many_pieces_is_the_same(
    run: RunFolder, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depots, "PIECE_BYTES", 1000)
    _, local, depot = filled(run, elsewhere)
    assert depot.asked.count("set/images.npy") > 100
    here, there = local.search().data_location, run.search().data_location
    assert np.array_equal(open_patch_set(*here).images, open_patch_set(*there).images)


def test_a_set_that_was_changed_on_the_way_is_not_kept(
    run: RunFolder, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Depot.piece

    def flipped(self: Depot, name: str, start: int) -> Any:
        piece = whole(self, name, start)
        if name == "set/images.npy":
            piece[-1] ^= 1
        return piece

    monkeypatch.setattr(Depot, "piece", flipped)
    with pytest.raises(DataError, match=r"came from another machine has the content of .*damaged"):
        filled(run, elsewhere)
    assert not has_set(elsewhere / "store" / "data", run.search().fingerprint)
    assert list((elsewhere / "store" / "data").glob("[!.]*")) == []


def test_a_file_that_is_cut_off_on_the_way_is_not_kept(
    run: RunFolder, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Depot, "pieces", lambda self, name, size: iter([np.zeros(5, dtype=np.uint8)]))
    with pytest.raises(MachineError, match=r"should have come in .* bytes, and came in 5"):
        filled(run, elsewhere)


def test_weights_that_this_machine_lacks_come_from_the_depot(
    run: RunFolder, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = node_weights.usable_files
    is_here = iter([False])
    monkeypatch.setattr(
        node_weights, "usable_files", lambda search: real(search) if next(is_here, True) else {}
    )
    _, local, depot = filled(run, elsewhere)
    assert "weights/efficientnet_lite0" in depot.asked
    search = local.search()
    assert search.request.weights_dir == local.path / "weights"
    assert set(real(search)) == {"efficientnet_lite0"}
    assert real(search)["efficientnet_lite0"].origin == "weights folder"


def test_weights_that_are_nowhere_are_named_with_both_machines(
    run: RunFolder, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_weights, "usable_files", lambda search: {})
    with pytest.raises(
        WeightsError, match=r"efficientnet_lite0.*neither here nor on far, where .*first lies"
    ):
        filled(run, elsewhere)


def test_finished_trials_that_a_search_builds_on_travel(
    bright_patches: PatchSet, tmp_path: Path, elsewhere: Path, run: RunFolder
) -> None:
    trial = TrialRunner(run, 0, CONFIG, {}, gpus=0.0, cpus=1.0)
    while not trial.step().is_end:
        pass
    source = SourceTrial(run=str(run.path), trial=0)
    further = searched(bright_patches, tmp_path / "further", start_from=source, type_from=source)
    further.write_search(further.search().model_copy(update={"store": run.search().store}))
    _, local, _ = filled(further, elsewhere)
    for option in ("start_from", "type_from"):
        own = getattr(local.search(), option)
        assert own == SourceTrial(run=str(local.path / "sources" / option), trial=0)
        copied = RunFolder(Path(own.run))
        assert copied.record(0) == run.record(0)
        assert np.array_equal(copied.out_of_fold(0).rows, run.out_of_fold(0).rows)
        assert len(list(copied.weights_folder(0).iterdir())) == 3


def test_modules_of_the_user_travel_and_installed_ones_do_not(
    run: RunFolder, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_metric_module.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("my_metric_module")
    modules = own_modules(("my_metric_module:value", "numpy:sum", "auc"), tmp_path)
    assert modules == {"my_metric_module.py": tmp_path / "my_metric_module.py"}
    monkeypatch.setattr(sys, "path", list(sys.path))
    copy = NodeCopy("m", elsewhere)
    local = copy.fill(Depot(run.path, modules))
    assert (local.path / "modules" / "my_metric_module.py").read_text() == "value = 7\n"
    assert sys.path[0] == str(local.path / "modules")


def test_the_depot_hands_out_nothing_but_its_own(run: RunFolder) -> None:
    depot = Depot(run.path)
    for name in ("set/../../../runs/first/search.yaml", "set/nothing.npy", "weights/vgg16", "/etc/passwd"):
        with pytest.raises(KeyError, match="has no"):
            depot.piece(name, 0)


def test_a_checkpoint_is_fetched_and_a_stale_one_is_not_taken_for_it(run: RunFolder, elsewhere: Path) -> None:
    _, local, depot = filled(run, elsewhere)
    away = RunCopy(local, 5, depot)
    run.write_checkpoint(5, b"state")
    assert away.checkpoint(5).read_bytes() == b"state"
    run.discard_checkpoint(5)
    assert not away.checkpoint(5).exists()


def test_the_last_checkpoint_of_a_worker_that_must_go_reaches_the_run_folder_without_a_report(
    run: RunFolder, elsewhere: Path
) -> None:
    _, local, depot = filled(run, elsewhere)
    trial = TrialRunner(RunCopy(local, 5, depot), 5, LONG, {}, gpus=0.0, cpus=1.0)
    while trial.validation is None or not trial.validation.epochs_done:
        trial.step()
    trial.keep_progress()  # as a notice does; no report follows
    again = TrialRunner(RunCopy(local, 5, depot), 5, LONG, {}, gpus=0.0, cpus=1.0)
    first = again.step().epochs[0].epoch
    assert first == trial.validation.epochs_done + 1


def test_a_trial_that_has_ended_is_left_no_checkpoint(run: RunFolder, elsewhere: Path) -> None:
    _, local, depot = filled(run, elsewhere)
    trial = TrialRunner(run, 0, CONFIG, {}, gpus=0.0, cpus=1.0)
    while not trial.step().is_end:
        pass
    RunCopy(local, 0, depot).write_checkpoint(0, b"state", is_last=True)
    assert not run.checkpoint_file(0).exists()


def test_filling_a_machine_counts_as_work(
    run: RunFolder, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depots, "PIECE_BYTES", 2**10)
    counts: list[int] = []

    class Watched(NotingDepot):
        def piece(self, name: str, start: int) -> Any:
            counts.append(work_done())
            return super().piece(name, start)

    NodeCopy("m", elsewhere).fill(Watched(run.path))
    assert len(counts) > 100
    assert len(set(counts)) == len(counts), "each piece counts"


def test_a_trial_that_has_ended_meanwhile_is_not_recorded_again(run: RunFolder, elsewhere: Path) -> None:
    _, local, depot = filled(run, elsewhere)
    trial = TrialRunner(run, 0, CONFIG, {}, gpus=0.0, cpus=1.0)
    while not trial.step().is_end:
        pass
    away, record = RunCopy(local, 0, depot), run.record(0)
    assert record is not None
    assert away.has_score()
    with pytest.raises(RecordExistsError, match="trial 0 has a record already"):
        away.add_record(record)


def test_the_process_of_a_fold_knows_what_its_trial_knew(run: RunFolder, elsewhere: Path) -> None:
    class Scored(Depot):
        def has_score(self) -> bool:
            return True

    _, local, _ = filled(run, elsewhere)
    away = RunCopy(local, 0, Scored(run.path))
    assert not pickle.loads(pickle.dumps(away)).has_score()
    assert away.has_score()
    assert pickle.loads(pickle.dumps(away)).has_score()


def test_a_worker_tells_the_folder_of_its_search_from_another_of_the_same_path(run: RunFolder) -> None:
    assert not sees(run, "m")
    run.mark_file("m").touch()
    assert sees(run, "m")
    assert not sees(run, "n")
    shutil.rmtree(run.search().store)
    assert not sees(run, "m")


@pytest.mark.parametrize("refused", ["mark", "set", "weights"])
@pytest.mark.parametrize("fault", [errno.EACCES, errno.ESTALE])
def test_a_folder_that_a_machine_may_not_enter_or_whose_mount_is_stale_is_not_seen(
    bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, fault: int
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    run = searched(bright_patches, tmp_path, weights_dir=weights)
    run.mark_file("m").touch()
    assert sees(run, "m")
    search = run.search()
    beyond = {"mark": run.path, "set": Path(search.store), "weights": weights}[refused]
    stat = Path.stat

    def refusing(path: Path, **options: Any) -> Any:
        if path.is_relative_to(beyond):
            raise OSError(fault, "no way in", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refusing)
    assert not sees(run, "m")
    if refused == "set":
        assert node_copy.store_here(search, tmp_path / "own") == tmp_path / "own" / "store"
    assert set(node_weights.usable_files(search)) == {"efficientnet_lite0"}


def test_a_worker_that_lacks_weights_does_as_if_it_saw_no_folder_and_gets_them_from_the_depot(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.mark_file("m").touch()
    monkeypatch.setattr(node_weights, "usable_files", lambda search: {})
    assert not sees(run, "m")


def test_the_own_folder_is_private_and_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = own_folder({"ORCHESTRATE_NODE_FOLDER": str(tmp_path / "a" / "b")})
    assert named == tmp_path / "a" / "b"
    assert named.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(named)
    with pytest.raises(MachineError, match=r"belongs to another user, or is a link; set ORCHESTRATE"):
        own_folder({"ORCHESTRATE_NODE_FOLDER": str(tmp_path / "link")})
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"cannot be made on this machine"):
        own_folder({"ORCHESTRATE_NODE_FOLDER": str(tmp_path / "file")})


def sets() -> Iterator[tuple[str, RawPatches]]:
    random = np.random.default_rng(0)
    images = random.integers(0, 4096, (6, 8, 8)).astype(np.uint16)
    labels = np.array([0, 1] * 3)
    yield "plain", RawPatches(images, labels, "task")
    yield "range", RawPatches(images, labels, "task", max_value=4095.0)
    yield "table", RawPatches(random.random((6, 3), dtype=np.float32), labels, "task")
    yield (
        "all",
        RawPatches(
            images,
            labels,
            "task",
            patients=np.array([f"p{row // 2}" for row in range(6)]),
            partners=np.array([-1, 0, -1, 2, -1, 4]),
            is_test=np.array([False] * 5 + [True]),
            is_extra=np.array([True] + [False] * 5),
            duplicate_of=np.array([-1, -1, -1, -1, 0, -1]),
            columns={"view": np.array(["CC", "MLO"] * 3), "age_years": np.arange(6.0)},
        ),
    )


def test_the_fingerprint_of_every_kind_of_set_is_found_again_from_its_files(tmp_path: Path) -> None:
    seen = [check_fingerprint(store_patch_set(raw, tmp_path / name)) for name, raw in sets()]
    assert len(seen) == 4


def test_machines_take_over_what_one_of_them_has_measured(run: RunFolder, elsewhere: Path) -> None:
    home, own = Path(run.search().store) / "fusion", elsewhere / "store" / "fusion"
    home.mkdir()
    (home / f"{'a' * 24}.json").write_text("{}")
    _, local, depot = filled(run, elsewhere)
    away = RunCopy(local, 0, depot)
    assert [path.name for path in own.iterdir()] == [f"{'a' * 24}.json"]
    assert away.leave() is None
    (own / f"{'b' * 24}.json").write_text("{}")
    sent = away.leave()
    assert sent is not None
    assert [name for name, _ in sent.files] == [f"fusion/{'b' * 24}.json"]
    assert away.leave() is None


def test_choices_lie_where_the_training_keeps_them(run: RunFolder) -> None:
    trial = TrialRunner(run, 0, CONFIG, {}, gpus=0.0, cpus=1.0)
    trial.step()
    assert len(choices_in(Path(run.search().store))) == 1
