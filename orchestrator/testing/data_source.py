"""Tests that every data source must pass.

A source of your own is tested by a class of a few lines, which pytest collects::

    from orchestrator.testing.data_source import DataSourceContract
    from my_sources import TILES

    class TestTiles(DataSourceContract):
        source = TILES
        task = "benign_malignant"

        def data(self, folder):
            ...  # write a small example below `folder`, a pathlib.Path
            return str(folder / "example.tiles")
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from trainables.config.tasks import Task, task_named
from trainables.data.patches import PatchSet, select_rows
from trainables.data.source import Source
from trainables.data.sources import SOURCES, load_patch_set


class DataSourceContract:
    """What a source must do with an example of its data.

    Attributes:
        source: The source under test.
        task: Name of a built-in task that the example answers.
    """

    source: ClassVar[Source]
    task: ClassVar[str]

    def data(self, folder: Path) -> str:
        """Write an example below a new folder and return the value of `--data` for it.

        The example has at least two images, or rows, of each of two classes.
        """
        raise NotImplementedError

    def test_it_is_found_by_its_name(self) -> None:
        assert SOURCES[self.source.name] is self.source
        assert self.source.accepts.strip() == self.source.accepts != ""

    def test_it_knows_its_own_data_by_looking(self, tmp_path: Path) -> None:
        data = self.data(tmp_path)
        if self.source.takes_path:
            assert self.source.reads(Path(data))

    def test_images_have_labels_of_the_task_and_groups(self, tmp_path: Path) -> None:
        patch_set = self._loaded(tmp_path, "store")
        rows = select_rows(patch_set, self._task)
        assert len(rows.rows) == len(rows.labels) == len(rows.groups) >= 4
        assert len(np.unique(rows.labels)) >= 2
        assert rows.labels.min() >= 0
        assert rows.labels.max() < len(self._task.classes)

    def test_the_same_data_have_the_same_fingerprint(self, tmp_path: Path) -> None:
        data = self.data(tmp_path)
        found = [
            load_patch_set(
                data,
                task=self._task,
                label_codes=None,
                store=tmp_path / store,
                source=self.source.name,
            )[0].fingerprint
            for store in ("one", "two")
        ]
        assert found[0] == found[1]

    def test_pixels_are_numbers_within_the_largest_value(self, tmp_path: Path) -> None:
        patch_set = self._loaded(tmp_path, "store")
        pixels = np.asarray(patch_set.images[0])
        assert np.isfinite(pixels).all()
        if not patch_set.is_table and patch_set.max_value:
            assert float(pixels.max()) <= patch_set.max_value

    @property
    def _task(self) -> Task:
        return task_named(self.task)

    def _loaded(self, folder: Path, store: str) -> PatchSet:
        return load_patch_set(
            self.data(folder),
            task=self._task,
            label_codes=None,
            store=folder / store,
            source=self.source.name,
        )[0]
