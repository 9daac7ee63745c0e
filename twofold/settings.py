"""Every setting, once: name, default and meaning. The command line's help, the reference page and `doctor` are made from this.

Read from the environment by the roof alone. `NAME_FILE` names a file that holds the value of `NAME` (a mounted secret).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from twofold.kernel.errors import Misconfigured

PREFIX = "TWOFOLD_"
SHOP = ("shop", "twofold.shop")
"""Both names of the domain that ships with the product: the setting's, which is the default, and the module's."""
URLS = {
    "database_url": "postgresql://user:password@host:port/database",
    "read_database_url": "postgresql://user:password@host:port/database",
    "broker_url": "amqp://user:password@host:5672/",
    "redis_url": "redis://:password@host:6379/0",
    "search_url": "https://user:password@host:9200",
}
"""Settings that are URLs, and how one is written."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment. Field `lanes` is the variable TWOFOLD_LANES, and so on."""

    domain: Annotated[str, Meta(min_length=1, description="Importable module that exports DECIDERS and VIEWS.")] = "shop"
    data: Annotated[str, Meta(min_length=1, description="Folder of the embedded databases.")] = "data"
    database_url: Annotated[str, Meta(description="PostgreSQL for log and inbox. Unset: embedded SQLite.")] = ""
    read_database_url: Annotated[str, Meta(description="PostgreSQL for rows. Unset: schema `read` of the log's.")] = ""
    broker_url: Annotated[str, Meta(description="RabbitMQ, amqp://. Unset: embedded queue.")] = ""
    redis_url: Annotated[str, Meta(description="Redis for views that ask for it. Unset: they live in SQL.")] = ""
    search_url: Annotated[str, Meta(description="OpenSearch or Elasticsearch for searched views. Unset: SQL does it.")] = ""
    lanes: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None,
        Meta(description="Command lanes a new deployment begins with, 2 when unset; later `twofold lanes N` rules."),
    ] = None
    slices: Annotated[int, Meta(ge=1, le=256, description="Slices of a view made from now on; existing ones keep theirs.")] = 4
    host: Annotated[str, Meta(min_length=1, description="Address the gateway listens on, and the command line asks.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=1, le=65535, description="Port the gateway listens on, and the command line asks.")] = 8080
    allowed_hosts: Annotated[
        str,
        Meta(
            pattern=r"^[^/\s]*(, ?[^/\s]+)*$",
            description="Host names the gateway answers under, comma-separated; `*.name`: all below it, `*`: any. "
            "Addresses, one-word names and `localhost` always.",
        ),
    ] = ""
    metrics_port: Annotated[
        int, Meta(ge=1, le=65000, description="First port tried for a room's metrics; the next free one is taken.")
    ] = 9464
    queue_seconds: Annotated[
        float, Meta(ge=1, le=86_400, description="Who would wait longer for a worker is refused (429) instead of being queued.")
    ] = 30.0
    idempotency_positions: Annotated[
        int,
        Meta(
            ge=0,
            description="How many positions back from the head a command asked again is known; "
            "what is older may be detached, and embedded goes. 0: all of it.",
        ),
    ] = 0
    namespace: Annotated[
        str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}$", description="Prefix of every name on the broker, in Redis and of indexes.")
    ] = "twofold"
    lease_seconds: Annotated[float, Meta(ge=0.5, le=60, description="Term of a lease on a lane or a slice.")] = 1.2
    worker_threads: Annotated[int, Meta(ge=1, le=32, description="Batches one worker process may have under way.")] = 1
    provider_data: Annotated[
        str, Meta(description="Folder of the shop's simulated payment provider. Unset: `provider` in TWOFOLD_DATA.")
    ] = ""
    notify_url: Annotated[
        str,
        Meta(
            pattern=r"^(log:|file:.+|smtps?://.+)$",
            description="Where the shop's notices go: `log:`, `file:PATH`, or `smtp://user:password@host:port?from=ADDRESS`, "
            "`&to=` for customers without an address; `smtps://`: TLS from the start.",
        ),
    ] = "log:"
    effect_threads: Annotated[
        int, Meta(ge=1, le=256, description="Calls to the outside one process may have under way; one effect, half of them.")
    ] = 16

    unknown_seconds: Annotated[
        float, Meta(ge=1, le=86_400, description="A command that no worker knows waits; after so long, loudly.")
    ] = 600.0
    park_unknown: Annotated[str, Meta(description="What workers park instead: COMMAND or COMMAND.field, comma-separated.")] = ""

    @property
    def domain_module(self) -> str:
        """The module to import."""
        return SHOP[1] if self.domain in SHOP else self.domain

    @property
    def is_embedded(self) -> bool:
        return not self.database_url


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises Misconfigured, naming the variable and what it may be."""
    given: dict[str, str] = {}
    for field in Settings.__struct_fields__:
        name = variable(field)
        if file := environment.get(f"{name}_FILE"):
            try:
                given[field] = Path(file).read_text().strip()
            except OSError as error:
                raise Misconfigured(f"{name}_FILE={file}: cannot be read ({error.strerror}); name a readable file") from error
        elif value := environment.get(name):
            given[field] = value
    known = {variable(field) for field in Settings.__struct_fields__}
    for name in environment:
        if name.startswith(PREFIX) and name.removesuffix("_FILE") not in known and not name.startswith("TWOFOLD_TEST_"):
            raise Misconfigured(f"{name}: there is no such setting; `twofold doctor` lists them")
    return _checked(given)


def refuse_two_shops(settings: Settings, environment: Mapping[str, str], folder: Path) -> None:
    """Where TWOFOLD_DOMAIN=shop is said, and a domain of that name stands in the folder: which of the two is meant?

    Raises Misconfigured. The default means the shop that ships, whatever stands there.
    """
    name = variable("domain")
    is_said = environment.get(name) or environment.get(f"{name}_FILE")
    if not is_said or settings.domain != SHOP[0]:
        return
    ours = Path(__file__).resolve().parent / SHOP[0]
    for other in (folder / SHOP[0] / "__init__.py", folder / f"{SHOP[0]}.py"):
        if other.exists() and not (ours / "__init__.py").samefile(other):
            raise Misconfigured(
                f"{name}={SHOP[0]}: means the shop that ships with Twofold, and there is a {other} too;"
                f" name the former {SHOP[1]}, or give the latter another name"
            )


def _checked(given: Mapping[str, str]) -> Settings:
    for field in given:
        try:
            msgspec.convert({field: given[field]}, Settings, strict=False)
        except msgspec.ValidationError as error:
            reason = str(error).split(" - at ")[0]
            raise Misconfigured(f"{variable(field)}={_shown(field, given[field])}: {reason}") from error
    settings = msgspec.convert(dict(given), Settings, strict=False)
    for field, example in URLS.items():
        value = getattr(settings, field)
        if value and "://" not in value:
            raise Misconfigured(f"{variable(field)}: not a URL, its scheme is missing; write {example}")
    if bool(settings.database_url) != bool(settings.broker_url):
        missing = "broker_url" if settings.database_url else "database_url"
        raise Misconfigured(f"{variable(missing)} is not set: the log and the broker are both embedded or both served")
    return settings


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def reference() -> list[tuple[str, str, str]]:
    """(variable, default, meaning) of every setting, in order."""
    properties: dict[str, Any] = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    defaults = {field.name: "" if field.default is None else field.default for field in msgspec.structs.fields(Settings)}
    return [(variable(name), str(defaults[name]), properties[name]["description"]) for name in Settings.__struct_fields__]


def _shown(field: str, value: str) -> str:
    return "…" if field.endswith("_url") else value
