import json
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from typing import Final

import pytest
from click.testing import CliRunner

from tests.deploy.scripts import ROOT
from tests.harness.requirements import require_root, require_tool, unavailable

DEPLOY: Final = ROOT / "deploy"
UNITS: Final = ("quintet-rendezvous.service", "quintet.service")
PORT: Final = 47555
SECOND_PORT: Final = 47556

BUILDER: Final = 77
"""The first setuptools that reads a licence expression (deploy/lock.py)."""

MAX_EXPOSURE: Final = 2.0
"""What `systemd-analyze security` may say of the node, from 0 to 10 (node.md, section 4)."""


def read(name: str) -> str:
    return (DEPLOY / name).read_text()


def example() -> dict[str, object]:
    """Return the example configuration with the lines that are commented out switched on."""
    return tomllib.loads(re.sub(r"(?m)^# (?=\w+ = )", "", read("rendezvous.example.toml")))


def directives(unit: str) -> list[tuple[str, str]]:
    """Return a unit's assignments in order; a key may come more than once."""
    lines = [line for line in read(unit).splitlines() if "=" in line and line[0] != "#"]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with continued lines joined."""
    text = re.sub(r"\\\n\s*", "", read("Dockerfile"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(verb, rest) for verb, _, rest in (line.partition(" ") for line in lines)]


# --- configuration ------------------------------------------------------------


def test_the_example_configuration_is_short_and_explained() -> None:
    """An operator reads it in a minute."""
    lines = read("rendezvous.example.toml").splitlines()
    explained = [line for line in lines if line.startswith("#")]

    assert len(lines) < 40
    assert len(explained) >= len(example())


def test_the_example_configuration_is_one_the_node_accepts(tmp_path: pathlib.Path) -> None:
    """Every key it shows exists, those commented out too."""
    from rendezvous.cli import main

    token = tmp_path / "access-token"
    token.write_text("a token of some length\n")
    token.chmod(0o600)
    text = re.sub(r"(?m)^# (?=\w+ = )", "", read("rendezvous.example.toml"))
    text = text.replace("/etc/quintet/access-token", str(token))
    text = text.replace("/var/lib/quintet-rendezvous", str(tmp_path))
    config = tmp_path / "rendezvous.toml"
    config.write_text(text)

    result = CliRunner().invoke(main, ["check-config", "--config", str(config)])

    assert result.exit_code == 0, result.output


def test_every_file_names_the_same_ports() -> None:
    """The configuration, the image and the runbook agree."""
    (exposed,) = (rest for verb, rest in instructions() if verb == "EXPOSE")
    configured = example()

    assert (configured["port"], configured["discovery_port"]) == (PORT, SECOND_PORT)
    assert exposed.split() == [f"{PORT}/udp", f"{SECOND_PORT}/udp"]
    for port in (PORT, SECOND_PORT, configured["health_port"]):
        assert f"| {port}/" in read("README.md")


# --- container ----------------------------------------------------------------


def test_the_image_is_built_from_digests_and_runs_without_root() -> None:
    """Whatever is installed was checked; whoever breaks in is nobody."""
    verbs = instructions()
    installs = [rest for verb, rest in verbs if verb == "RUN" and "pip install" in rest]
    last_user = [rest for verb, rest in verbs if verb == "USER"][-1]

    assert installs
    assert all("--require-hashes" in rest or "--no-index" in rest for rest in installs)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last_user)
    assert ("HEALTHCHECK", True) in [(verb, "quintet-rendezvous" in rest) for verb, rest in verbs]


def test_everything_the_image_copies_exists_and_reaches_the_builder() -> None:
    """A path that was renamed or is kept from the builder would fail only there."""
    admitted = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = [
        source
        for verb, rest in instructions()
        if verb == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]

    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert set(copied) - admitted == set()


def test_the_composed_node_uses_the_host_network_and_has_no_privileges() -> None:
    """Each line guards something the runbook promises."""
    lines = {line.strip() for line in read("compose.yaml").splitlines()}

    assert {
        "network_mode: host",
        "read_only: true",
        "cap_drop: [ALL]",
        'security_opt: ["no-new-privileges:true"]',
        "core: 0",
        "dockerfile: deploy/Dockerfile",
    } <= lines
    assert not any(line.startswith(("ports:", "privileged:", "cap_add:")) for line in lines)


def test_the_composed_volumes_are_where_the_node_looks() -> None:
    """The identity outlives the container, and the configuration is the one it starts with."""
    (command,) = (rest for verb, rest in instructions() if verb == "CMD")
    mounts = re.findall(r"^ +- ([\w./]+):(/\S+?)(?::ro)?$", read("compose.yaml"), re.MULTILINE)
    inside = [target for _, target in mounts]

    assert str(example()["state"]) in inside
    assert any(target in command for target in inside)


def test_the_dockerfile_keeps_the_rules_of_the_house() -> None:
    """What a linter for Dockerfiles would say, as far as it matters here."""
    verbs = instructions()
    text = read("Dockerfile")
    images = [rest.split()[0] for verb, rest in verbs if verb == "FROM"]
    runs = [rest for verb, rest in verbs if verb == "RUN"]

    assert all(re.search(r":[\d.]+\S*$", image) for image in images), "no floating tag"
    assert len(set(images)) == 1, "what was built runs on what built it"
    assert not any(verb == "ADD" for verb, _ in verbs), "COPY does not fetch or unpack"
    assert not any(word in run for run in runs for word in ("curl", "wget", "sudo", "apt-get"))
    assert all("--no-cache-dir" in run for run in runs if "pip install" in run)
    assert all(rest.startswith("/") for verb, rest in verbs if verb == "WORKDIR")
    for verb, rest in verbs:
        if verb in {"CMD", "ENTRYPOINT"}:
            assert json.loads(rest), "no shell between the signal and the node"
    assert len([verb for verb, _ in verbs if verb == "CMD"]) == 1
    assert not re.search(r"(?i)(password|secret|token)\s*=", text)
    assert [verb for verb, _ in verbs].index("USER") < [verb for verb, _ in verbs].index("CMD")


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_give_a_node_that_starts(tmp_path: pathlib.Path) -> None:
    """What is copied is enough to install, and the node needs nothing of the peer."""
    if int(metadata.version("setuptools").split(".")[0]) < BUILDER:
        unavailable(f"needs setuptools {BUILDER}, as the locks have it")
    source, image = tmp_path / "source", tmp_path / "image"
    source.mkdir()
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    for name in ("protocol", "rendezvous"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [*pip, "--no-index", "--no-deps", "--no-build-isolation", "--target", str(image), "."],
        cwd=source,
        check=True,
        capture_output=True,
    )

    started = subprocess.run(
        [sys.executable, "-c", f"""
import sys
sys.path[:] = [{str(image)!r}] + [each for each in sys.path if each != {str(ROOT)!r}]
sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in repr(each)]
import rendezvous.server, rendezvous.cli, rendezvous.stores.redis, importlib.util
assert rendezvous.server.__file__.startswith({str(image)!r}), rendezvous.server.__file__
assert importlib.util.find_spec("peer") is None
"""],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert started.returncode == 0, started.stderr


# --- several nodes, firewall, figures ---------------------------------------------


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_two_composed_nodes_have_configurations_the_node_accepts(name: str) -> None:
    """On ports of their own, on the store that stands beside them."""
    from rendezvous.settings import load

    settings = load(DEPLOY / "two-nodes" / f"{name}.toml")
    lines = {line.strip() for line in read("compose.two-nodes.yaml").splitlines()}

    assert settings.store == "redis://127.0.0.1:6379/0"
    assert f"- ./two-nodes/{name}.toml:/etc/quintet/rendezvous.toml:ro" in lines
    assert {"network_mode: host", "read_only: true", "cap_drop: [ALL]"} <= lines


def test_the_two_composed_nodes_share_no_port() -> None:
    """They stand on one host's network."""
    from rendezvous.settings import load

    ports = [
        port
        for name in ("one", "two")
        for settings in [load(DEPLOY / "two-nodes" / f"{name}.toml")]
        for port in (settings.port, settings.discovery_port, settings.health_port)
    ]

    assert len(set(ports)) == 6


@pytest.mark.root
def test_the_sample_of_the_firewall_is_one() -> None:
    """Nftables would take it; nothing is changed here."""
    require_root()
    require_tool("nft")

    checked = subprocess.run(
        ["nft", "--check", "--file", str(DEPLOY / "firewall" / "quintet.nft")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
    assert str(PORT) in read("firewall/quintet.nft")


def test_the_dashboard_shows_figures_the_node_has() -> None:
    """A panel of a figure that is called otherwise stays empty for ever."""
    board = json.loads(read("grafana-dashboard.json"))
    source = (ROOT / "rendezvous" / "metrics.py").read_text()
    known = set(re.findall(r'f"\{prefix\}_(\w+)"', source))
    shown = {
        re.sub(r"_(total|bucket)$", "", name)
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"quintet_rendezvous_(\w+)", target["expr"])
    }

    assert known
    assert shown <= known
    assert known - shown == set(), "every figure is shown"


# --- systemd ------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_a_command_that_exists_and_leaves_no_memory_image(unit: str) -> None:
    """The program is one the project installs; a crash writes no secrets to disk (T22)."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    settings = dict(directives(unit))

    assert settings["ExecStart"].split()[0].rpartition("/")[2] in scripts
    assert settings["LimitCORE"] == "0"
    assert settings["UMask"] == "0077"


def test_the_node_runs_as_nobody_and_says_when_it_is_ready() -> None:
    """Peers are told of a node only once it answers."""
    settings = dict(directives("quintet-rendezvous.service"))

    assert settings["Type"] == "notify"
    assert settings["DynamicUser"] == "yes"
    assert f"/var/lib/{settings['StateDirectory']}" == example()["state"]


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_a_unit(unit: str, tmp_path: pathlib.Path) -> None:
    """No unknown key, no value it would ignore with a warning."""
    require_tool("systemd-analyze")
    # Where the program will stand there is none yet.
    text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", read(unit))
    (tmp_path / unit).write_text(text)

    verdict = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    complaints = [line for line in verdict.stderr.splitlines() if unit in line]
    assert (verdict.returncode, complaints) == (0, [])


def test_the_node_is_hardly_exposed() -> None:
    """The hardening stays as strong as the runbook says."""
    require_tool("systemd-analyze")

    verdict = subprocess.run(
        [
            *("systemd-analyze", "security", "--no-pager", "--offline=true"),
            str(DEPLOY / "quintet-rendezvous.service"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    exposure = re.search(r"Overall exposure level .*?: ([\d.]+)", verdict.stdout)
    assert exposure is not None, verdict.stderr
    assert float(exposure[1]) <= MAX_EXPOSURE


# --- shell --------------------------------------------------------------------


@pytest.mark.parametrize(
    "script", ["deploy/run.sh", "deploy/test.sh", "deploy/prepare.sh", ".ci/run"]
)
def test_a_script_is_plain_shell(script: str) -> None:
    """It parses under the system's smallest shell and stops at the first error."""
    path = ROOT / script

    parsed = subprocess.run(["sh", "-n", str(path)], capture_output=True, text=True, check=False)

    assert parsed.returncode == 0, parsed.stderr
    assert script.endswith("prepare.sh") or "\nset -eu\n" in path.read_text()
