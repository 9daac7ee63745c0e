"""The settings' reference page, made from the settings: `python -m twofold.reference > docs/settings.md`."""

from __future__ import annotations

from twofold.settings import reference

HEAD = """\
# Settings

All from the environment. `NAME_FILE` names a file that holds the value of `NAME`, for mounted secrets. With no URL set,
everything is embedded. `twofold doctor` shows what is in force and checks it. Made by `python -m twofold.reference`.

| variable | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The page as Markdown."""
    shown = [(name, f"`{default}`" if default else "unset", text) for name, default, text in reference()]
    return HEAD + "".join(f"| `{name}` | {default} | {text} |\n" for name, default, text in shown)


if __name__ == "__main__":
    print(page(), end="")
