"""Run by alembic: hands it the connection that `migrate.py` has opened, locked and will commit."""

from __future__ import annotations

from alembic import context

NAME_WHEN_RUN_BY_ALEMBIC = "env_py"


def run() -> None:
    given = context.config.attributes
    context.configure(connection=given["connection"], version_table=given["version_table"], transactional_ddl=False)
    context.run_migrations()


if __name__ == NAME_WHEN_RUN_BY_ALEMBIC:
    run()
