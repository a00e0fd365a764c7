"""Small trees of the published collections, laid out and named as on the disk, with the traps of each.

One module a collection. Each has `NAME`, `build(folder)`, `EXAMPLES` (how many the collection lists by
default), `PROBLEMS` (how many things it cannot use), and `COLUMN`, a column that its table cannot do without,
with the file that holds it; None for collections without a table.
"""

import importlib
import pkgutil
from types import MappingProxyType, ModuleType

TREES: MappingProxyType[str, ModuleType] = MappingProxyType(
    {
        module.NAME: module
        for found in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name)
        if hasattr(module := importlib.import_module(f"{__name__}.{found.name}"), "NAME")
    }
)
