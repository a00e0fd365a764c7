"""A search audits its data before its first trial, and says so where people look."""

from pathlib import Path

import numpy as np
from audited_sets import textured_set

from benchmarks.changed_copies import brightened
from cluster.background import KnownConnection
from cluster.connect import Connection
from orchestrator.preflight.preflight import Preflight, run_preflight
from orchestrator.request import parse_request
from results.export.model_card import audit_lines
from results.run.audit_record import AuditRecord


def preflight(tmp_path: Path, said: list[str], **options: object) -> Preflight:
    raw = textured_set(80)
    assert raw.patients is not None
    np.savez(
        tmp_path / "set.npz",
        images=np.concatenate([raw.images, brightened(raw.images[7])[None]]),
        labels=np.append(raw.labels, raw.labels[7]),
        patient=np.append(raw.patients, "somebody"),
    )
    request = parse_request(
        {
            "task": "benign_malignant",
            "data": str(tmp_path / "set.npz"),
            "runs": tmp_path,
            "fixed_params": {"model.backbone": "intensity"},
            "may_download": False,
            **options,
        }
    )
    return run_preflight(request, KnownConnection(Connection("", True, 1.0, 0.0, 1, "")), said.append)


def test_five_lines_say_what_the_audit_found(tmp_path: Path) -> None:
    said: list[str] = []
    found = preflight(tmp_path, said).audit
    assert found is not None
    audited = [line for line in said if "audit" in line]
    assert len(audited) == 5
    assert audited[1].startswith("WARNING: audit, copies: 1 pair of images of different patients")
    assert (tmp_path / ".store" / "audits").is_dir()


def test_no_audit_leaves_it_out(tmp_path: Path) -> None:
    said: list[str] = []
    assert preflight(tmp_path, said, audit=False).audit is None
    assert not any("audit" in line for line in said)


def test_the_card_lists_what_was_found_without_names(tmp_path: Path) -> None:
    found = preflight(tmp_path, []).audit
    assert isinstance(found, AuditRecord)
    card = audit_lines(found.without_names())
    assert "WARNING: audit, copies" in card
    assert "somebody" not in card
