"""
How the sandbox tells the daemon that its list has changed.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from mailer.config import Token
from mailer.listen import Listen

log = Logger()

TIMEOUT = 5.0  # seconds


class Notifier:
    """
    Tells the daemon that the list has changed, as the addon does.

    Args:
        webhook: Where the daemon listens.
    """

    def __init__(self, webhook: Listen, token: Token, reactor: Any) -> None:
        self._webhook = webhook
        self._token = token
        self._reactor = reactor

    def notify(self) -> None:
        """
        Send one empty POST; whatever comes of it is only logged.
        """
        if self._webhook.client:
            Deferred.fromCoroutine(self._post()).addTimeout(TIMEOUT, self._reactor).addErrback(
                lambda failure: self._failed(failure.getErrorMessage())
            )
        else:
            self._failed("the endpoint in http names no address to connect to")

    def _failed(self, reason: str) -> None:
        log.info(
            "the daemon at {webhook} was not told: {reason}",
            webhook=str(self._webhook),
            reason=reason,
        )

    async def _post(self) -> None:
        endpoint = clientFromString(self._reactor, self._webhook.client)
        agent = Agent.usingEndpointFactory(self._reactor, _Always(endpoint))
        headers = Headers(
            {"X-Mail-Token": [self._token.value], "Content-Type": ["application/yaml"]}
        )
        answer = await agent.request(b"POST", b"http://localhost/aliases", headers)
        answer.deliverBody(Protocol())  # unread, it would keep the connection
        log.info(
            "the daemon at {webhook} was told, and answered {code}",
            webhook=str(self._webhook),
            code=answer.code,
        )


@implementer(IAgentEndpointFactory)
class _Always:
    """
    Connects to one place, whatever the URL says.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint
