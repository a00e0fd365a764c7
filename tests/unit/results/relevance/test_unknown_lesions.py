"""Images whose lesions are not known say nothing about false marks."""

from results.relevance.explanation import Explanation, Explanations, explanations_table, sensitivities
from results.relevance.frame import Frame
from results.relevance.method import FoundBox

LESION, ELSEWHERE = Frame(10, 10, 10, 10), Frame(50, 50, 10, 10)


def film(
    label: str | None, known: tuple[Frame, ...], *marks: FoundBox, explained: str = "malignant"
) -> Explanation:
    return Explanation(
        name="film",
        label=label,
        known=known,
        marks=marks,
        explained_class=explained,
        probability=0.9,
        frame=None,
        peak=(0, 0),
        highest=0.1,
        evaluations=1,
        seconds=0.1,
    )


KNOWN = film("malignant", (LESION,), FoundBox(LESION, 0.8))
UNKNOWN = film("malignant", (), FoundBox(ELSEWHERE, 0.9))
HEALTHY = film("normal", (), FoundBox(ELSEWHERE, 0.9))


def test_a_malignant_image_without_a_box_changes_nothing_and_is_counted() -> None:
    alone, left_out = sensitivities([KNOWN], healthy="normal")
    assert (alone[0.25], left_out) == (1.0, 0)
    assert sensitivities([KNOWN, UNKNOWN, UNKNOWN], healthy="normal") == (alone, 2)
    assert sensitivities([KNOWN, film(None, ())], healthy="normal") == (alone, 1)


def test_marks_on_an_image_of_the_healthy_class_are_false() -> None:
    found, left_out = sensitivities([KNOWN, HEALTHY, UNKNOWN], healthy="normal")
    assert (found[0.25], found[0.5], left_out) == (0.0, 1.0, 1)


def test_without_known_lesions_there_is_no_curve() -> None:
    assert sensitivities([UNKNOWN, HEALTHY], healthy="normal") == ({}, 0)


def test_the_table_says_how_many_images_were_left_out() -> None:
    images = (KNOWN, UNKNOWN)
    found_at, left_out = sensitivities(images, healthy="normal")
    found = Explanations(
        model="trial 1",
        trials=(1,),
        method="windows",
        about="the probability",
        source="",
        images=images,
        found_at=found_at,
        left_out=left_out,
    )
    said = str(explanations_table(found).caption)
    assert "1 image whose lesions are not known is left out of that." in said


def test_without_a_class_that_is_free_of_lesions_only_images_with_boxes_count() -> None:
    alone, _ = sensitivities([KNOWN], healthy=None)
    others = [film(label, (), FoundBox(ELSEWHERE, 0.9)) for label in ("mass", "benign", None)]
    assert sensitivities([KNOWN, *others], healthy=None) == (alone, 3)


def test_peaks_of_the_class_without_lesions_mark_no_lesion() -> None:
    called_normal = film("normal", (), FoundBox(ELSEWHERE, 0.9), explained="normal")
    missed = film("malignant", (LESION,), FoundBox(LESION, 0.9), explained="normal")
    found, left_out = sensitivities([KNOWN, called_normal, missed], healthy="normal")
    assert (found[0.25], found[4.0], left_out) == (0.5, 0.5, 0)
