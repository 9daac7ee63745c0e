"""Law 5: room = process = compose service = metrics job. And what the containers are told is what the settings are called."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.guards.house import FLOOR_OF, ROOT
from twofold.settings import Settings, variable

ROOMS = {"gateway", "workers", "readmodels", "monitoring"}
COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def open_ports(compose: dict[str, Any]) -> list[str]:
    """Published ports that others than this host could reach."""
    containers = compose["services"].items()
    return [
        f"{name} {port}" for name, told in containers for port in told.get("ports", []) if not str(port).startswith("127.0.0.1:")
    ]


def floating_images(compose: dict[str, Any]) -> list[str]:
    images = {told["image"] for told in compose["services"].values() if "build" not in told}
    return sorted(image for image in images if ":" not in image or image.endswith(":latest"))


def unknown_settings(compose: dict[str, Any]) -> list[str]:
    known = {variable(field) for field in Settings.__struct_fields__}
    told = {name for container in compose["services"].values() for name in container.get("environment", {})}
    return sorted(name for name in told if name.startswith("TWOFOLD_") and name.removesuffix("_FILE") not in known)


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


def test_no_password_stands_in_the_file(compose: dict[str, Any]) -> None:
    """Passwords are random and come from files that `./setup secrets` makes."""
    told = [
        (name, value) for container in compose["services"].values() for name, value in container.get("environment", {}).items()
    ]
    assert [
        name for name, value in told if any(word in name for word in ("PASS", "URL", "SECRET")) and not value.startswith("/run/")
    ] == []
    made = (ROOT / "setup").read_text()
    assert [
        name for name, secret in compose["secrets"].items() if secret["file"].replace(".secrets/", ".secrets.new/") not in made
    ] == []


def test_redis_and_the_log_are_run_the_way_they_must_be(compose: dict[str, Any]) -> None:
    redis = " ".join(compose["services"]["redis"]["command"])
    assert "--maxmemory-policy noeviction" in redis and "--appendonly yes" in redis


def test_the_guard_sees_an_open_port_a_floating_image_and_a_wrong_setting() -> None:
    planted = {"services": {"x": {"image": "redis", "ports": ["6379:6379"], "environment": {"TWOFOLD_BROKER": "amqp://x"}}}}
    assert open_ports(planted) == ["x 6379:6379"]
    assert floating_images(planted) == ["redis"]
    assert unknown_settings(planted) == ["TWOFOLD_BROKER"]
