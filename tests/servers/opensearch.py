"""A private OpenSearch of one node, made of what Maven's own repository holds: nobody packages it for Debian.

    maven ──> the jars, in the user's cache, once ──> a home of a server's own: lib/, modules/transport-netty4/, config/

Its HTTP transport has to be a module, apart from all other jars. Analysers beyond the core's are not there; a server that has
more does the same. It refuses to run as root.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from tests.servers.binaries import path_of
from tests.servers.server import Server, ServerFailed, free_port

VERSION = "2.19.1"
ARTEFACTS = (
    ("org.opensearch", "opensearch", VERSION),
    ("org.opensearch", "opensearch-plugin-classloader", VERSION),
    ("org.opensearch.plugin", "transport-netty4-client", VERSION),
    ("org.apache.logging.log4j", "log4j-core", "2.21.0"),
    ("net.java.dev.jna", "jna", "5.13.0"),
)
FETCH_SECONDS_MAX = 600
MACHINE = "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"
"""Little memory, and little time spent on becoming fast."""

PLUGIN = {
    "name": "transport-netty4",
    "description": "HTTP",
    "version": VERSION,
    "opensearch.version": VERSION,
    "java.version": "11",
    "classname": "org.opensearch.transport.Netty4Plugin",
    "extended.plugins": "",
    "has.native.controller": "false",
}
RIGHTS = """grant {
  permission java.net.SocketPermission "*", "accept,connect";
  permission java.lang.RuntimePermission "accessDeclaredMembers";
  permission java.lang.reflect.ReflectPermission "suppressAccessChecks";
};
"""
LOGGING = """status = error
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c %m%n
"""


class OpenSearch(Server):
    name = "opensearch"
    user = "daemon"
    stop_signal = signal.SIGKILL  # it has nothing to keep, and takes half a minute to put it away

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._transport_port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        jars = fetched()
        super().prepare()
        module = self.folder / "modules" / PLUGIN["name"]
        for folder in ("lib", "config", "plugins", "logs", f"modules/{PLUGIN['name']}"):
            (self.folder / folder).mkdir(parents=True)
        for jar in jars:
            is_transport = jar.name.startswith(("netty-", "transport-netty4-"))
            shutil.copyfile(jar, (module if is_transport else self.folder / "lib") / jar.name)
        (module / "plugin-descriptor.properties").write_text("".join(f"{name}={value}\n" for name, value in PLUGIN.items()))
        (module / "plugin-security.policy").write_text(RIGHTS)
        (self.folder / "config" / "log4j2.properties").write_text(LOGGING)
        settings = {
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "transport.port": self._transport_port,
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "action.auto_create_index": "false",
        }
        (self.folder / "config" / "opensearch.yml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        if os.geteuid() == 0:
            for path in self.folder.rglob("*"):
                shutil.chown(path, self.user, self.user)

    def command(self) -> list[str]:
        known = {
            "java.security.manager": "allow",
            "io.netty.noUnsafe": "true",
            "opensearch.path.home": self.folder,
            "opensearch.path.conf": self.folder / "config",
            "opensearch.distribution.type": "zip",
            "opensearch.bundled_jdk": "false",
        }
        options = [*MACHINE, *(f"-D{name}={value}" for name, value in known.items()), "-cp", f"{self.folder / 'lib'}/*"]
        return [path_of("java"), *options, "org.opensearch.bootstrap.OpenSearch"]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_cluster/health?timeout=1s", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def fetched() -> list[Path]:
    """The jars, from the user's cache; fetched by Maven when they are not there. Raises ServerFailed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twofold" / f"opensearch-{VERSION}"
    jars = cache / "jars"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            _fetch(cache, jars)
    return sorted(jars.glob("*.jar"))


def _fetch(cache: Path, jars: Path) -> None:
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in ARTEFACTS
    )
    names = "<modelVersion>4.0.0</modelVersion><groupId>twofold</groupId><artifactId>tests</artifactId><version>1</version>"
    (cache / "pom.xml").write_text(f"<project>{names}<dependencies>{dependencies}</dependencies></project>\n")
    coming = cache / "coming"
    command = [path_of("mvn"), "-q", "-B", "-f", str(cache / "pom.xml"), "dependency:copy-dependencies"]
    try:
        ended = subprocess.run(
            [*command, f"-DoutputDirectory={coming}"], capture_output=True, text=True, timeout=FETCH_SECONDS_MAX, check=False
        )
        said = "" if ended.returncode == 0 else (ended.stdout.strip() or ended.stderr.strip()).partition("\n")[0]
    except subprocess.TimeoutExpired:
        said = f"no end after {FETCH_SECONDS_MAX} s"
    if said or not coming.exists():
        raise ServerFailed(f"OpenSearch could not be fetched with Maven, which these tests need: {said or 'nothing came'}")
    coming.rename(jars)
