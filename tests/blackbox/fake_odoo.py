"""
An Odoo that is slow, or broken, as a test wants it.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Failure:
    """
    What comes back in place of a verdict.
    """

    code: int
    content_type: str = "text/html"
    body: str = "<!DOCTYPE html><title>Something else</title>"


class FakeOdoo:
    """
    Declares some addresses; says of each mail that it was ``taken at last``.

    Args:
        addresses: What it declares; other words behind one are its targets.
        transport: Which of all these are Odoo's; the addresses themselves, if not given.
        version: Of HTTP; ``HTTP/1.0`` closes the connection after every answer, as Odoo's
            workers do.

    Attributes:
        gate: No delivery is answered before this is set.
        posts: The header fields of the deliveries so far.
        messages: The message of each.
        failure: The answer to deliveries, in place of a verdict.
    """

    def __init__(
        self,
        port: int,
        *addresses: str,
        transport: Sequence[str] | None = None,
        version: str = "HTTP/1.1",
    ) -> None:
        self.gate = threading.Event()
        self.posts: list[Message] = []
        self.messages: list[bytes] = []
        self.failure: Failure | None = None
        fake = self
        pages = {"aliases": "\n".join(addresses), "transport": " ".join(transport or addresses)}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = version

            def do_GET(self) -> None:
                page = pages[self.path.rpartition("/")[2]]
                self._answer(200, "text/plain", page + "\n", marked=True)

            def do_POST(self) -> None:
                fake.messages.append(self.rfile.read(int(self.headers["Content-Length"])))
                fake.posts.append(self.headers)
                fake.gate.wait(60)
                failure = fake.failure
                if failure is None:
                    verdicts = json.dumps({"recipients": self._verdicts()})
                    self._answer(200, "application/json", verdicts, marked=True)
                else:
                    self._answer(failure.code, failure.content_type, failure.body, marked=False)

            def _verdicts(self) -> dict[str, dict[str, object]]:
                verdict = {"code": 250, "status": "2.0.0", "text": "taken at last"}
                return dict.fromkeys(self.headers["X-Mail-Recipients"].split(","), verdict)

            def _answer(self, code: int, content_type: str, text: str, marked: bool) -> None:
                body = text.encode()
                self.send_response(code)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                if marked:
                    self.send_header("X-Mail-Delivery", "1")
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # the client did not wait so long

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True  # those of connections kept open do not end
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> "FakeOdoo":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
