"""
How the sandbox tells the daemon that its list has changed.
"""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IConsumer, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from mailer.alias_list import MERGE_PATCH_TYPE
from mailer.config import Token
from mailer.listen import Listen
from mailer.sandbox_changes import Patch

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

    def notify(self, patch: Patch | None = None) -> None:
        """
        Send what has changed, else an empty POST; whatever comes of it is only logged.
        """
        if self._webhook.client:
            Deferred.fromCoroutine(self._tell(patch)).addTimeout(TIMEOUT, self._reactor).addErrback(
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

    async def _tell(self, patch: Patch | None) -> None:
        """
        Call once, and again without a body where the daemon does not take the patch.
        """
        if patch is None or await self._post(patch) not in (200, 202):
            await self._post(None)

    async def _post(self, patch: Patch | None) -> int:
        endpoint = clientFromString(self._reactor, self._webhook.client)
        agent = Agent.usingEndpointFactory(self._reactor, _Always(endpoint))
        fields = {"X-Mail-Token": self._token.value, "Content-Type": "application/yaml"}
        if patch is not None:
            fields["Content-Type"] = MERGE_PATCH_TYPE
            fields |= {"Delta-Base": patch.base, "ETag": patch.etag}
        headers = Headers({name: [value] for name, value in fields.items()})
        body = None if patch is None else _Body(patch.body)
        answer = await agent.request(b"POST", b"http://localhost/aliases", headers, body)
        answer.deliverBody(Protocol())  # unread, it would keep the connection
        log.info(
            "the daemon at {webhook} was told, and answered {code}",
            webhook=str(self._webhook),
            code=answer.code,
        )
        return int(answer.code)


@implementer(IAgentEndpointFactory)
class _Always:
    """
    Connects to one place, whatever the URL says.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint


@implementer(IBodyProducer)
class _Body:
    """
    A body that is written at once: a patch is small, or else memory has it all the same.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass
