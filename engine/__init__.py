"""The engine: it knows workflows, and neither HTTP nor Celery processes nor the outside world.

Read it in this order:

- `definition` and `checking` turn an author's JSON into a frozen workflow, or into every mistake in it at once;
  `graph` and `expressions` serve them.
- `plan` cuts the graph into fused segments and their joins.
- `execute` is the heart: claim, render, call, classify, record, advance, dispatch. `conduct` does what containers decide,
  `chunk` performs many cheap items in one go; `performance` is what all three have in their hands.
- `advance` decides what follows, purely; `transitions` is the only pen; `ledger` groups what waits into one commit.
- `canvas` compiles what remains into Celery signatures; `dispatch` sends them after the commit.
- `poller` wakes what is due and takes over from the dead.
- `outside` is a node's only way out; `store` holds tables, SQL and connections to the databases.
"""
