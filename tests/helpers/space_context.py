"""The context of a search space as a machine gives it that affords everything."""

from search_spaces.closed_form import HEADS, RARER_HEADS, SCALINGS
from search_spaces.context import SpaceContext
from search_spaces.registry import TASK_SPACES
from trainables.config.tasks import TASKS
from trainables.models.registry import BACKBONES, DEFAULT_BACKBONES, backbone_named

IMAGE_SPACES = sorted(name for name in TASK_SPACES if not TASKS[name].takes_table)
PRETRAINED = tuple(name for name, backbone in BACKBONES.items() if backbone.has_imagenet_weights)
FIXED = tuple(name for name, backbone in BACKBONES.items() if backbone.is_fixed)

# One backbone and nothing else: for tests of a study, whose space asks the context for nothing.
NARROW = SpaceContext(
    backbones=("vgg16",),
    from_scratch=frozenset(),
    fine_tunes={},
    flattens={},
    levels={},
    adapts_channels=frozenset(),
    augmentations=(),
    sizes_px={},
    epochs=20,
    images=100,
)


def context(backbones: tuple[str, ...] = DEFAULT_BACKBONES) -> SpaceContext:
    def levels(name: str) -> tuple[str, ...]:
        return backbone_named(name).cut_names

    return SpaceContext(
        backbones=backbones,
        from_scratch=frozenset(backbones) - {*PRETRAINED, *FIXED},
        fine_tunes={name: () if name in FIXED else levels(name)[:2] for name in backbones},
        flattens={name: levels(name) for name in backbones},
        levels={name: levels(name) for name in backbones},
        adapts_channels=frozenset(backbones) & {"vgg16"},
        augmentations=("none", "flips", "d4", "rotate"),
        sizes_px=dict.fromkeys(backbones, 150),
        epochs=30,
        images=100,
        heads=HEADS,
        rarer_heads=RARER_HEADS,
        scalings=SCALINGS,
    )
