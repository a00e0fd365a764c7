"""What a cluster file says, and what is wrong with it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.cluster_file import ClusterFile, marks, read_cluster_file, schema_faults
from cluster.errors import RenderError

REPOSITORY = Path(__file__).parents[3]


def file_of(**changes: Any) -> ClusterFile:
    config = yaml.safe_load((REPOSITORY / "cluster/local.yaml").read_text())
    return ClusterFile(Path("my.yaml"), config | changes)


def test_a_file_says_where_machines_are_and_who_logs_in() -> None:
    file = read_cluster_file(REPOSITORY / "cluster/local.yaml")
    assert (file.name, file.provider, file.is_rented) == ("breast-search-local", "local", False)
    assert (file.head, file.workers, file.user) == ("10.0.0.1", ("10.0.0.2",), "your-login")
    assert file.key == Path("~/.ssh/id_ed25519").expanduser()
    assert (file.port, file.remote_folder, file.proxy_command) == (6379, "~/orchestrate", None)
    assert file.needs_first_autoscaler


def test_rented_machines_have_no_address_in_the_file() -> None:
    file = read_cluster_file(REPOSITORY / "cluster/aws.yaml")
    assert (file.is_rented, file.head, file.workers, file.needs_first_autoscaler) == (True, None, (), False)


def test_the_address_from_outside_is_the_one_to_log_in_to() -> None:
    provider = {"type": "local", "head_ip": "10.0.0.1", "external_head_ip": "192.0.2.9", "worker_ips": []}
    assert file_of(provider=provider).head == "192.0.2.9"


def test_the_port_is_that_of_the_start_command() -> None:
    assert file_of(head_start_ray_commands=["ray start --head --port=7001"]).port == 7001
    assert file_of(head_start_ray_commands=["ray start --head"]).port == 6379


def test_a_file_that_does_not_copy_the_project_is_refused_where_it_matters() -> None:
    with pytest.raises(RenderError, match=r"my\.yaml does not copy the project: file_mounts names no"):
        assert file_of(file_mounts={}).remote_folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apiVersion: ray.io/v1\nkind: RayCluster", "is for Kubernetes, not for `ray up`: kubectl apply -f"),
        ("a: [", "it is not valid YAML"),
        ("- a", "it has no provider"),
        ("provider: aws", "it has no provider"),
    ],
)
def test_what_is_no_cluster_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(RenderError, match=message):
        read_cluster_file(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"cannot read .*: No such file"):
        read_cluster_file(tmp_path / "nothing.yaml")


def test_the_schema_names_what_does_not_fit() -> None:
    assert schema_faults(file_of().config) == []
    assert schema_faults(file_of(max_workers=-1).config) == ["max_workers: -1 is less than the minimum of 0"]
    assert "workers' was unexpected" in schema_faults(file_of(workers=3).config)[0]
    assert schema_faults(file_of(provider={"type": "local", "head_ip": "a"}).config) == [
        "provider lacks worker_ips"
    ]


@pytest.mark.parametrize("name", ["dgx.yaml", "local.yaml", "aws.yaml"])
def test_what_is_to_be_filled_in_is_known_and_every_mark_says_what_it_does(name: str) -> None:
    text = (REPOSITORY / "cluster" / name).read_text()
    found = {mark.key: mark for mark in marks(read_cluster_file(REPOSITORY / "cluster" / name))}
    assert all(mark.effect for mark in found.values())
    open_marks = {key for key, mark in found.items() if not mark.is_filled_in}
    assert open_marks, "an example would be taken for a real setting"
    assert text.count("example.org") + text.count("your-") >= len(open_marks)


def test_what_is_filled_in_is_no_example() -> None:
    auth = {"ssh_user": "me", "ssh_private_key": "~/.ssh/id"}
    found = {mark.key: mark for mark in marks(file_of(auth=auth, max_workers=0))}
    assert [key for key, mark in found.items() if not mark.is_filled_in] == []
    assert found["provider.worker_ips"].value == "10.0.0.2"
    one = {"type": "local", "head_ip": "10.0.0.1", "worker_ips": []}
    alone = {mark.key: mark for mark in marks(file_of(provider=one))}["provider.worker_ips"]
    assert (alone.value, alone.effect) == ("none:", "no machine besides the head")


@pytest.mark.parametrize(
    ("content", "rented"),
    [
        (
            {"available_node_types": {"head": {}, "a": {"min_workers": 2}, "b": {"min_workers": 1}}},
            {"a": 2, "b": 1},
        ),
        ({"available_node_types": {"a": None, "b": {"min_workers": "two"}, "c": {"min_workers": 0}}}, {}),
        ({"min_workers": 3}, {"worker": 3}),
        ({"provider": {"type": "local"}, "min_workers": 3}, {}),
    ],
)
def test_a_file_says_how_many_machines_are_always_rented(
    content: dict[str, Any], rented: dict[str, int]
) -> None:
    config = {"provider": {"type": "aws"}, **content}
    assert ClusterFile(Path("a.yaml"), config).rented == rented
