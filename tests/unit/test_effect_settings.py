"""What effects are told of the deployment: every setting as it is, wherever it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.kernel.errors import Misconfigured
from twofold.performing import environment_of
from twofold.settings import read_settings


def test_effects_are_given_every_setting_as_the_deployment_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password is in a mounted file, and what nobody set has its default; what is no setting of ours is there, too."""
    (tmp_path / "url").write_text("smtp://shop:secret@mail:25?from=a@b.c\n")
    monkeypatch.setenv("PRINTER", "in the hall")
    told = environment_of(read_settings({"TWOFOLD_NOTIFY_URL_FILE": str(tmp_path / "url"), "TWOFOLD_DATA": "here"}))
    assert told["TWOFOLD_NOTIFY_URL"] == "smtp://shop:secret@mail:25?from=a@b.c"
    assert (told["TWOFOLD_DATA"], told["TWOFOLD_PROVIDER_DATA"], told["PRINTER"]) == ("here", "", "in the hall")
    assert environment_of(read_settings({}))["TWOFOLD_NOTIFY_URL"] == "log:"


@pytest.mark.parametrize("url", ["mailto:ann@example.com", "file:", "smtp:", "log"])
def test_an_unknown_channel_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(Misconfigured, match="TWOFOLD_NOTIFY_URL=…"):
        read_settings({"TWOFOLD_NOTIFY_URL": url})
