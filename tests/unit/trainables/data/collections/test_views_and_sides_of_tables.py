"""Views and sides that the table of a user's own tree states, by which mammograms are made ready."""

from pathlib import Path

from source_files import noise, write

from trainables.data.collections.collection import Choices, Listing
from trainables.data.collections.dicom import DICOM

TABLE = """\
file,label,side,view
a.png,0,links,L-MLO
b.png,1,L,mlo
c.png,0,unknown,Unknown
d.png,1,nan,sideways
"""


def listed(folder: Path, *, mammograms: str) -> Listing:
    for name in "abcd":
        write(folder / f"{name}.png", noise(ord(name)))
    (folder / "labels.csv").write_text(TABLE)
    return DICOM.list(folder, Choices(options={"mammograms": mammograms}))


def test_words_for_unknown_state_neither_view_nor_side(tmp_path: Path) -> None:
    found = listed(tmp_path, mammograms="yes")
    assert [one.view for one in found.examples] == ["L-MLO", "MLO", None, "SIDEWAYS"]
    assert [one.laterality for one in found.examples] == [None, "L", None, None]


def test_views_and_sides_that_are_none_are_said(tmp_path: Path) -> None:
    notes = listed(tmp_path, mammograms="yes").notes
    assert any(
        "views that are not known: L-MLO, SIDEWAYS; where the pectoral muscle is" in note for note in notes
    )
    assert any("sides that are not known: links; they count as not stated" in note for note in notes)


def test_images_that_are_no_mammograms_may_have_any_view(tmp_path: Path) -> None:
    assert not any("not known" in note for note in listed(tmp_path, mammograms="no").notes)
