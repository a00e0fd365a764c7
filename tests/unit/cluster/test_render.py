"""Cluster files: what a setting replaces, and what Ray takes them for."""

from pathlib import Path

import pytest
import yaml

from cluster.errors import RenderError
from cluster.render import main, render
from trainables.common.errors import UnknownNameError

REPOSITORY = Path(__file__).parents[3]
DGX = (REPOSITORY / "cluster/dgx.yaml").read_text()


def test_rendering_replaces_what_is_named_and_nothing_else() -> None:
    before, after = yaml.safe_load(DGX), yaml.safe_load(render(DGX, ["provider.head_ip=127.0.0.1"]))
    assert after["provider"].pop("head_ip") == "127.0.0.1"
    del before["provider"]["head_ip"]
    assert before == after


def test_rendering_knows_settings_of_ray_that_the_file_lacks() -> None:
    command = "ssh -W 127.0.0.1:2222 jump"
    rendered = yaml.safe_load(render(DGX, [f"auth.ssh_proxy_command={command}", "idle_timeout_minutes=3"]))
    assert rendered["auth"]["ssh_proxy_command"] == command
    assert rendered["idle_timeout_minutes"] == 3


def test_a_command_stays_text_whatever_it_looks_like() -> None:
    odd = "[ -x a ] && echo b: c = d  # e"
    rendered = yaml.safe_load(
        render(DGX, [f"setup_commands.0={odd}", "cluster_name=007", "setup_commands.1=1"])
    )
    assert rendered["setup_commands"][:2] == [odd, "1"]
    assert rendered["cluster_name"] == "007"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("provider.headip=a", "unknown cluster setting 'provider.headip'; did you mean 'provider.head_ip'?"),
        ("setup_commands.9=a", "unknown cluster setting 'setup_commands.9'; did you mean 'setup_commands"),
        ("provider.worker_ips=a", "provider.worker_ips needs a list, such as .*, found 'a'"),
        ("file_mounts=a", "file_mounts needs a mapping, such as {}, found 'a'"),
        ("max_workers=[", "max_workers needs a value in YAML"),
        ("provider.head_ip", "an override is KEY=VALUE, such as .* not 'provider.head_ip'"),
        ("=a", "an override is KEY=VALUE"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(override: str, message: str) -> None:
    with pytest.raises((RenderError, UnknownNameError), match=message):
        render(DGX, [override])


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "cannot be read"), ("a: 1", "has no provider"), ("", "no")]
)
def test_a_file_that_is_no_cluster_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(RenderError, match=message):
        render(text, [])


def test_the_command_prints_the_file_or_says_why_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(DGX)
    assert main([str(file), "--set", "auth.ssh_user=me"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["auth"]["ssh_user"] == "me"
    assert main([str(file), "--set", "auth.ssh_usr=me"]) == 2
    assert "did you mean 'auth.ssh_user'" in capsys.readouterr().err
    assert main([str(tmp_path / "b.yaml")]) == 2
    assert "cannot read" in capsys.readouterr().err
