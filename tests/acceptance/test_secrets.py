"""Fifty secrets in a whole installation, used with success and with failure, and in nothing that is kept or said."""

from __future__ import annotations

import pytest

from tests import hunt


@pytest.mark.timeout(180)
def test_none_of_fifty_secrets_is_found_and_the_one_that_is_given_away_is() -> None:
    done = hunt.run()
    assert len(done.planted.secrets) == hunt.MANY
    assert done.found == []
    assert len(done.used) >= 20
    assert done.places > 120
    places = {each.place for each in done.leaked}
    assert {"backup", "file celeriac.db"} < places
    assert any(each.startswith("API: ") for each in places)
    assert any(each.startswith("row of ") for each in places)
    assert len(done.unseen) < 12
