"""A small web site on loopback with a sign-in, its log, and its firewall: what the demo's workflow watches over.

It is real as far as it goes: people sign in over HTTP, somebody guesses passwords, every try stands in a log file, and an
address that the firewall is told to cut off gets no answer but 403 from then on. The firewall, the tickets and the alerts
speak as OPNsense, Jira and Alertmanager do, and want their credentials.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from datetime import datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac.outcomes import Json

PEOPLE = {"ada": "198.51.100.7", "grace": "198.51.100.23", "alan": "192.0.2.41"}
"""Who has an account, and from which address they come."""

GUESSER = "203.0.113.66"
GUESSES = ("root", "admin", "test", "oracle", "git", "ada", "postgres", "www")


class Site:
    """The site, from its making to `close`. Addresses come in `X-Forwarded-For`, as behind a proxy."""

    def __init__(self, log: Path) -> None:
        self.quarantined: set[str] = set()
        self.tickets: list[Any] = []
        self.alerts: list[Any] = []
        self._log = log
        self._lock = threading.Lock()
        self._passwords = {name: secrets.token_hex(8) for name in PEOPLE}
        self._secret = secrets.token_hex(16)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
        site = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                self.answer(404, {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                self.answer(*site._do(self.path, self.headers, body))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="site", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def connections(self) -> list[dict[str, Json]]:
        """Return the connections to what guards the site."""
        url, secret = f"http://{self.address}", self._secret
        values: dict[str, dict[str, Json]] = {
            "opnsense": {"base_url": url, "key": "demo", "secret": secret},
            "jira": {"base_url": url, "email": "demo", "token": secret},
            "alertmanager": {"base_url": url, "username": "demo", "password": secret},
        }
        return [
            {"name": kind, "kind": kind, "values": each, "replace": True} for kind, each in values.items()
        ]

    def live(self, tries: int) -> None:
        """Have people sign in, one of them with a mistake, and somebody guess passwords."""
        for name, address in PEOPLE.items():
            if name == "grace":
                self.sign_in(name, "her old one", address)
            self.sign_in(name, self._passwords[name], address)
        for number in range(tries):
            self.sign_in(GUESSES[number % len(GUESSES)], f"password{number}", GUESSER)

    def sign_in(self, name: str, password: str, address: str) -> int:
        """Try to sign in from an address, over HTTP; return the status of the answer."""
        link = HTTPConnection(self.address, timeout=10)
        try:
            body = json.dumps({"user": name, "password": password})
            link.request("POST", "/sign-in", body, {"X-Forwarded-For": address})
            answer = link.getresponse()
            answer.read()
            return answer.status
        finally:
            link.close()

    def again(self) -> dict[str, int]:
        """Have everybody come once more; return what each address was answered."""
        found = {
            PEOPLE[name]: self.sign_in(name, word, PEOPLE[name]) for name, word in self._passwords.items()
        }
        return {**found, GUESSER: self.sign_in("root", "password", GUESSER)}

    def log(self) -> str:
        """Return what stands in the log."""
        return self._log.read_text(encoding="utf-8")

    def _do(self, path: str, headers: Any, body: dict[str, Any]) -> tuple[int, Any]:
        """Do what a request asks; return status and answer."""
        with self._lock:
            if path == "/sign-in":
                return self._sign_in(str(headers.get("X-Forwarded-For")), body)
            proof = base64.b64encode(f"demo:{self._secret}".encode()).decode()
            if not secrets.compare_digest(str(headers.get("Authorization")), f"Basic {proof}"):
                return 401, {}
            match path:
                case "/api/firewall/alias_util/add/quarantine":
                    self.quarantined.add(str(body["address"]))
                    return 200, {"status": "done"}
                case "/rest/api/2/issue":
                    self.tickets.append(body["fields"])
                    return 201, {"key": f"SEC-{len(self.tickets)}"}
                case "/api/v2/alerts":
                    self.alerts.append(body)
                    return 200, {}
            return 404, {}

    def _sign_in(self, address: str, body: dict[str, Any]) -> tuple[int, Any]:
        if address in self.quarantined:
            return 403, {}
        name = str(body["user"])
        good = self._passwords.get(name) == body["password"]
        known = "" if name in self._passwords else "invalid user "
        words = f"Accepted password for {name}" if good else f"Failed password for {known}{name}"
        with self._log.open("a", encoding="utf-8") as log:
            log.write(
                f"{datetime.now().astimezone():%b %e %H:%M:%S} site web[1]: {words} from {address} port 443\n"
            )
        return (200 if good else 401), {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: Any) -> None:
        """Send an answer."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep quiet: the site has a log of its own."""
