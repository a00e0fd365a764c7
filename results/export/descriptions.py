"""What a bundle says about itself: its manifest, and its card in two forms."""

import json
from pathlib import Path

from results.export.card_templates import card_as_json
from results.export.manifest import CARD_DATA_FILE, CARD_FILE, MANIFEST_FILE, Manifest
from results.export.model_card import model_card
from trainables.common.files import write_atomically


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a bundle and the two forms of the card, which say the same."""
    write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json(indent=1) + "\n")
    write_atomically(folder / CARD_FILE, model_card(manifest))
    write_atomically(folder / CARD_DATA_FILE, json.dumps(card_as_json(manifest), indent=1) + "\n")
