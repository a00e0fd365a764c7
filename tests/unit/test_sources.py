"""Sources: what is read from files, what is decided and said, and one clear sentence for each bad input."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from trainables.data.patches import PatchSet
from trainables.data.sources import SOURCES, load_patch_set
from trainables.errors import DataError, OneClassError, UnknownNameError
from trainables.tasks import TASKS, LabelCodes

GREY = np.random.default_rng(0).integers(0, 256, (6, 8, 8)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
CLASSES = np.array([0, 1, 1, 0, 1, 0])
PISA = np.array([0, 1, 0, 2, 0, 4])


def load(
    data: Path,
    *,
    task: str = "benign_malignant",
    label_codes: LabelCodes | None = None,
    source: str | None = None,
) -> tuple[PatchSet, list[str]]:
    store = data.parent / "store"
    return load_patch_set(str(data), task=TASKS[task], label_codes=label_codes, store=store, source=source)


def npz(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "set.npz", **({"images": GREY, "labels": CLASSES} | arrays))
    return folder / "set.npz"


def pisa(folder: Path, **arrays: object) -> Path:
    content = {
        "train_tensor": GREY,
        "train_labels": PISA,
        "public_test_tensor": GREY[:4] + 1,
        "public_test_labels": PISA[:4],
    } | arrays
    (folder / "pisa").mkdir()
    for name, array in content.items():
        if array is not None:
            np.save(folder / "pisa" / f"{name}.npy", array)
    return folder / "pisa"


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def class_folders(folder: Path, *, suffix: str = ".png", images: np.ndarray = GREY) -> Path:
    for number, image in enumerate(images):
        name = "malignant" if CLASSES[number] else "benign"
        write(folder / "films" / name / f"{number}{suffix}", image)
    return folder / "films"


# ---- which source


def test_the_table_of_sources_is_read_only_and_complete() -> None:
    assert set(SOURCES) == {"phantom", "npz", "pisa", "folder", "wisconsin"}
    with pytest.raises(TypeError, match="does not support item assignment"):
        SOURCES["more"] = SOURCES["npz"]


def test_an_unknown_source_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown source 'piza'; did you mean 'pisa'"):
        load(npz(tmp_path), source="piza")


def test_missing_data_are_answered_with_the_nearest_name(tmp_path: Path) -> None:
    npz(tmp_path)
    with pytest.raises(DataError, match=r"no data at .*sett\.npz; did you mean .*set\.npz\?"):
        load(tmp_path / "sett.npz")
    with pytest.raises(DataError, match=r"no data at .*; there is no folder .*nowhere either"):
        load(tmp_path / "nowhere" / "set.npz")
    with pytest.raises(DataError, match=r"no data at fantom; did you mean phantom\?"):
        load_patch_set("fantom", task=TASKS["benign_malignant"], label_codes=None, store=tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("")
    with pytest.raises(DataError, match=r"no source reads set\.csv; give an \.npz file"):
        load(tmp_path / "set.csv")


def test_a_source_that_is_said_wins_over_the_guess(tmp_path: Path) -> None:
    folder = pisa(tmp_path)
    with pytest.raises(DataError, match="must hold class folders"):
        load(folder, source="folder")
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
        load(folder, source="npz")


# ---- phantom


def test_the_phantom_takes_settings_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    patch_set, notes = load_patch_set(
        "phantom: patients=3, size_px=32,subtlety=0.7,lesions_per_patient=2,seed=3",
        task=TASKS["normal_abnormal"],
        label_codes=None,
        store=tmp_path,
    )
    assert patch_set.images.shape == (12, 32, 32)
    assert patch_set.is_synthetic
    assert notes == ["SYNTHETIC phantom images: scores on them say nothing about patients"]
    assert (tmp_path / "data" / patch_set.fingerprint / "images.npy").is_file()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            "phantom:subtelty=0.7",
            UnknownNameError,
            "unknown phantom setting 'subtelty'; did you mean 'subtlety'",
        ),
        ("phantom:patients=ten", DataError, "phantom: patients must be a whole number, found 'ten'"),
        ("phantom:subtlety=", DataError, "phantom: subtlety must be a number, found ''"),
        ("phantom:patients=0", DataError, "phantom: patients must be from 1"),
    ],
)
def test_phantom_settings_that_cannot_be_used_are_refused(
    tmp_path: Path, data: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_patch_set(data, task=TASKS["benign_malignant"], label_codes=None, store=tmp_path)


def test_the_phantom_has_its_own_label_codes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the phantom's label codes are pisa, not 003"):
        load_patch_set("phantom", task=TASKS["benign_malignant"], label_codes="003", store=tmp_path)


# ---- npz


def test_zeros_and_ones_are_the_tasks_classes(tmp_path: Path) -> None:
    patch_set, notes = load(npz(tmp_path, patient=np.array([7, 7, 8, 8, 9, 9])))
    assert patch_set.label_codes == "task"
    assert patch_set.partners is None
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == ["7", "7", "8", "8", "9", "9"]
    assert notes == ["label codes: task (0 benign, 1 malignant)"]


def test_pairs_with_further_codes_are_pisas(tmp_path: Path) -> None:
    patch_set, notes = load(npz(tmp_path, labels=PISA))
    assert patch_set.label_codes == "pisa"
    assert patch_set.partners is not None
    assert patch_set.partners.tolist() == [-1, 0, -1, 2, -1, 4]
    assert notes == [
        "label codes: pisa (even rows are all 0, odd rows are not: baseline/abnormality pairs)",
        "no patient ids: folds cannot be grouped by patient, so scores may be optimistic",
    ]


def test_alternating_zeros_and_ones_are_classes_unless_normality_is_asked(tmp_path: Path) -> None:
    path = npz(tmp_path, labels=np.array([0, 1] * 3))
    patch_set, notes = load(path)
    assert (patch_set.label_codes, patch_set.partners) == ("task", None)
    assert "say --label-codes pisa if even rows are baselines" in notes[0]
    normality, _ = load(path, task="normal_abnormal")
    assert normality.label_codes == "pisa"
    assert normality.partners is not None


def test_codes_without_pairs_must_be_said(tmp_path: Path) -> None:
    path = npz(tmp_path, labels=np.array([1, 2, 3, 4, 1, 2]))
    with pytest.raises(DataError, match=r"the labels hold 1, 2, 3, 4, which could be .* --label-codes"):
        load(path)
    patch_set, notes = load(path, label_codes="003")
    assert (patch_set.label_codes, patch_set.partners) == ("003", None)
    assert notes[0] == "label codes: 003 (as given)"


def test_pairs_get_partners_when_the_codes_are_said_too(tmp_path: Path) -> None:
    assert load(npz(tmp_path, labels=PISA), label_codes="003")[0].partners is not None


def test_labels_outside_the_code_book_are_refused_before_anything_is_stored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label codes 'task' of task benign_malignant are 0 to 1"):
        load(npz(tmp_path, labels=PISA), label_codes="task")
    assert not (tmp_path / "store").exists()


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(OneClassError, match="the data hold only: benign"):
        load(npz(tmp_path, labels=np.zeros(6, int)))


def test_whole_numbers_of_other_types_are_converted_and_said(tmp_path: Path) -> None:
    small, notes = load(npz(tmp_path, images=GREY.astype(np.int64)))
    assert small.images.dtype == np.uint8
    np.testing.assert_array_equal(small.images, GREY)
    assert "int64 pixels from 0 to 255 are read as uint8" in notes[0]
    assert load(npz(tmp_path, images=GREY.astype(np.int32) * 257))[0].images.dtype == np.uint16


def test_big_endian_and_double_precision_images_keep_their_values(tmp_path: Path) -> None:
    big, _ = load(npz(tmp_path, images=GREY.astype(">u2")))
    np.testing.assert_array_equal(big.images, GREY)
    double, notes = load(npz(tmp_path, images=GREY / 255.0))
    assert double.images.dtype == np.float32
    assert "float64 pixels are read as float32" in notes[0]


def test_a_single_channel_is_dropped_and_equal_channels_are_grey(tmp_path: Path) -> None:
    assert load(npz(tmp_path, images=GREY[..., None]))[0].images.shape == (6, 8, 8)
    patch_set, notes = load(npz(tmp_path, images=np.repeat(GREY[..., None], 3, axis=3)))
    np.testing.assert_array_equal(patch_set.images, GREY)
    assert "the three channels are equal everywhere" in notes[0]
    assert load(npz(tmp_path, images=COLOUR))[0].channels == 3


def test_true_and_false_and_whole_floats_are_labels(tmp_path: Path) -> None:
    for labels in (CLASSES.astype(bool), CLASSES.astype(float)):
        assert load(npz(tmp_path, labels=labels))[0].labels.tolist() == CLASSES.tolist()


def test_patients_as_bytes_or_whole_floats_are_text(tmp_path: Path) -> None:
    for patients in (np.array([b"1", b"1", b"2", b"2", b"3", b"3"]), np.array([1.0, 1, 2, 2, 3, 3])):
        assert load(npz(tmp_path, patients=patients))[0].patients.tolist() == list("112233")


NAN, WIDE = (GREY / 255.0).astype(np.float32), GREY.astype(np.float32)
NAN[2, 3, 4] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": CLASSES[:4]}, r"one label an image: there are 6 images, and labels of shape \(4,\)"),
        ({"labels": np.eye(2)[CLASSES]}, r"labels of shape \(6, 2\)"),
        ({"labels": CLASSES + 0.5}, r"labels must be whole numbers; row 0 holds 0\.5"),
        ({"labels": np.where(CLASSES, np.nan, 0)}, "labels must be whole numbers; row 1 holds nan"),
        ({"labels": np.array(["b", "m"] * 3)}, "labels must be whole numbers, such as 0 for benign"),
        ({"labels": CLASSES.astype(object)}, "labels cannot be read .* save plain numbers or text"),
        ({"images": NAN}, "images: image 2 holds nan pixels"),
        ({"images": np.where(np.isnan(NAN), np.inf, NAN)}, "image 2 holds inf pixels"),
        ({"images": WIDE}, r"images are float32 from 0 to 255; float pixels must be in \[0, 1\]"),
        ({"images": NAN[:, 4:] - 1}, "float pixels must be in"),
        (
            {"images": GREY.astype(np.int64) - 1},
            r"images must be uint8, uint16 .* found int64 from -1 to 254",
        ),
        ({"images": GREY.astype(np.int64) * 300}, "found int64 from 0 to 76500"),
        ({"images": GREY > 99}, "images must be uint8, uint16 .* found bool"),
        ({"images": GREY.astype(complex)}, "found complex128"),
        ({"images": GREY.astype(object)}, "images cannot be read .* not Python objects"),
        ({"images": GREY[0]}, r"shape \(N, H, W\) or \(N, H, W, 3\), channels last; found \(8, 8\)"),
        ({"images": COLOUR.transpose(0, 3, 1, 2)}, r"channels last; found \(6, 3, 8, 8\)"),
        (
            {"images": GREY[:0], "labels": CLASSES[:0]},
            r"at least one image with pixels; found shape \(0, 8, 8\)",
        ),
        ({"patient": np.array(["a", "b"])}, r"one patient an image: there are 6 images, .* \(2,\)"),
        ({"patient": np.array(["a", "", "b", "b", "c", "c"])}, "patient: row 1 has no patient"),
        ({"patient": np.array([1, np.nan, 2, 2, 3, 3])}, "patient: row 1 has no patient"),
        ({"patient": np.array(["a"] * 6, object)}, r"patient cannot be read .*array\.astype\(str\)"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(
    tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(npz(tmp_path, **arrays))


def test_a_file_without_labels_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=GREY, target=CLASSES)
    with pytest.raises(
        DataError, match="must hold the arrays images and labels; labels missing, found: images, target"
    ):
        load(tmp_path / "set.npz")


@pytest.mark.parametrize("content", ["nothing", "text", "truncated", "one array"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: str) -> None:
    path = npz(tmp_path)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif content == "one array":
        with path.open("wb") as file:
            np.save(file, GREY)
    else:
        path.write_text("" if content == "nothing" else "hello")
    with pytest.raises(DataError, match=r"set\.npz cannot be read as an \.npz file"):
        load(path)


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=GREY, labels=CLASSES)
    content = bytearray(path.read_bytes())
    content[150:170] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.npz"):
        load(path)


# ---- pisa


def test_the_pisa_layout_keeps_its_own_test_set_and_pairs(tmp_path: Path) -> None:
    patch_set, notes = load(pisa(tmp_path))
    assert patch_set.images.shape == (10, 8, 8)
    assert patch_set.labels.tolist() == [*PISA.tolist(), 0, 1, 0, 2]
    assert patch_set.is_test is not None
    assert patch_set.is_test.tolist() == [False] * 6 + [True] * 4
    assert patch_set.partners is not None
    assert patch_set.partners.tolist() == [-1, 0, -1, 2, -1, 4, -1, 6, -1, 8]
    assert patch_set.patients is None
    assert any("no patient ids" in note for note in notes)
    assert "the public test part of 4 patches is the sealed test part" in notes


@pytest.mark.parametrize("name", ["test_patient", "public_test_patient"])
def test_patients_of_the_pisa_layout_are_read_where_they_are(tmp_path: Path, name: str) -> None:
    patch_set, _ = load(
        pisa(tmp_path, train_patient=np.array([1, 1, 1, 1, 2, 2]), **{name: np.array([3] * 4)})
    )
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == list("1111223333")


def test_the_pisa_layout_works_without_a_test_part(tmp_path: Path) -> None:
    patch_set, _ = load(pisa(tmp_path, public_test_tensor=None, public_test_labels=None))
    assert (len(patch_set.images), patch_set.is_test) == (6, None)


def test_rows_that_are_no_pairs_get_no_partners(tmp_path: Path) -> None:
    patch_set, notes = load(pisa(tmp_path, train_labels=np.array([1, 2, 3, 4, 1, 2])))
    assert patch_set.partners is None
    assert "rows are not baseline/abnormality pairs" in notes[0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_labels": None}, r"pisa must hold train_labels\.npy"),
        ({"public_test_labels": None}, r"pisa must hold public_test_labels\.npy"),
        ({"public_test_tensor": None}, r"pisa must hold public_test_tensor\.npy"),
        ({"train_labels": PISA[:4]}, r"train_labels\.npy must hold one label an image"),
        ({"public_test_tensor": GREY[:4, :5]}, r"images must be alike; found \(8, 8\) of uint8 and \(5, 8\)"),
        ({"public_test_tensor": GREY[:4].astype(np.uint16)}, "must be alike"),
        ({"train_patient": np.arange(6)}, r"patients for one part only; add public_test_patient\.npy"),
        ({"test_patient": np.arange(4)}, r"patients for one part only; add train_patient\.npy"),
        ({"train_tensor": GREY > 9}, r"train_tensor\.npy must be uint8, .* found bool"),
    ],
)
def test_a_pisa_layout_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(pisa(tmp_path, **arrays))


def test_a_truncated_tensor_is_refused(tmp_path: Path) -> None:
    path = pisa(tmp_path) / "train_tensor.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"train_tensor\.npy cannot be read .*save it again"):
        load(path.parent)


# ---- folder


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".pgm", ".bmp", ".PNG"])
def test_class_folders_of_lossless_files_read_back_exactly(tmp_path: Path, suffix: str) -> None:
    patch_set, notes = load(class_folders(tmp_path, suffix=suffix))
    np.testing.assert_array_equal(patch_set.images, GREY[[0, 3, 5, 1, 2, 4]])
    assert patch_set.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (patch_set.label_codes, patch_set.channels) == ("task", 1)
    assert notes[0] == "label codes: task (from the folder names)"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    deep = GREY.astype(np.uint16) * 257 + 3
    patch_set, _ = load(class_folders(tmp_path, suffix=suffix, images=deep))
    np.testing.assert_array_equal(patch_set.images, deep[[0, 3, 5, 1, 2, 4]])


def test_jpeg_files_read_back_nearly(tmp_path: Path) -> None:
    smooth = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in GREY])
    patch_set, _ = load(class_folders(tmp_path, suffix=".jpg", images=smooth))
    assert np.abs(patch_set.images.astype(int) - smooth[[0, 3, 5, 1, 2, 4]]).max() < 8


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_colour_is_read_in_rgb_order_and_alpha_is_dropped(tmp_path: Path, depth: type) -> None:
    colour = COLOUR.astype(depth)
    opaque = np.concatenate([colour, np.full_like(colour[..., :1], 255)], axis=3)
    for number, image in enumerate(opaque[..., [2, 1, 0, 3]]):
        write(tmp_path / "films" / str(CLASSES[number]) / f"{number}.png", image)
    patch_set, _ = load(tmp_path / "films")
    np.testing.assert_array_equal(patch_set.images, colour[[0, 3, 5, 1, 2, 4]])


def test_grey_images_stored_as_rgb_stay_grey(tmp_path: Path) -> None:
    patch_set, notes = load(class_folders(tmp_path, images=np.repeat(GREY[..., None], 3, axis=3)))
    assert patch_set.channels == 1
    assert "6 of 6 images are stored as RGB with equal channels and are read as grey" in notes


def test_grey_images_among_coloured_ones_are_copied_to_three_channels(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, images=COLOUR)
    write(folder / "benign" / "0.png", GREY[0])
    patch_set, notes = load(folder)
    np.testing.assert_array_equal(patch_set.images[0], np.repeat(GREY[0][..., None], 3, axis=2))
    assert "1 of 6 images are grey and were copied to three channels" in notes


def test_images_of_another_shape_are_resized_and_counted(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    write(folder / "benign" / "0.png", np.full((16, 16), 9, np.uint8))
    patch_set, notes = load(folder)
    assert patch_set.images.shape == (6, 8, 8)
    assert (patch_set.images[0] == 9).all()
    assert "1 of 6 images is not 8x8 and was resized" in notes


@pytest.mark.parametrize(
    ("names", "label_codes", "labels"),
    [
        (("Benign", "MALIGNANT"), "task", [0, 1]),
        (("0", "1"), "task", [0, 1]),
        (("Calcification-Malignant", "mass benign"), "pisa", [4, 1]),
    ],
)
def test_class_folders_have_many_spellings(
    tmp_path: Path, names: tuple[str, str], label_codes: str, labels: list[int]
) -> None:
    for name in names:
        write(tmp_path / "films" / name / "a.png", GREY[0])
    patch_set, _ = load(tmp_path / "films")
    assert (patch_set.label_codes, patch_set.labels.tolist()) == (label_codes, labels)


def test_numbers_are_codes_where_their_meaning_is_said(tmp_path: Path) -> None:
    for code in range(5):
        write(tmp_path / "films" / str(code) / "a.png", GREY[code])
    with pytest.raises(
        DataError, match="class folders must be named benign and malignant, 0 and 1, findings"
    ):
        load(tmp_path / "films")
    patch_set, _ = load(tmp_path / "films", label_codes="003")
    assert (patch_set.label_codes, patch_set.labels.tolist()) == ("003", [0, 1, 2, 3, 4])


def test_label_codes_against_folder_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"say what they hold .* against --label-codes pisa; leave that option out"
    ):
        load(class_folders(tmp_path), label_codes="pisa")


def test_a_misspelt_class_folder_is_answered_with_the_nearest(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "benign").rename(folder / "begnin")
    with pytest.raises(DataError, match=r"found: begnin, malignant; did you mean benign for begnin\?"):
        load(folder)


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "films" / "a.png", GREY[0])
    with pytest.raises(DataError, match=r"films must hold class folders .*; it holds no folder"):
        load(tmp_path / "films")


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    for path in (folder / "benign").iterdir():
        path.rename(path.with_suffix(".gif"))
    with pytest.raises(DataError, match=r"class folder .*benign must hold PNG, .* it holds none"):
        load(folder)


def test_a_single_class_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "films" / "benign" / "a.png", GREY[0])
    with pytest.raises(OneClassError, match=r"only one class folder, benign; .* needs benign and malignant"):
        load(tmp_path / "films")


def test_other_files_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "benign" / "notes.txt").write_text("")
    assert "files left out, since they are no PNG, JPEG, TIFF, PGM or BMP: 1" in load(folder)[1]


def test_mixed_depths_are_refused(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    write(folder / "benign" / "deep.png", GREY[0].astype(np.uint16))
    with pytest.raises(
        DataError, match=r"8- and 16-bit images are mixed: .*0\.png has 8 bits, .*deep\.png has 16"
    ):
        load(folder)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pgm", ".bmp", ".tif"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str, kept: float) -> None:
    folder = class_folders(tmp_path)
    broken = folder / "benign" / f"broken{suffix}"
    write(broken, np.random.default_rng(0).integers(0, 256, (60, 60)).astype(np.uint8))
    content = broken.read_bytes()
    broken.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(
        DataError, match=rf"broken\{suffix} cannot be read as an image.* replace it or remove it"
    ):
        load(folder)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pgm", ".bmp"])
def test_a_truncated_image_is_named_even_where_opencv_pads_it(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = class_folders(tmp_path, suffix=suffix) / "benign" / f"0{suffix}"
    path.write_bytes(path.read_bytes()[:-20])
    monkeypatch.setattr(cv2, "imdecode", lambda content, flags: GREY[0])
    with pytest.raises(DataError, match=rf"0\{suffix} cannot be read as an image \("):
        load(path.parent.parent)


@pytest.mark.parametrize("place", [60, -13])
def test_a_png_with_a_flipped_byte_is_named(
    tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = class_folders(tmp_path) / "benign" / "0.png"
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)
    monkeypatch.setattr(cv2, "imdecode", lambda content, flags: GREY[0])
    with pytest.raises(DataError, match=r"0\.png cannot be read as an image"):
        load(path.parent.parent)


def test_float_images_are_refused(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    write(folder / "benign" / "float.tif", np.zeros((8, 8), np.float32))
    with pytest.raises(DataError, match=r"float\.tif holds float32 pixels; save it with 8 or 16 bits"):
        load(folder)


# ---- patients of folders


@pytest.mark.parametrize("is_bare", [True, False])
def test_a_table_says_whose_the_images_are(tmp_path: Path, is_bare: bool) -> None:
    folder = class_folders(tmp_path)
    rows = [
        f"{'' if is_bare else path.parent.name + '/'}{path.name}, p{path.stem}"
        for path in folder.glob("*/*.png")
    ]
    (folder / "patients.csv").write_text(
        "\n".join(["\ufefffile,patient", *rows, "gone.png,p9"]), encoding="utf-8"
    )
    patch_set, notes = load(folder)
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == ["p0", "p3", "p5", "p1", "p2", "p4"]
    assert "patients.csv: 1 row names no image in this folder" in notes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,patient\n0.png,a", r"patients\.csv has no row for benign/3\.png; add one with its patient"),
        ("name,patient\n0.png,a", "must have the columns file and patient; found: name, patient"),
        ("", "must have the columns file and patient; found: none"),
        ("file,patient\n0.png,", "line 2: file and patient must both be filled in"),
        ("file,patient\n0.png", "line 2: file and patient must both be filled in"),
        ("file,patient\n0.png,a\n0.png,b", r"gives 0\.png to both a and b; keep one"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, table: str, message: str) -> None:
    folder = class_folders(tmp_path)
    (folder / "patients.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        load(folder)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "patients.csv").write_bytes(b"file,patient\n0.png,\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as CSV in UTF-8"):
        load(folder)


def test_a_bare_name_that_stands_for_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("benign", "malignant"):
        write(tmp_path / "films" / name / "a.png", GREY[0])
    (tmp_path / "films" / "patients.csv").write_text("file,patient\na.png,p1")
    with pytest.raises(
        DataError, match=r"names a\.png, but 2 files are called that; write benign/a\.png in full"
    ):
        load(tmp_path / "films")


def by_patient(folder: Path) -> Path:
    for patient in ("8863", "8864", "0"):
        for name in ("0", "1"):
            write(folder / "idc" / patient / name / f"{patient}_{name}.png", COLOUR[0])
    return folder / "idc"


def test_patient_folders_with_class_folders_give_patients(tmp_path: Path) -> None:
    patch_set, notes = load(by_patient(tmp_path))
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == ["0", "0", "8863", "8863", "8864", "8864"]
    assert patch_set.labels.tolist() == [0, 1] * 3
    assert notes[0] == "patients: the 3 folders of idc"


def test_a_nested_copy_of_the_patients_is_left_out(tmp_path: Path) -> None:
    folder = by_patient(tmp_path)
    for patient in ("8863", "8864"):
        write(folder / "IDC_regular_ps50_idx5" / patient / "0" / "a.png", COLOUR[0])
    patch_set, notes = load(folder)
    assert len(patch_set.images) == 6
    assert "IDC_regular_ps50_idx5 is a nested copy of its neighbours and was left out" in notes


def test_train_and_test_folders_are_not_taken_for_patients(tmp_path: Path) -> None:
    for part in ("train", "Test"):
        for name in ("benign", "malignant"):
            write(tmp_path / "films" / part / name / "a.png", GREY[0])
    with pytest.raises(DataError, match="folders Test, train look like parts of a split"):
        load(tmp_path / "films")


def test_patient_folders_without_images_are_refused(tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / "idc" / "8863" / name).mkdir(parents=True)
    with pytest.raises(DataError, match=r"class folders below .*idc must hold images; they hold none"):
        load(tmp_path / "idc")
