"""Files for clusters of all kinds: valid for what reads them, without secrets, and closed to the network."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.tuning.preemption import GRACE_SECONDS

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
FOLDER = REPOSITORY / "cluster"
RAY_UP = ("dgx.yaml", "local.yaml", "aws.yaml")
KUBERAY = "kuberay.yaml"
SLURM = FOLDER / "slurm.sh"
ALL = (*RAY_UP, KUBERAY, SLURM.name, "Containerfile")
# A key, a token, a password, or what AWS calls an access key.
SECRET = re.compile(
    r"BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|\b[0-9a-f]{32,}\b|(?i:password|secret|auth_token)\s*[:=]\s*\S"
)


def config_of(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text()))


def documents(name: str = KUBERAY) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all((FOLDER / name).read_text())}


def pods() -> list[dict[str, Any]]:
    spec = documents()["RayCluster"]["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


@pytest.mark.parametrize("name", RAY_UP)
def test_a_file_for_ray_up_is_valid_for_ray_and_carries_the_whole_project(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = config_of(name)
    validate_config(prepare_config(config))
    packages = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {pattern.rstrip("*") for pattern in packages["find"]["include"]}
    assert rooms | {"pyproject.toml", "constraints.txt", "README.md"} == set(config["file_mounts"].values())


@pytest.mark.parametrize("name", RAY_UP)
def test_every_ray_that_is_started_asks_for_the_token_and_shows_its_dashboard_to_itself_alone(
    name: str,
) -> None:
    config = config_of(name)
    heads = [one for one in config["head_start_ray_commands"] if "ray start" in one]
    workers = [one for one in config["worker_start_ray_commands"] if "ray start" in one]
    assert len(heads) == 1
    assert bool(workers) == (name != "dgx.yaml")
    for command in (*heads, *workers):
        assert "RAY_AUTH_MODE=token ray start" in command
        assert "ORT_DISABLE_TELEMETRY=1" in command
        assert "--disable-usage-stats" in command
    assert "--dashboard-host=127.0.0.1" in heads[0]
    assert "--include-dashboard=true" in heads[0]
    assert "--dashboard-port=$(python -m cluster.free_port 8265)" in heads[0], "another user's may have it"
    assert "--dashboard-agent-listen-port=$(python -m cluster.free_port 52365)" in heads[0], (
        "it takes the jobs"
    )
    token = [one for one in config["setup_commands"] if "get-auth-token" in one]
    assert len(token) == 1
    assert "chmod 600 ~/.ray/auth_token" in token[0]
    if workers:
        assert config["cluster_synced_files"] == ["~/.ray/auth_token"]


def test_all_files_for_ray_up_install_alike() -> None:
    dgx, local, aws = map(config_of, RAY_UP)
    for key in ("file_mounts", "rsync_exclude"):
        assert dgx[key] == local[key] == aws[key]
    assert dgx["setup_commands"] == local["setup_commands"]
    one_more = [command.removesuffix(" boto3") for command in aws["setup_commands"]]
    assert one_more == dgx["setup_commands"], "the head asks AWS for machines by itself"


def test_rented_machines_are_reached_from_one_address_and_their_disks_are_encrypted() -> None:
    config = config_of("aws.yaml")
    (rule,) = config["provider"]["security_group"]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
    assert [one["CidrIp"] for one in rule["IpRanges"]] == ["your-address/32"]
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}
        assert all(one["Ebs"]["Encrypted"] for one in kind["node_config"]["BlockDeviceMappings"])
    assert config["head_node_type"] in config["available_node_types"]


def module_of(words: list[str]) -> Any:
    """The module of a command `python -m MODULE`, which must be there."""
    assert words[:2] == ["python", "-m"]
    return importlib.import_module(words[2])


def test_a_spot_machine_waits_for_its_notice_and_then_leaves() -> None:
    config = config_of("aws.yaml")
    spot = [
        kind
        for kind in config["available_node_types"].values()
        if kind["node_config"].get("InstanceMarketOptions") == {"MarketType": "spot"}
    ]
    assert spot, "else there is no notice"
    *_, start, watch = config["worker_start_ray_commands"]
    assert "ray start" in start, "the watcher comes after it"
    assert "RAY_AUTH_MODE=token setsid flock --nonblock spot_notice.lock " in watch, "one on a machine"
    assert watch.endswith("< /dev/null &)"), "else the login would wait for it"
    module = module_of(watch[watch.index("python -m") : watch.index(" >>")].split())
    assert module.METADATA == "http://169.254.169.254"
    assert module._LEAVE_SECONDS < 120


def test_a_pod_that_is_stopped_is_drained_before_and_has_the_time_for_it() -> None:
    workers = documents()["RayCluster"]["spec"]["workerGroupSpecs"]
    assert workers
    for group in workers:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        command = container["lifecycle"]["preStop"]["exec"]["command"]
        module = module_of(command)
        given = module.make_parser().parse_args(command[3:])
        # What Ray does at SIGTERM afterwards takes some seconds of the grace period, too.
        assert GRACE_SECONDS < given.seconds <= pod["terminationGracePeriodSeconds"] - 35


@pytest.mark.parametrize("name", ALL)
def test_no_secret_stands_in_a_file(name: str) -> None:
    assert SECRET.search((FOLDER / name).read_text()) is None


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
        "RAY_AUTH_TOKEN: " + "0123456789abcdef" * 4,
        "password: hunter2",
    ],
)
def test_a_secret_would_be_found(text: str) -> None:
    assert SECRET.search(text) is not None


def test_the_cluster_on_kubernetes_is_read_by_rays_autoscaler() -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    derived = _derive_autoscaling_config_from_ray_cr(documents()["RayCluster"])  # validates by Ray's schema
    kinds = derived["available_node_types"]
    assert kinds["headgroup"]["resources"]["CPU"] == 4
    assert kinds["gpu"]["resources"]["GPU"] == 1
    assert kinds["gpu"]["min_workers"] == kinds["gpu"]["max_workers"] == 2


def test_the_cluster_on_kubernetes_has_what_its_definition_requires() -> None:
    # Required by the definition of RayCluster, read on 2026-11-28; no server of Kubernetes checks it here.
    cluster = documents()["RayCluster"]
    assert cluster["apiVersion"] == "ray.io/v1"
    spec = cluster["spec"]
    assert {"rayStartParams", "template"} <= set(spec["headGroupSpec"])
    for group in spec["workerGroupSpecs"]:
        assert {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"} <= set(group)
    for group in pods():
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert {"name", "image", "resources"} <= set(container)
        volumes = {one["name"] for one in group["template"]["spec"]["volumes"]}
        assert {one["name"] for one in container["volumeMounts"]} == volumes
    pinned = re.search(r"^ray==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert spec["rayVersion"] == pinned[1]


def test_the_cluster_on_kubernetes_is_closed() -> None:
    found = documents()
    spec = found["RayCluster"]["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in pods():
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        (container,) = pod["containers"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"name": "ORT_DISABLE_TELEMETRY", "value": "1"} in container["env"]
    policy = found["NetworkPolicy"]["spec"]
    selected = {"matchLabels": {"ray.io/cluster": found["RayCluster"]["metadata"]["name"]}}
    assert policy["podSelector"] == selected
    assert policy["ingress"] == [{"from": [{"podSelector": selected}]}]


def test_the_commands_of_the_file_for_kubernetes_are_those_of_the_page() -> None:
    def commands(text: str) -> list[str]:
        return [line.strip("# ") for line in text.splitlines() if line.strip("# ").startswith("kubectl ")]

    namespace = documents()["RayCluster"]["metadata"]["namespace"]
    of_file = commands((FOLDER / KUBERAY).read_text().partition("apiVersion")[0])
    of_page = commands((REPOSITORY / "docs/how-to-cluster.md").read_text())
    assert of_page[0] == f"kubectl create namespace {namespace}"
    assert of_file[:2] == of_page[:2]
    for typed in (of_file[2], of_page[2]):
        assert typed.startswith(f"kubectl exec -n {namespace} -it HEAD-POD -c ray-head -- ray job submit ")


def test_the_image_holds_the_whole_project_and_runs_as_its_own_user() -> None:
    text = (FOLDER / "Containerfile").read_text()
    lines = text.replace("\\\n", " ").splitlines()
    copied = [line.split()[2:-1] for line in lines if line.startswith("COPY --chown=")]
    packages = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {pattern.rstrip("*") for pattern in packages["find"]["include"]}
    sources = {source for words in copied for source in words}
    assert sources == rooms | {"pyproject.toml", "constraints.txt", "README.md"}
    assert all((REPOSITORY / source).exists() for source in sources)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["orchestrate"]
    uid = re.search(r"useradd --uid (\d+)", text)
    assert uid is not None
    assert int(uid[1]) == pods()[0]["template"]["spec"]["securityContext"]["runAsUser"]
    known = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "CMD"}
    assert {line.split()[0] for line in lines if line and line[0] not in "# "} == known


FAKE = {
    # Names of many nodes, one by one: who reads the first alone ends scontrol by a closed pipe.
    "scontrol": 'i=1; while [ $i -le 20000 ]; do echo "node$i" || exit 1; i=$((i + 1)); done',
    "hostname": "echo 10.0.0.1 172.17.0.1",
    "srun": 'echo "srun $*" >> "$LOG"; while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    # symmetric-run: the first node runs what stands behind --.
    "ray": """echo "ray $*" >> "$LOG"
case "$1" in
  get-auth-token) mkdir -p "$HOME/.ray"; echo secret > "$HOME/.ray/auth_token" ;;
  symmetric-run) while [ "$1" != -- ]; do shift; done; shift; "$@"; exit $? ;;
esac""",
    "orchestrate": """echo "orchestrate $*" >> "$LOG"
echo "mode=$RAY_AUTH_MODE tmp=$RAY_TMPDIR threads=${OMP_NUM_THREADS:-unset}" >> "$LOG"
if [ -n "${WAITS:-}" ]; then
  trap 'echo told >> "$LOG"; exit 130' TERM
  echo up >> "$LOG"; i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done
fi
exit "${CODE:-0}" """,
}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """Environment of a job of two nodes, whose programs are made up."""
    programs = tmp_path / "venv/bin"
    programs.mkdir(parents=True)
    here = f'PYTHONPATH={shlex.quote(str(REPOSITORY))} exec {shlex.quote(sys.executable)} "$@"'
    for name, text in {**FAKE, "python": here}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "VENV": str(tmp_path / "venv"),
        "LOG": str(tmp_path / "log"),
        "SLURM_JOB_ID": f"{os.getpid()}",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "OMP_NUM_THREADS": "1",
    }


def run_slurm(environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", str(SLURM), *words],
        cwd=environment["HOME"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_job_of_slurm_runs_the_search_on_the_first_node_with_ray_on_all(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    done = run_slurm(slurm, "search", "idc", "--data", "a b.npz", "--name", "first")
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "log").read_text().splitlines()
    (symmetric,) = [line for line in log if line.startswith("ray symmetric-run")]
    port = 6400 + os.getpid() % 3000
    assert f"--address 10.0.0.1:{port} --min-nodes 2 --include-dashboard=false" in symmetric
    for refused in ("--head", "--port", "--node-ip-address", "--block"):
        assert f" {refused}" not in symmetric, "symmetric-run refuses it"
    assert "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 ray symmetric-run" in "\n".join(log)
    assert "orchestrate search idc --data a b.npz --name first" in log
    assert f"mode=token tmp=/tmp/ray-{os.getpid()} threads=unset" in log
    token = tmp_path / ".ray/auth_token"
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not Path(f"/tmp/ray-{os.getpid()}").exists()


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (("idc", "--name=first", "--runs", "mine"), "mine/idc/first"),
        (("--name", "first", "--trials", "3", "--runs", "mine", "idc"), "mine/idc/first"),
        (
            ("--task", "tasks.yaml", "--data", "a.npz", "--name", "first", "--runs", "mine"),
            "mine/grade/first",
        ),
        (("--config", "my.yaml"), "mine/idc/first"),
        (("--config", "my.yaml", "--name", "second"), None),
        (("idc", "--runs", "mine"), None),
        (
            ("idc", "--name", "first", "--runs", "mine", "-q", "--trials", "3", "--format=json"),
            "mine/idc/first --format json --quiet",
        ),
        (("idc", "--runs", "mine", "--name", "first", "--trails", "3"), None),
    ],
)
def test_a_search_that_is_started_again_goes_on(
    words: tuple[str, ...], run: str | None, slurm: dict[str, str], tmp_path: Path
) -> None:
    for task in ("idc", "grade"):
        folder = tmp_path / "mine" / task / "first"
        folder.mkdir(parents=True)
        (folder / "search.yaml").write_text("")
    (tmp_path / "my.yaml").write_text("{task: idc, name: first, runs: mine}")
    (tmp_path / "tasks.yaml").write_text("grade: {classes: [low, high]}")
    assert run_slurm(slurm, "search", *words).returncode == 0
    expected = f"resume {run}" if run else " ".join(("search", *words))
    assert f"orchestrate {expected}" in (tmp_path / "log").read_text().splitlines()


def test_the_number_of_an_earlier_start_is_gone_before_the_search_leaves_its_own(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    folder = Path(f"/tmp/ray-{slurm['SLURM_JOB_ID']}")
    folder.mkdir()
    (folder / "search.pid").write_text(f"{os.getpid()}\n")  # whoever has it now would be ended in its place
    ray = tmp_path / "venv/bin/ray"
    look = '[ "$1" != symmetric-run ] || [ ! -e "$RAY_TMPDIR/search.pid" ] || echo stale >> "$LOG"'
    ray.write_text(ray.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{look}\n"))
    assert run_slurm(slurm, "doctor").returncode == 0
    log = (tmp_path / "log").read_text().splitlines()
    assert "orchestrate doctor" in log
    assert "stale" not in log


def test_the_exit_code_of_a_job_is_that_of_the_search(slurm: dict[str, str]) -> None:
    assert run_slurm(slurm | {"CODE": "2"}, "doctor").returncode == 2


def test_a_job_whose_time_is_up_ends_the_search_as_ctrl_c_does(slurm: dict[str, str], tmp_path: Path) -> None:
    import signal
    import time

    job = subprocess.Popen(["bash", str(SLURM), "doctor"], cwd=tmp_path, env=slurm | {"WAITS": "1"})
    log = tmp_path / "log"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (log.exists() and "\nup\n" in log.read_text()):
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    assert job.wait(30) == 130
    assert "told" in log.read_text().splitlines()


@pytest.mark.parametrize(
    ("words", "change", "message"),
    [
        ((), {}, "a command line of orchestrate is needed"),
        (("doctor",), {"VENV": "/nowhere", "PATH": "/usr/bin:/bin"}, "ray is not in /nowhere/bin; set VENV"),
    ],
)
def test_a_job_that_cannot_run_says_why(
    slurm: dict[str, str], words: tuple[str, ...], change: dict[str, str], message: str
) -> None:
    done = run_slurm(slurm | change, *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_what_the_job_gives_symmetric_run_is_what_that_takes() -> None:
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

    call = re.search(
        r"ray (symmetric-run .*?) \\?\n? +-- sh -c", SLURM.read_text().replace("\\\n", ""), re.DOTALL
    )
    assert call is not None
    words = (
        call[1].replace('"$address:$port"', "10.0.0.1:6400").replace('"$SLURM_JOB_NUM_NODES"', "2").split()
    )
    assert curate_and_validate_ray_start_args(words[1:]) == [
        "--include-dashboard=false",
        "--disable-usage-stats",
        "--object-store-memory=4000000000",
    ]
