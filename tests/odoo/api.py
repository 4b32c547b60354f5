"""
The three API points as the daemon uses them, without the daemon.
"""

import hashlib
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TIMEOUT = 150.0  # seconds


@dataclass(frozen=True)
class Answer:
    """
    What came back.
    """

    code: int
    headers: http.client.HTTPMessage
    body: bytes

    def codes(self) -> dict[str, int]:
        """
        Return the code of each recipient's verdict.
        """
        assert self.code == 200, self.body[:500]
        verdicts = json.loads(self.body)["recipients"]
        return {address: verdict["code"] for address, verdict in verdicts.items()}


@dataclass(frozen=True)
class Api:
    """
    Args:
        port: On loopback.
        token: A mailer's.
    """

    port: int
    token: str

    def get(self, point: str, headers: Mapping[str, str] | None = None) -> Answer:
        """
        Fetch a list.
        """
        return self._request("GET", point, None, headers or {})

    def pipe(self, message: bytes, recipients: Sequence[str], sender: str) -> Answer:
        """
        Deliver a message.
        """
        headers = {
            "Content-Type": "message/rfc822",
            "X-Mail-Sender": sender,
            "X-Mail-Recipients": ",".join(recipients),
            "X-Mail-Digest": f"sha-256={hashlib.sha256(message).hexdigest()}",
        }
        return self._request("POST", "pipe", message, headers)

    def _request(
        self, method: str, point: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            sent = {"X-Mail-Token": self.token, **headers}
            connection.request(method, f"/mail_delivery/{point}", body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
