"""Published collections of breast images as they lie on the disk: the record that the registry holds.

A collection lists what is there; it reads tables and names of files, not pixels. `trainables/data/prepared/`
reads the pixels, makes them ready and writes the prepared set, for every collection in the same way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:  # it takes as long to import as all the rest that processes need to prepare images
    from trainables.config.tasks import StoredCodes, Task
    from trainables.data.columns import Laterality

Cut: TypeAlias = Literal["whole", "box", "roi_1", "roi_2", "data_set_6", "tiles"]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the stored image, before it is made ready.

    Attributes:
        left: First column, 0-based.
        top: First row, 0-based, from the upper edge.
        width: Columns, at least 1.
        height: Rows, at least 1.
    """

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Example:
    """One image, or one region of an image, with what is known about it; what is unknown is None.

    Attributes:
        file: File with the pixels.
        name: Name of the example, unique in its collection and the same on every machine, such as
            `Mass-Training_P_00001_LEFT_CC_1`.
        label: Label code, by the code book that the listing names.
        patient: Patient, as the collection writes it; the unit that no split may cut.
        exam: Examination: all images of one patient at one visit.
        laterality: Side of the breast.
        view: View of the mammogram in upper case, such as CC, MLO or ML; None for other images.
        frame: Number of the frame, or of the row, in a file of several, 0-based; None for the only one.
        box: Region to cut out; None takes the whole image.
        mask: File with the outline of the region, where the box is to be taken from it.
        more_masks: Further outlines on the same image, which are united with the first.
        is_test: True for what the collection's authors set apart as the test part.
        cut: How pieces are cut out of the image. `whole`: not at all, its mask is kept beside it; `box`: the
            region itself; `roi_1`, `roi_2`, `data_set_6`: the methods of source system 003 around the region,
            several pieces each; `tiles`: tiles of tissue over the whole image, by the thresholds of the
            scanner in `columns["machine"]`. None takes the region where there is one, else the whole image.
        partner: Name of the baseline example of this one: the healthy patch of the same film.
        columns: What else is known, such as `age_years`, `density`, `birads`, `vendor`, `machine`, `site`,
            `finding`, `pathology`, `subtlety`; column -> text or number. Nothing here names a person.
            `is_extra` is true for images that train in every fold and are never scored.
    """

    file: Path
    name: str
    label: int
    patient: str | None = None
    exam: str | None = None
    laterality: "Laterality | None" = None
    view: str | None = None
    frame: int | None = None
    box: Box | None = None
    mask: Path | None = None
    is_test: bool | None = None
    cut: Cut | None = None
    partner: str | None = None
    columns: Mapping[str, str | float | int | bool] = field(default_factory=dict)
    more_masks: tuple[Path, ...] = field(default=(), repr=False)  # sets without them keep their digests

    @property
    def masks(self) -> tuple[Path, ...]:
        """All files with an outline."""
        return () if self.mask is None else (self.mask, *self.more_masks)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something of the collection that is not used, with the reason.

    Attributes:
        what: File, row or name, as the user would look for it.
        reason: Rest of a sentence, such as `has no pathology that is known ("BENIGNN")`.
    """

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a collection holds.

    Attributes:
        examples: Examples in a fixed order, which does not depend on the file system.
        label_codes: Code book of the labels.
        notes: Sentences to print: what was decided, such as how patients were joined.
        problems: What is not used, each with its reason.
        classes: Names of the classes where labels are class indices of the collection's own task.
        is_mammogram: Whether the images are films and mammograms, where a look at them decides; None for what
            the collection says.
    """

    examples: tuple[Example, ...]
    label_codes: "StoredCodes"
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    classes: tuple[str, ...] = ()
    is_mammogram: bool | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user chooses of a collection.

    Attributes:
        regions: `image` takes whole images, `roi` one example a region, `patches` the tiles or pairs of
            patches that the source system cut; None takes what the collection is published for.
        table: Table of labels that the user names, where the collection does not bring its own.
        options: Further choices by name, which the collection checks, such as `roi_method: 2`.
        task: Task that the labels of a user's own layout are for, as a search asks for it; None for the one
            that the option `task` names.
    """

    regions: Literal["image", "roi", "patches"] | None = None
    table: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    task: "Task | None" = None


@dataclass(frozen=True, slots=True)
class Collection:
    """A published collection.

    Attributes:
        name: Name that the user types: `orchestrate data prepare NAME PATH`.
        title: Name that people use, with its authors' year, such as `CBIS-DDSM (Lee et al. 2017)`.
        accepts: Description of the folder that it reads.
        list: Lists the examples below a path. Raises DataError if the path holds no such collection.
        reads: True for an existing path that is this collection; it looks at a few names only.
        is_mammogram: True for films and mammograms, which are made ready as such (breast found, turned,
            resampled); False for histology, ultrasound and tables.
        licence: Terms under which the images may be used, in one sentence; it goes into the set and the card.
        size: Height and width of prepared whole images, in pixels, unless the user says another; None takes
            that of whole mammograms, and of other images the most frequent one.
        region_size: The same of regions of them; None takes the usual one of how regions are cut.
        is_read_directly: True where a search reads such a folder as it is, without preparing it on the way.
        is_general: True for a layout of the user's own, which yields to a published collection that reads the
            same folder.
    """

    name: str
    title: str
    accepts: str
    list: Callable[[Path, Choices], Listing]
    reads: Callable[[Path], bool]
    is_mammogram: bool
    licence: str
    size: tuple[int, int] | None = None
    region_size: tuple[int, int] | None = None
    is_read_directly: bool = False
    is_general: bool = False

    @property
    def own_sizes(self) -> str:
        """Its own sizes in words; empty where it has none.

        >>> Collection("a", "A", "a folder", list, bool, False, "free", size=(512, 256)).own_sizes
        'images 512x256'
        """
        own = {"images": self.size, "regions": self.region_size}
        return ", ".join(f"{what} {size[0]}x{size[1]}" for what, size in own.items() if size is not None)
