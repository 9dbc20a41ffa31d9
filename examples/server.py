"""The bank and the warehouse that two examples talk to: `python examples/server.py [PORT]`, on loopback only.

`GET /rates` answers with rates of exchange. `PUT /reservations/NUMBER` is busy: it refuses each reservation twice with
503, told apart by their `Idempotency-Key`, and then grants it; asked again under a key it knows, it repeats its answer.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 8765
BUSY = 2
RATES = {"EUR": {"as_of": "2031-05-02", "rates": {"ISK": 143.2, "JPY": 161.45, "NOK": 11.62}}}


class Town(ThreadingHTTPServer):
    """The server, and what it remembers."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Counter)
        self.refused: defaultdict[str, int] = defaultdict(int)
        self.reservations: dict[str, dict[str, Any]] = {}


class Counter(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server: Town

    def do_GET(self) -> None:
        """Tell the rates of a currency."""
        path, _, query = self.path.partition("?")
        base = dict(each.split("=", 1) for each in query.split("&") if "=" in each).get("base", "EUR")
        if path == "/rates" and base in RATES:
            self._answer(200, RATES[base])
        else:
            self._answer(404, {"message": "There is nothing here."})

    def do_PUT(self) -> None:
        """Reserve stock, at the third attempt."""
        wish = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        key = self.headers.get("Idempotency-Key", self.path)
        if key not in self.server.reservations and self.server.refused[key] < BUSY:
            self.server.refused[key] += 1
            self._answer(503, {"message": "All pickers are busy."})
            return
        granted = {**wish, "shelf": "C-07", "refused_before": self.server.refused[key]}
        self._answer(200, self.server.reservations.setdefault(key, granted))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is http.server's
        """Tell on stderr what was asked."""
        print(f"{self.command} {self.path} -> {args[1] if len(args) > 1 else format}", file=sys.stderr)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve until interrupted; the first line of stdout is the address."""
    with Town(int(sys.argv[1]) if len(sys.argv) > 1 else PORT) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
