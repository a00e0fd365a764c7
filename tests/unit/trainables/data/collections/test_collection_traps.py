"""Each collection on its small tree: what the traps of the published files would have broken."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from collections_trees import TREES, cbis_ddsm
from collections_trees import files as tree_files

from trainables.common.errors import DataError
from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Box, Choices, Example, Listing
from trainables.data.collections.ddsm_case import box_of_chain
from trainables.data.dicom.reading import read_headers
from trainables.data.prepared.reading import read_example_pixels
from trainables.data.prepared.regions import cut_pieces


def listed(name: str, folder: Path, choices: Choices | None = None) -> Listing:
    TREES[name].build(folder)
    return COLLECTIONS[name].list(folder, choices or Choices())


def named(found: Listing) -> dict[str, Example]:
    return {example.name: example for example in found.examples}


ROI, IMAGE = Choices(regions="roi"), Choices(regions="image")


def test_cbis_masks_are_told_from_crops_whatever_the_tables_say(tmp_path: Path) -> None:
    found = listed("cbis-ddsm", tmp_path)
    for example in found.examples:
        assert example.mask is not None
        assert read_headers(example.mask).series_description == "ROI mask images"
    assert any("the crop for the mask in 2 of 8 regions" in note for note in found.notes)


def test_masks_and_crops_of_cbis_in_two_series_of_one_file_name_are_told_apart(tmp_path: Path) -> None:
    """In 104 lesions of the published set both files are 000000.dcm, each in a series of its own."""
    TREES["cbis-ddsm"].build(tmp_path)
    for second in [*tmp_path.rglob("000001.dcm")]:
        series = second.parent.with_name(f"{second.parent.name}.1")
        series.mkdir()
        second.rename(series / "000000.dcm")
    found = COLLECTIONS["cbis-ddsm"].list(tmp_path, ROI)
    assert len(found.examples) == cbis_ddsm.EXAMPLES
    for example in found.examples:
        assert example.mask is not None
        assert example.mask.name == "000000.dcm"
        assert read_headers(example.mask).series_description == "ROI mask images"


def test_regions_of_cbis_keep_the_scale_of_their_film(tmp_path: Path) -> None:
    """The published crops have a scale of their own (from 39,416 up): regions are cut from the film."""
    example = listed("cbis-ddsm", tmp_path, ROI).examples[0]
    assert read_headers(example.file).series_description == "full mammogram images"
    read = read_example_pixels(example.file, 0)
    assert read.stated_max is None  # that of the whole set, and not the brightest value of this region
    box = Box(10, 20, 30, 40)
    (piece, *_) = cut_pieces(read.pixels, "box", box, name=example.name, max_value=65535.0)
    np.testing.assert_array_equal(piece.pixels, read.pixels[20:60, 10:40])


def test_arrays_of_floats_beyond_one_are_refused_by_name(tmp_path: Path) -> None:
    """One collection publishes masks as float64 up to 255.00002, 160 values between: white is unknown."""
    np.save(tmp_path / "mask.npy", np.linspace(0.0, 255.00002, 64).reshape(1, 8, 8))
    with pytest.raises(DataError, match=r"mask\.npy holds floating-point values outside \[0, 1\]; scale"):
        read_example_pixels(tmp_path / "mask.npy", 0)


@pytest.mark.parametrize("build", [cbis_ddsm.build_kaggle, cbis_ddsm.build_nbia])
def test_every_edition_of_cbis_gives_the_same_examples(tmp_path: Path, build: Callable[[Path], None]) -> None:
    usual = named(listed("cbis-ddsm", tmp_path / "usual"))
    build(tmp_path / "other")
    other = named(COLLECTIONS["cbis-ddsm"].list(tmp_path / "other", Choices()))
    facts = {name: (one.label, one.patient, one.is_test, one.columns) for name, one in usual.items()}
    assert {name: (one.label, one.patient, one.is_test, one.columns) for name, one in other.items()} == facts
    for example in other.values():
        pixels = read_example_pixels(Path(str(example.mask)), 0).pixels
        assert {0, 255} <= set(np.unique(pixels // 128 * 255).tolist())
        assert pixels.shape[0] in (48, 96)


def test_a_woman_of_both_parts_of_cbis_stays_in_the_test_part_alone(tmp_path: Path) -> None:
    found = listed("cbis-ddsm", tmp_path)
    assert [one.name for one in found.examples if one.patient == "P_00005"] == ["Mass-Test_P_00005_LEFT_CC_1"]
    assert any("1 patient of the official training and test parts" in note for note in found.notes)
    assert [(one.what, one.reason) for one in found.problems] == [
        ("calc_case_description_test_set.csv, row 2", "has no pathology that is known ('BENIGNN')")
    ]


def test_a_film_of_cbis_has_the_label_of_its_worst_abnormality(tmp_path: Path) -> None:
    films = named(listed("cbis-ddsm", tmp_path, IMAGE))
    assert films["P_00004_RIGHT_CC"].label == 2
    assert films["P_00004_RIGHT_CC"].columns["finding"] == "calcification+mass"
    assert films["P_00004_RIGHT_CC"].columns["abnormalities"] == 3


def test_cbis_says_which_roi_method(tmp_path: Path) -> None:
    found = listed("cbis-ddsm", tmp_path, Choices(options={"roi_method": "2"}))
    assert {example.cut for example in found.examples} == {"roi_2"}


def test_an_unknown_method_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="roi_method must be one of box, 1, 2, 6; found '3'"):
        listed("cbis-ddsm", tmp_path, Choices(options={"roi_method": "3"}))


def test_regions_that_a_collection_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="regions must be image here; found 'roi'"):
        listed("rsna", tmp_path, ROI)


def test_mias_boxes_count_rows_from_the_lower_edge_in_pixels_of_the_file(tmp_path: Path) -> None:
    examples = named(listed("mias", tmp_path))
    # x 522, y 280, radius 69 of 1,024 pixels, on a film of 128: rows (1024 - 280 +- 69) / 8
    assert examples["mdb002_1"].box == Box(57, 84, 17, 17)
    assert examples["mdb003"].box is None
    assert examples["mdb003"].cut == "tiles"
    assert {one.patient for one in examples.values() if one.name.startswith(("mdb001", "mdb002"))} == {
        "mias001"
    }
    assert examples["mdb001_1"].file.suffix == ".pgm"
    assert (examples["mdb001_1"].laterality, examples["mdb002_1"].laterality) == ("R", "L")


def test_a_mias_film_of_two_severities_is_malignant(tmp_path: Path) -> None:
    films = named(listed("mias", tmp_path, IMAGE))
    assert films["mdb144"].label == 2
    assert films["mdb059"].label == 1  # it has no coordinates, but a whole film needs none


def test_ddsm_outlines_are_scaled_to_the_film(tmp_path: Path) -> None:
    examples = named(listed("ddsm", tmp_path))
    first = examples["B_3024_1.LEFT_CC_1"]
    assert box_of_chain("20 40 2 2 2 2 4 4 4 4 6 6 6 6 0 0 0 0 #") == Box(20, 40, 5, 5)
    assert first.box == Box(10, 20, 2, 2)
    assert (first.label, first.columns["machine"], first.columns["finding"]) == (
        4,
        "lumisys",
        "calcification",
    )
    assert examples["B_3024_1.LEFT_CC_2"].label == 1
    normals = [one for one in examples.values() if one.label == 0]
    assert {one.cut for one in normals} == {"tiles"}
    assert {one.columns["machine"] for one in normals} == {"dba", "howtek"}
    assert examples["D_4014_1.LEFT_CC"].file.suffix == ".png"


def test_the_other_breast_of_a_cancer_case_is_not_called_normal(tmp_path: Path) -> None:
    found = listed("ddsm", tmp_path)
    assert not any("RIGHT" in one.name for one in found.examples if one.name.startswith("B_"))
    assert any("nobody says that they are healthy" in note for note in found.notes)


@pytest.mark.parametrize("outline", ["", "20 40 9 9 #", "a b c"])
def test_an_outline_that_is_no_chain_code_is_named(outline: str) -> None:
    with pytest.raises(DataError, match="no chain code"):
        box_of_chain(outline)


def test_mini_ddsm_has_classes_of_folders_where_no_outlines_are(tmp_path: Path) -> None:
    for folder, name in (
        ("Cancer/0029", "C_0029_1"),
        ("Normal/2011", "A_2011_1"),
        ("Benign/1001", "B_1001_1"),
    ):
        place = tmp_path / "MINI-DDSM-Complete-PNG-16" / folder
        tree_files.picture(place / f"{name}.LEFT_CC.png")
        overlay = "NON_OVERLAY" if "Normal" in folder else "OVERLAY"
        line = f"LEFT_CC LINES 64 PIXELS_PER_LINE 48 BITS_PER_PIXEL 12 RESOLUTION 50 {overlay}\n"
        (place / f"{name.replace('_', '-')}.ics").write_text(f"DIGITIZER HOWTEK\nSEQUENCE\n{line}")
    tree_files.picture(tmp_path / "MINI-DDSM-Complete-PNG-16/Cancer/0029/C_0029_1.LEFT_CC_MASK.png")
    found = COLLECTIONS["ddsm"].list(tmp_path, Choices())
    assert (found.label_codes, found.classes) == ("own", ("normal", "benign", "malignant"))
    assert {one.name[0]: one.label for one in found.examples} == {"A": 0, "B": 1, "C": 2}
    with pytest.raises(DataError, match=r"needs \.OVERLAY files for regions"):
        COLLECTIONS["ddsm"].list(tmp_path, ROI)


def test_inbreast_takes_patients_from_names_and_views_from_the_table(tmp_path: Path) -> None:
    examples = named(listed("inbreast", tmp_path))
    assert examples["22678622"].patient == examples["22678646"].patient == "61b13c59bcba149e"
    assert {name: one.label for name, one in examples.items()} == {
        "22678622": 1,
        "22678646": 0,
        "20586908": 1,
        "20586934": 0,
    }
    assert (examples["22678646"].view, "density" in examples["22678646"].columns) == ("MLO", False)


def test_inbreast_regions_are_masses_and_clusters(tmp_path: Path) -> None:
    examples = named(listed("inbreast", tmp_path, ROI))
    assert {name: (one.label, one.box) for name, one in examples.items()} == {
        "22678622_1": (2, Box(10, 12, 20, 28)),
        "22678622_3": (4, Box(1, 2, 7, 7)),
    }


def test_idc_reads_the_second_folder_of_the_archive_once(tmp_path: Path) -> None:
    found = listed("idc", tmp_path)
    assert any("5 patches lie in a second folder" in note for note in found.notes)
    assert [problem.what for problem in found.problems] == [
        "9023/0/9023_idx5_x51_y1_class1.png",
        "9023/0/thumbnail.png",
    ]


def test_breakhis_magnifications_of_a_slide_are_one_patient(tmp_path: Path) -> None:
    found = listed("breakhis", tmp_path)
    assert {one.patient for one in found.examples} == {"14-25197", "14-22549"}
    chosen = listed("breakhis", tmp_path, Choices(options={"magnification": "40"}))
    assert {one.columns["magnification"] for one in chosen.examples} == {40}


def test_busi_tells_masks_from_images(tmp_path: Path) -> None:
    examples = named(listed("busi", tmp_path))
    assert examples["benign (1)"].columns["masks"] == 2
    assert str(examples["benign (1)"].mask).endswith("benign (1)_mask.png")
    assert [one.name for one in examples["benign (1)"].more_masks] == ["benign (1)_mask_1.png"]
    assert examples["benign (2)"].more_masks == examples["normal (1)"].masks == ()
    regions = named(listed("busi", tmp_path, ROI))
    assert {"benign (1)_1", "benign (1)_2", "malignant (1)_1"} <= set(regions)
    assert not any(name.startswith("normal") for name in regions)


def test_breastmnist_turns_its_labels_over_and_keeps_its_parts(tmp_path: Path) -> None:
    found = listed("medmnist", tmp_path)
    examples = named(found)
    assert (examples["train-0000"].label, examples["train-0001"].label) == (1, 0)
    assert [one.name for one in found.examples if one.is_test] == ["test-0000", "test-0001"]
    with np.load(tmp_path / "breastmnist.npz") as stored:
        for name in ("train-0003", "val-0001", "test-0001"):
            part, _, row = name.partition("-")
            own = read_example_pixels(examples[name].file, examples[name].frame).pixels
            assert (own == stored[f"{part}_images"][int(row)]).all()


def test_rsna_keeps_ml_and_what_is_unknown(tmp_path: Path) -> None:
    examples = named(listed("rsna", tmp_path))
    assert examples["10011_10011001"].view == "ML"
    assert "density" not in examples["10006_10006000"].columns
    assert examples["10006_10006000"].columns["site"] == "2"
    assert [one.label for one in examples.values()] == [1, 1, 0, 0, 0, 0, 0]


def test_vindr_boxes_are_cut_at_the_edge_and_others_are_counted(tmp_path: Path) -> None:
    found = listed("vindr-mammo", tmp_path, ROI)
    boxes = [
        (one.label, one.box) for one in found.examples if one.name.startswith("b8d2") and "0000@" in one.name
    ]
    assert boxes == [(4, Box(30, 40, 18, 20)), (2, Box(5, 5, 15, 15))]
    assert any("4 boxes that are neither mass nor calcification" in note for note in found.notes)
    assert any("4 boxes reach beyond the image" in note for note in found.notes)


def test_vindr_takes_age_and_vendor_from_its_metadata(tmp_path: Path) -> None:
    columns = [one.columns for one in listed("vindr-mammo", tmp_path).examples if "vendor" in one.columns]
    assert columns == [
        {
            "age_years": 53.0,
            "birads": "4",
            "density": "C",
            "machine": "Mammomat Inspiration",
            "vendor": "SIEMENS",
        }
    ]


def test_cmmd_takes_sides_from_headers_and_leaves_out_breasts_without_a_row(tmp_path: Path) -> None:
    found = listed("cmmd", tmp_path)
    assert {one.name: one.label for one in found.examples} == {
        "D1-0001_R_CC_1-3": 0,
        "D1-0001_R_MLO_1-4": 0,
        "D1-0002_L_CC_1-1": 1,
        "D1-0002_L_MLO_1-2": 1,
        "D2-0003_L_CC_1-1": 1,
        "D2-0003_L_MLO_1-2": 1,
        "D2-0003_R_CC_1-3": 0,
        "D2-0003_R_MLO_1-4": 0,
    }
    assert "2 images of breasts without a row in the table left out" in found.notes


def test_cmmd_by_findings_leaves_out_breasts_with_both(tmp_path: Path) -> None:
    found = listed("cmmd", tmp_path, Choices(options={"labels": "findings"}))
    assert (found.label_codes, {one.label for one in found.examples}) == ("pisa", {1, 2, 3})
    assert "1 breast with mass and calcification left out" in found.notes


def test_embed_joins_findings_by_examination_and_side(tmp_path: Path) -> None:
    found = listed("embed", tmp_path)
    assert {one.name: one.label for one in found.examples} == {
        "1001L": 1,
        "1001R": 0,
        "1002L": 0,
        "1003R": 0,
        "second": 1,
    }
    assert any("1 image left out: spot or magnified views" in note for note in found.notes)
    assert any("1 image left out: neither pathology nor BI-RADS 1 or 2" in note for note in found.notes)


def test_embed_boxes_are_top_left_bottom_right(tmp_path: Path) -> None:
    boxes = [one.box for one in listed("embed", tmp_path, ROI).examples if one.name.startswith("1001L")]
    assert boxes == [Box(5, 10, 20, 20), Box(5, 40, 15, 20)]


def test_cdd_cesm_files_that_end_in_two_take_the_second_row(tmp_path: Path) -> None:
    examples = named(listed("cdd-cesm", tmp_path))
    assert (examples["P281_L_DM_MLO"].label, examples["P281_L_DM_MLO2"].label) == (0, 2)
    assert examples["P281_L_DM_MLO2"].columns["finding"] == "mass, spiculated"
    assert (examples["P3_R_DM_CC"].label, examples["P3_R_DM_CC"].columns["birads"]) == (1, "3")


def test_a_header_larger_than_any_film_does_not_stop_a_listing(tmp_path: Path) -> None:
    TREES["mias"].build(tmp_path)
    (tmp_path / "mdb001.pgm").write_bytes(b"P5\n60000 60000\n255\n" + b"\0" * 100)
    assert cv2.imread(str(tmp_path / "mdb002.pgm")) is not None
    assert len(COLLECTIONS["mias"].list(tmp_path, Choices()).examples) == TREES["mias"].EXAMPLES


def test_a_coarse_film_of_mias_gives_tiles_of_tissue_where_there_is_some() -> None:
    film = np.zeros((512, 512), np.uint8)
    film[:, :256] = np.random.default_rng(0).integers(60, 200, (512, 256))
    pieces = cut_pieces(film, "tiles", None, name="mdb003", max_value=255, machine="mias")
    assert len(pieces) > 20
    assert {piece.pixels.shape for piece in pieces} == {(58, 58)}  # 299 pixels of a film of 2,642
    assert all(piece.box.left < 256 for piece in pieces)
