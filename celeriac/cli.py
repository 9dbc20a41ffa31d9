"""The command line: `celeriac COMMAND`. Each command imports what it needs when it runs, so that help comes at once."""

from __future__ import annotations

import typer

from celeriac.commands import (
    admin,
    approvals,
    attention,
    audit,
    budgets,
    collections,
    connections,
    definitions,
    demo,
    doctor,
    events,
    executions,
    importing,
    keys,
    models,
    processes,
    projects,
    running,
    schedules,
    storage,
    subscriptions,
    tests,
    up,
    users,
    variables,
    verify,
    webhooks,
    why,
    workflows,
)

app = typer.Typer(
    name="celeriac",
    help="JSON workflows as durable executions. Start with: celeriac demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(demo.demo)
app.command()(running.run)
app.command()(definitions.validate)
app.command("compile")(definitions.compile_)
app.command("test")(tests.run_tests)
app.command()(workflows.push)
app.command()(why.why)
app.add_typer(workflows.app, name="workflows")
app.add_typer(executions.app, name="executions")
app.add_typer(attention.app, name="attention")
app.add_typer(approvals.app, name="approvals")
app.add_typer(schedules.app, name="schedules")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(events.app, name="events")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(connections.app, name="connections")
app.add_typer(models.app, name="models")
app.add_typer(budgets.app, name="budgets")
app.add_typer(collections.app, name="collections")
app.add_typer(importing.app, name="import")
app.add_typer(variables.app, name="variables")
app.add_typer(projects.app, name="projects")
app.add_typer(users.app, name="users")
app.add_typer(admin.app, name="admin")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.command()(up.up)
app.command()(processes.worker)
app.command()(processes.poller)
app.command()(processes.api)
app.command()(storage.migrate)
app.command()(storage.backup)
app.command()(storage.restore)
app.command()(storage.purge)
app.command()(doctor.doctor)
app.command()(verify.verify)
app.command()(definitions.schema)
