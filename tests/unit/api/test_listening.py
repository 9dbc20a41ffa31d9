from __future__ import annotations

import pytest

from api.listening import PortTaken, listen, url_of
from engine.errors import Misconfigured


def test_any_free_port_is_taken_when_none_is_named() -> None:
    with listen("127.0.0.1", 0) as found:
        assert url_of(found) == f"http://127.0.0.1:{found.getsockname()[1]}"


def test_a_taken_port_is_told_with_the_remedy() -> None:
    with listen("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(PortTaken) as refused:
            listen("127.0.0.1", port)
    assert refused.value.message == f"The port {port} of 127.0.0.1 is taken."
    assert str(refused.value.hint).startswith("Stop what uses it, or take another: --port ")


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_told(host: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        listen(host, 0)
    assert refused.value.hint == "Unset CELERIAC_API_HOST for 127.0.0.1."


def test_what_listens_everywhere_is_reached_on_loopback() -> None:
    with listen("0.0.0.0", 0) as found:  # noqa: S104  what the test is about; nothing connects
        assert url_of(found).startswith("http://127.0.0.1:")
