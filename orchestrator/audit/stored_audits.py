"""Audits in the store: each set is audited once for a task and a split, whoever searches it next."""

import hashlib
import json
from pathlib import Path

import numpy as np

from orchestrator.audit.audit import OF_A_SEARCH, Effort, audit_set
from orchestrator.audit.examined_set import ExaminedSet
from orchestrator.audit.feature_copies import StoredVectors, stored_vectors
from results.run.audit_record import FORMAT, AuditRecord
from trainables.common.files import write_atomically

FOLDER = "audits"


def audit_once(examined: ExaminedSet, store: Path, effort: Effort = OF_A_SEARCH) -> AuditRecord:
    """Return the audit of a set: from the store, else made now and stored there.

    Once a search has left features of the set in the store, it is audited once more with these.

    Args:
        examined: The set, with its task and split.
        store: Folder of the store; audits are in `<store>/audits/`.
        effort: How much of a large set is looked at.

    Raises:
        OSError: If the store cannot be written.
    """
    features = stored_vectors(examined, store)
    file = store / FOLDER / f"{audit_key(examined, effort, features)}.json"
    try:
        return AuditRecord.model_validate_json(file.read_text())
    except (OSError, ValueError):  # not there, or of no use
        record = audit_set(examined, effort, features)
    write_atomically(file, record.model_dump_json(indent=1) + "\n")
    return record


def audit_key(examined: ExaminedSet, effort: Effort, features: StoredVectors | None = None) -> str:
    """Return the name of an audit: the hash of everything that it depends on."""
    digest = hashlib.sha256()
    task = (examined.task.name, examined.task.classes)
    digest.update(json.dumps([FORMAT, examined.patch_set.fingerprint, *task, str(effort)]).encode())
    for array in (examined.rows.labels, examined.parts):
        digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    for name in sorted(examined.columns):
        digest.update(json.dumps([name, np.asarray(examined.columns[name]).tolist()]).encode())
    digest.update("\n".join(examined.patch_set.names).encode("utf-8", "surrogateescape"))
    if features is not None:
        digest.update(features.backbone.encode())
    return f"{examined.patch_set.fingerprint[:16]}-{digest.hexdigest()[:16]}"
