"""Runs migrations on the connection that ``dray.state.setup`` hands in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
