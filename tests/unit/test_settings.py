"""Settings: one source, strict, and every mistake is told in one line with the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.environment import environment_of
from twofold.kernel.errors import Misconfigured
from twofold.reference import page
from twofold.settings import URLS, Settings, read_settings, reference, refuse_two_shops


def test_with_no_url_set_everything_is_embedded() -> None:
    """`make run` needs nothing."""
    settings = read_settings({})
    assert settings.is_embedded and settings == Settings()


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """Mounted secrets must not pass through the environment."""
    file = tmp_path / "url"
    file.write_text("postgresql://secret\n")
    settings = read_settings({"TWOFOLD_DATABASE_URL_FILE": str(file), "TWOFOLD_BROKER_URL": "amqp://x"})
    assert settings.database_url == "postgresql://secret"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TWOFOLD_PORT": "eighty"}, "TWOFOLD_PORT=eighty"),
        ({"TWOFOLD_LANES": "0"}, "TWOFOLD_LANES=0"),
        ({"TWOFOLD_LANSE": "4"}, "TWOFOLD_LANSE"),
        ({"TWOFOLD_DATABASE_URL_FILE": "/nowhere"}, "TWOFOLD_DATABASE_URL_FILE=/nowhere"),
        ({"TWOFOLD_DATABASE_URL": "postgresql://x"}, "TWOFOLD_BROKER_URL"),
        ({"TWOFOLD_BROKER_URL": "amqp://x"}, "TWOFOLD_DATABASE_URL"),
        ({"TWOFOLD_NAMESPACE": "Two Fold"}, "TWOFOLD_NAMESPACE=Two Fold"),
    ],
)
def test_a_mistake_is_refused_in_one_line_that_names_the_setting(environment: dict[str, str], named: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        read_settings(environment)
    assert str(refused.value).startswith(named) and "\n" not in str(refused.value)


@pytest.mark.parametrize("field", URLS)
def test_a_url_without_its_scheme_is_refused_with_one_that_has_it(field: str) -> None:
    name = f"TWOFOLD_{field.upper()}"
    served = {"TWOFOLD_DATABASE_URL": "postgresql://h/d", "TWOFOLD_BROKER_URL": "amqp://h/"}
    with pytest.raises(Misconfigured, match=rf"^{name}: .*scheme is missing; write \w+://[^\n]*$") as refused:
        read_settings(served | {name: "ann:secret@localhost:1234/x"})
    assert "secret" not in str(refused.value)
    assert {field for field in Settings.__struct_fields__ if field.endswith("_url")} == {*URLS, "notify_url"}


def test_a_url_is_never_shown_in_an_error() -> None:
    """It may hold a password."""
    with pytest.raises(Misconfigured) as refused:
        read_settings({"TWOFOLD_DATABASE_URL": "postgresql://u:secret@h/d"})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("file", ["shop.py", "shop/__init__.py"])
def test_a_shop_of_ones_own_beside_the_one_that_ships_is_asked_about(tmp_path: Path, file: str) -> None:
    """Whoever says TWOFOLD_DOMAIN=shop may mean that one; whoever says nothing means the one that ships."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(Misconfigured) as refused:
        refuse_two_shops(Settings(), {"TWOFOLD_DOMAIN": "shop"}, tmp_path)
    assert str(refused.value).startswith("TWOFOLD_DOMAIN=shop: ") and str(tmp_path / file) in str(refused.value)
    assert "\n" not in str(refused.value)
    refuse_two_shops(Settings(), {}, tmp_path)
    refuse_two_shops(Settings(domain="twofold.shop"), {"TWOFOLD_DOMAIN": "twofold.shop"}, tmp_path)


def test_the_folder_of_the_shop_that_ships_is_no_second_shop() -> None:
    """In the repository it stands beside everybody who works there."""
    refuse_two_shops(Settings(), {"TWOFOLD_DOMAIN": "shop"}, Path(__file__).parents[2])


def test_a_child_process_gets_the_very_same_settings() -> None:
    settings = Settings(port=1234, data="/elsewhere", lanes=7)
    assert read_settings(environment_of(settings)) == settings


def test_every_setting_is_described() -> None:
    assert all(meaning for _, _, meaning in reference())
    assert len(reference()) == len(Settings.__struct_fields__)


def test_the_reference_page_is_up_to_date() -> None:
    """It is made by `python -m twofold.reference > docs/settings.md`."""
    assert (Path(__file__).parents[2] / "docs" / "settings.md").read_text() == page()
