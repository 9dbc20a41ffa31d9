from engine.rehearsal import tables


def test_the_committed_text_is_what_the_migrations_come_to() -> None:
    """After a migration: python -m engine.rehearsal.tables."""
    assert tables.TEXT.read_text(encoding="utf-8") == tables.written()


def test_a_database_is_made_of_it() -> None:
    connection = tables.make().connection
    assert connection.run("SELECT id FROM project") == [("proj_default",)]
    connection.end()
