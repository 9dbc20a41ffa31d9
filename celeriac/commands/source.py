"""A small web server on loopback that hands out the files of one folder: where the demo's workflow gets its data from.

It is out of order at first, as servers are now and then.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Source:
    """Serves files by name; the first `failures` requests of each are answered with 503."""

    def __init__(self, folder: Path, failures: int) -> None:
        files = {f"/{each.name}": each.read_bytes() for each in folder.iterdir() if each.is_file()}
        left = dict.fromkeys(files, failures)
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = files.get(self.path)
                with lock:
                    failing = left.get(self.path, 0) > 0
                    if failing:
                        left[self.path] -= 1
                if content is None:
                    self._answer(404, b"there is no such file\n")
                elif failing:
                    self._answer(503, b"out of order\n")
                else:
                    self._answer(200, content)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="source", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
