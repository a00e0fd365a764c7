"""`orchestrate cluster status`."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.common import add_format
from orchestrator.cli.remote import add_file, ask_head, open_cluster
from orchestrator.reporting.console import Sections, messages, print_message

if TYPE_CHECKING:
    from cluster.cluster_file import ClusterFile

HELP = "say which machines of a cluster have joined, what is free, and what runs there"
EPILOG = """\
Asks Ray on the first machine, over SSH, as `ray exec FILE 'ray status'` does.
Machines of the file that have not joined are named, of rented ones how many of
min_workers; exit code 1 then.

examples:
  orchestrate cluster status cluster/dgx.yaml
  orchestrate cluster status cluster/local.yaml --format json
"""
_RENTED: Final = "a rented machine"
_NODE_COLUMNS: Final = ("address", "state", "cpus", "gpus", "memory_gb")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print; returns 1 if a machine of the file has not joined, else 0."""
    from cluster.launcher import on_head
    from orchestrator.cli.status import print_searches, searches_on_head
    from results.tables import csv_text

    file, login = open_cluster(arguments.file)
    command = on_head(file, login, "nodes")
    print_message(messages(), f"runs on {login.host}: {command.rpartition('exec ')[2]}")
    found = ask_head(login, command)
    rows = node_rows(file, found)
    facts = {name: found[name] for name in ("address", "free_cpus", "free_gpus")}
    with Sections(arguments.format, lambda: facts) as output:
        output.add(
            "nodes",
            table=lambda: _table(rows, found),
            rows=lambda: rows,
            csv=lambda: csv_text(rows, _NODE_COLUMNS),
        )
        print_searches(output, searches_on_head(file, login))
    return 1 if any(row["state"] != "joined" for row in rows) else 0


def node_rows(file: "ClusterFile", found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the machines of a cluster: those that have joined, and those of the file that have not.

    Rented machines have no address in the file; as many are missing as too few have joined.

    Args:
        file: The cluster file.
        found: What `cluster.on_head.nodes` returns.
    """
    alive = [node for node in found["nodes"] if node["is_alive"]]
    rows = [
        {
            "address": str(node["address"]),
            "state": "joined",
            "cpus": node["cpus"],
            "gpus": node["gpus"],
            "memory_gb": round(node["memory_bytes"] / 1e9, 1),
        }
        for node in alive
    ]
    joined = {row["address"] for row in rows}
    missing = [host for host in file.workers if host not in joined]
    lacking = sum(file.rented.values()) - max(0, len(rows) - 1)  # without the head
    missing += [f"rented ({' or '.join(file.rented)})"] * max(0, lacking)
    return rows + [
        {"address": host, "state": "not joined", "cpus": None, "gpus": None, "memory_gb": None}
        for host in missing
    ]


def _table(rows: list[dict[str, Any]], found: Mapping[str, Any]) -> Any:
    from results.tables import result_table
    from trainables.common.text import printable

    table = result_table()
    table.add_column("machine", overflow="fold")
    table.add_column("state")
    for header in ("CPUs", "GPUs", "memory"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        cells = ["-", "-", "-"]
        if row["cpus"] is not None:
            cells = [f"{row['cpus']:g}", f"{row['gpus']:g}", f"{row['memory_gb']:g} GB"]
        table.add_row(printable(row["address"], keeps=""), row["state"], *cells)
    table.caption = f"free: {found['free_cpus']:g} CPUs, {found['free_gpus']:g} GPUs"
    return table
