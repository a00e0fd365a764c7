"""Names of makers of mammography machines and film scanners, as headers write them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Part of the manufacturer in lower case -> one name for all spellings. The first match counts: Lorad
# was bought by Hologic, Sectra's MicroDose by Philips, Kodak's machines by Carestream, Giotto is of IMS.
VENDORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "hologic": "Hologic",
        "lorad": "Hologic",
        "ge medical": "GE",
        "ge healthcare": "GE",
        "general electric": "GE",
        "siemens": "Siemens",
        "philips": "Philips",
        "sectra": "Philips",
        "fuji": "Fujifilm",
        "giotto": "IMS Giotto",
        "ims s": "IMS Giotto",
        "internazionale medico": "IMS Giotto",
        "planmed": "Planmed",
        "carestream": "Carestream",
        "kodak": "Carestream",
        "agfa": "Agfa",
        "konica": "Konica Minolta",
        "lumisys": "Lumisys",
        "howtek": "Howtek",
        "vidar": "Vidar",
        "metaltronica": "Metaltronica",
    }
)


def vendor_of(manufacturer: str | None) -> str | None:
    """Return the maker of a machine by its one name; one that is not in the table as it is written.

    >>> vendor_of("LORAD, A Hologic Company")
    'Hologic'
    """
    written = " ".join((manufacturer or "").split())
    return scanner_of(written) or written or None


def scanner_of(device: str | None) -> str | None:
    """Return the maker of a device by its one name; None for one that is not in the table, as for programs.

    >>> scanner_of("LUMISYS"), scanner_of("MathWorks")
    ('Lumisys', None)
    """
    lower = " ".join((device or "").lower().split())
    return next((name for part, name in VENDORS.items() if part in lower), None)
