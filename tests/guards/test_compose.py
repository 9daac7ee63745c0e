"""Law 5: room = process = compose service = metrics job. And what the containers are told is what the settings are called."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.guards.house import FLOOR_OF, ROOT
from twofold.settings import Settings, variable

ROOMS = {"gateway", "workers", "readmodels", "processes", "monitoring"}
OURS = ROOMS | {"migrate", "proxy"}
"""What runs from the project's own image."""
COMPOSE = ROOT / "docker-compose.yml"
GATEWAYS = ROOT / "docker-compose.gateways.yml"
BOUNDED = {"mem_limit", "pids_limit", "stop_grace_period"}
NO_WAY_UP = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Both files, as they are where there are several gateways; but the gateway has the port that it has alone."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    loaded["services"]["proxy"] = beside()["proxy"]
    return loaded


def beside() -> dict[str, Any]:
    """What the second file says of each container."""
    loaded: dict[str, Any] = yaml.safe_load(GATEWAYS.read_text().replace("!reset []", "taken-away"))["services"]
    return loaded


def ports(compose: dict[str, Any]) -> dict[str, list[str]]:
    return {name: [str(port) for port in told["ports"]] for name, told in compose["services"].items() if told.get("ports")}


def open_ports(compose: dict[str, Any]) -> list[str]:
    """Published ports that others than this host could reach."""
    return [f"{name} {port}" for name, told in ports(compose).items() for port in told if not port.startswith("127.0.0.1:")]


def moving_ports(compose: dict[str, Any]) -> list[str]:
    """Published ports that are not one number, which a variable may change."""
    fixed = re.compile(r"127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+")
    return [f"{name} {port}" for name, told in ports(compose).items() for port in told if not fixed.fullmatch(port)]


def floating_images(compose: dict[str, Any]) -> list[str]:
    images = {told["image"] for name, told in compose["services"].items() if name not in OURS}
    return sorted(image for image in images if ":" not in image or image.endswith(":latest"))


def unknown_settings(compose: dict[str, Any]) -> list[str]:
    known = {variable(field) for field in Settings.__struct_fields__}
    told = {name for container in compose["services"].values() for name in container.get("environment", {})}
    return sorted(name for name in told if name.startswith("TWOFOLD_") and name.removesuffix("_FILE") not in known)


def unbounded(compose: dict[str, Any]) -> list[str]:
    """Containers that may write where they run, become more than they are, or take all there is of memory, processes or disk."""
    found = []
    for name, told in compose["services"].items():
        wrong = [key for key, value in NO_WAY_UP.items() if told.get(key) != value]
        wrong += [key for key in ("cap_add", "privileged") if key in told]
        wrong += sorted(BOUNDED - set(told))
        wrong += [] if {"max-size", "max-file"} <= set(told.get("logging", {}).get("options", {})) else ["logging"]
        found += [f"{name}: {', '.join(wrong)}"] if wrong else []
    return found


def never_ending(compose: dict[str, Any]) -> list[str]:
    """Containers that others wait for, and that may go on failing for ever."""
    return [name for name, told in compose["services"].items() if told["restart"] == "on-failure"]


def unwatched(compose: dict[str, Any]) -> list[str]:
    """Containers of which nobody would know that they do not work: what is up is not waited for."""
    running = {name: told for name, told in compose["services"].items() if told["restart"] == "unless-stopped"}
    return [name for name, told in running.items() if "test" not in told.get("healthcheck", {})]


def test_every_room_is_a_container_that_runs_it(compose: dict[str, Any]) -> None:
    assert set(FLOOR_OF) >= ROOMS
    assert {room: compose["services"][room]["command"] for room in ROOMS} == {room: [room] for room in ROOMS}


def test_every_room_is_a_metrics_job_found_by_its_name() -> None:
    jobs = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    found = {job["job_name"]: job["dns_sd_configs"][0]["names"] for job in jobs if "dns_sd_configs" in job}
    assert found == {room: [room] for room in ROOMS}


def test_only_this_host_is_listened_to_settings_exist_and_images_are_pinned(compose: dict[str, Any]) -> None:
    assert open_ports(compose) == []
    assert unknown_settings(compose) == []
    assert floating_images(compose) == []


def test_every_port_is_the_same_after_every_restart(compose: dict[str, Any]) -> None:
    """A range moved on by one whenever the container was made anew while the old one still held its port."""
    assert moving_ports(compose) == []
    assert ports(compose)["gateway"] == ports(compose)["proxy"] == ["127.0.0.1:${TWOFOLD_PORT:-8080}:8080"]


def test_several_gateways_leave_their_port_to_a_proxy(compose: dict[str, Any]) -> None:
    """Where there is one, nothing stands before it. Without the second file the proxy is an orphan, which goes."""
    assert "proxy" not in yaml.safe_load(COMPOSE.read_text())["services"]
    assert set(beside()) == {"gateway", "proxy"} and beside()["gateway"] == {"ports": "taken-away"}
    proxy = compose["services"]["proxy"]
    assert proxy["command"] == ["proxy", "gateway:8080"] and "secrets" not in proxy
    assert proxy["healthcheck"] == compose["services"]["gateway"]["healthcheck"]


def test_one_container_builds_the_image_of_all_and_nobody_fetches_it(compose: dict[str, Any]) -> None:
    """Two builders of one tag race; and the tag is the deployment's own, so that another clone's build does not replace it."""
    containers = compose["services"]
    assert {name for name, told in containers.items() if "build" in told} == {"migrate"}
    assert {containers[name]["image"] for name in OURS} == {"twofold:${COMPOSE_PROJECT_NAME}"}
    assert {name for name, told in containers.items() if told.get("pull_policy") == "never"} == OURS
    assert all("migrate" in containers[name]["depends_on"] for name in ROOMS)


def test_two_clones_are_two_deployments(compose: dict[str, Any]) -> None:
    """A name in the file would be every clone's: they would share volumes, and each other's containers."""
    assert "name" not in compose
    assert set(compose["volumes"].values()) == {None}


def test_no_container_can_become_more_than_it_is_or_take_all_there_is(compose: dict[str, Any]) -> None:
    assert unbounded(compose) == []
    assert never_ending(compose) == []
    assert unwatched(compose) == []


def test_servers_are_never_root(compose: dict[str, Any]) -> None:
    """So none of them needs a capability to become somebody else."""
    users = {name: told.get("user") for name, told in compose["services"].items() if name in ("postgres", "rabbitmq", "redis")}
    assert users == {name: name for name in users}


def test_there_are_lanes_for_as_many_workers_as_the_readme_shows(compose: dict[str, Any]) -> None:
    """Workers beyond the lanes do nothing. A log that is there keeps the number it has."""
    command = compose["services"]["migrate"]["command"]
    assert command[:2] == ["migrate", "--lanes"]
    shown = re.findall(r"--scale workers=(\d+)", (ROOT / "README.md").read_text() + COMPOSE.read_text())
    assert shown and max(map(int, shown)) <= int(command[2])
    assert not any("TWOFOLD_LANES" in told.get("environment", {}) for told in compose["services"].values())


def test_no_password_stands_in_the_file(compose: dict[str, Any]) -> None:
    """Passwords are random and come from files that `./setup secrets` makes (tests/system/test_secrets.py)."""
    told = [
        (name, value) for container in compose["services"].values() for name, value in container.get("environment", {}).items()
    ]
    assert [
        name for name, value in told if any(word in name for word in ("PASS", "URL", "SECRET")) and not value.startswith("/run/")
    ] == []
    assert [name for name, secret in compose["secrets"].items() if not secret["file"].startswith(".secrets/")] == []


def test_redis_and_the_log_are_run_the_way_they_must_be(compose: dict[str, Any]) -> None:
    redis = " ".join(compose["services"]["redis"]["command"])
    assert "--maxmemory-policy noeviction" in redis and "--appendonly yes" in redis


def test_the_image_has_a_user_of_its_own_and_nothing_that_installs() -> None:
    build, image = (ROOT / "Dockerfile").read_text().split("\nFROM ")[1:]
    assert "venv --without-pip /opt/twofold" in build
    assert "--uid 10001" in image and "--gid 10001" in image and "\nUSER 10001:10001\n" in image
    assert re.search(r"rm -rf .*pip", image)


def test_the_guard_sees_an_open_port_a_floating_image_a_wrong_setting_and_a_careless_container() -> None:
    careless = {
        "image": "redis",
        "ports": ["6379:6379", "127.0.0.1:80-89:80"],
        "environment": {"TWOFOLD_BROKER": "amqp://x"},
        "restart": "on-failure",
        "cap_drop": ["ALL"],
        "cap_add": ["CHOWN"],
    }
    planted = {"services": {"x": careless, "y": {**careless, "restart": "unless-stopped"}}}
    assert open_ports(planted) == ["x 6379:6379", "y 6379:6379"]
    assert moving_ports({"services": {"x": careless}}) == ["x 6379:6379", "x 127.0.0.1:80-89:80"]
    assert floating_images(planted) == ["redis"]
    assert unknown_settings(planted) == ["TWOFOLD_BROKER"]
    assert unbounded({"services": {"x": careless}}) == [
        "x: read_only, security_opt, cap_add, mem_limit, pids_limit, stop_grace_period, logging"
    ]
    assert never_ending(planted) == ["x"]
    assert unwatched(planted) == ["y"]
