"""
LMTP as a server speaks it: bytes in, events and replies out, no sockets.

Source: RFC 2033; RFC 5321 for the commands, 4.5.2 for dots; RFC 1870 (SIZE),
6152 (8BITMIME), 6531 (SMTPUTF8), 2920 (PIPELINING), 2034 (status codes);
Postfix's XFORWARD_README.
"""

import re
from collections.abc import Callable, Sequence
from enum import Enum, auto

from mailer.address import parse_path
from mailer.alias_table import Match
from mailer.errors import ProtocolError
from mailer.lmtp_events import (
    Envelope,
    Event,
    MessageData,
    MessageDiscarded,
    MessageEnded,
    MessageRefused,
    MessageStarted,
    SessionClosed,
)
from mailer.reply import (
    BAD_ADDRESS_501,
    BAD_SEQUENCE_503,
    BAD_SYNTAX_501,
    BYE_221,
    CANNOT_VERIFY_252,
    LINE_TOO_LONG_500,
    MESSAGE_TOO_LARGE_552,
    NO_RECIPIENTS_503,
    NOT_IMPLEMENTED_502,
    OK_250,
    RECIPIENT_OK_250,
    SENDER_OK_250,
    START_DATA_354,
    TOO_MANY_ERRORS_421,
    TOO_MANY_RECIPIENTS_452,
    UNKNOWN_COMMAND_500,
    UNKNOWN_PARAMETER_555,
    USE_LHLO_500,
    Reply,
)

# Octets. Postfix takes 2048, postconf(5) line_length_limit, and adds parameters of its own.
MAX_LINE = 4096
MAX_RECIPIENTS = 1000
MAX_ERRORS = 50  # replies of 500 to 503 before the connection is closed

_EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
_XFORWARD = "NAME ADDR PORT PROTO HELO IDENT SOURCE"
_QUEUE_ID = re.compile(rb"[0-9A-Za-z.-]{1,64}")
_END = b"\r\n.\r\n"
_DOT_LINE = b"\r\n."

Route = Callable[[str], Match | Reply]


class _State(Enum):
    COMMAND = auto()
    DATA = auto()
    REPLIES_OWED = auto()
    CLOSED = auto()


class LmtpSession:
    """
    One connection.

    Args:
        hostname: For the greeting.
        max_message_size: Octets, after unstuffing.
        route: Says to whom a recipient's mail goes, or why it is not taken.
    """

    def __init__(self, hostname: str, max_message_size: int, route: Route) -> None:
        self._hostname = hostname
        self._max_message_size = max_message_size
        self._route = route
        self._state = _State.COMMAND
        self._input = b""
        self._output: list[bytes] = []
        self._events: list[Event] = []
        self._greeted = False
        self._skipping_line = False
        self._errors = 0
        self._sender: str | None = None
        self._recipients: list[Match] = []
        self._queue_id = ""
        self._size = 0
        self._at_start = False
        self._refusal: Reply | None = None
        self._reply(Reply(220, "", f"{hostname} LMTP odoo-mailer"))

    @property
    def recipients(self) -> Sequence[Match]:
        """The accepted recipients of the transaction, in order."""
        return self._recipients

    @property
    def has_input(self) -> bool:
        """Octets are kept that have yet to be looked at."""
        return bool(self._input)

    def data_to_send(self) -> bytes:
        """
        Return, once, the octets that are to be sent now.
        """
        data = b"".join(self._output)
        self._output.clear()
        return data

    def receive_data(self, data: bytes) -> list[Event]:
        """
        Take octets from the client; while replies are owed they are only kept.

        Args:
            data: May be empty, to go on with what was kept.
        """
        if self._state is not _State.CLOSED:
            self._input += data
        while self._advance():
            pass
        events, self._events = self._events, []
        return events

    def refuse_message(self, reply: Reply) -> None:
        """
        Answer the message that is coming in with this reply for each recipient.
        """
        self._refusal = reply

    def send_replies(self, replies: Sequence[Reply]) -> None:
        """
        Answer a message that has ended.

        Args:
            replies: One for each accepted RCPT, in the order of the RCPTs.

        Raises:
            ValueError: There are more or fewer replies than recipients.
        """
        if self._state is not _State.REPLIES_OWED or len(replies) != len(self._recipients):
            raise ValueError(f"{len(replies)} replies for {len(self._recipients)} recipients")
        for reply in replies:
            self._reply(reply)
        self._state = _State.COMMAND
        self._errors = 0
        self._reset()

    def close(self, reply: Reply) -> None:
        """
        End the session with a last reply.
        """
        self._reply(reply)
        self._state = _State.CLOSED
        self._input = b""

    def _reset(self) -> None:
        self._sender = None
        self._recipients = []
        self._queue_id = ""
        self._size = 0
        self._at_start = False
        self._refusal = None

    def _reply(self, reply: Reply) -> None:
        self._output.append(reply.line())

    def _advance(self) -> bool:
        """
        Handle one command or one piece of data; say whether there may be more.
        """
        if self._state is _State.COMMAND:
            return self._next_command()
        if self._state is _State.DATA:
            return self._next_data()
        return False

    # Commands

    def _next_command(self) -> bool:
        line, end, rest = self._input.partition(b"\r\n")
        if not end:
            if len(self._input.removesuffix(b"\r")) > MAX_LINE:
                # Its last octet may be the CR of the line end.
                self._skipping_line, self._input = True, self._input[-1:]
            return False
        self._input = rest
        if self._skipping_line or len(line) > MAX_LINE:
            self._skipping_line = False
            self._error(LINE_TOO_LONG_500)
        else:
            self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        name = verb.upper()
        method = _COMMANDS.get(name)
        if method is not None:
            method(self, argument.strip())
        elif name in (b"HELO", b"EHLO"):
            self._error(USE_LHLO_500)
        elif name in (b"AUTH", b"BDAT", b"EXPN", b"HELP", b"STARTTLS"):
            self._error(NOT_IMPLEMENTED_502)
        else:
            self._error(UNKNOWN_COMMAND_500)

    def _error(self, reply: Reply) -> None:
        self._errors += 1
        if self._errors <= MAX_ERRORS:
            self._reply(reply)
            return
        self.close(TOO_MANY_ERRORS_421)
        self._events.append(SessionClosed())

    def _lhlo(self, argument: bytes) -> None:
        if not argument:
            self._error(BAD_SYNTAX_501)
            return
        self._greeted = True
        self._reset()
        lines = [
            self._hostname,
            *_EXTENSIONS,
            f"XFORWARD {_XFORWARD}",
            f"SIZE {self._max_message_size}",
        ]
        for line in lines[:-1]:
            self._output.append(f"250-{line}\r\n".encode("ascii"))
        self._output.append(f"250 {lines[-1]}\r\n".encode("ascii"))

    def _mail(self, argument: bytes) -> None:
        if not self._greeted or self._sender is not None:
            self._error(BAD_SEQUENCE_503)
            return
        try:
            sender, parameters = _path_and_parameters(argument, b"FROM:")
        except ProtocolError:
            self._error(BAD_ADDRESS_501)
            return
        refusal = self._check_parameters(parameters)
        if refusal is not None:
            self._error(refusal)
            return
        self._sender = sender
        self._reply(SENDER_OK_250)

    def _check_parameters(self, parameters: list[bytes]) -> Reply | None:
        for parameter in parameters:
            name, _, value = parameter.upper().partition(b"=")
            if name == b"SIZE":
                if not value.isdigit() or len(value) > 20:
                    return BAD_SYNTAX_501
                if int(value) > self._max_message_size:
                    return MESSAGE_TOO_LARGE_552
            elif name == b"BODY":
                if value not in (b"7BIT", b"8BITMIME"):
                    return BAD_SYNTAX_501
            elif name != b"SMTPUTF8":
                return UNKNOWN_PARAMETER_555
        return None

    def _rcpt(self, argument: bytes) -> None:
        if self._sender is None:
            self._error(BAD_SEQUENCE_503)
            return
        if len(self._recipients) >= MAX_RECIPIENTS:
            self._reply(TOO_MANY_RECIPIENTS_452)
            return
        try:
            recipient, parameters = _path_and_parameters(argument, b"TO:")
        except ProtocolError:
            self._error(BAD_ADDRESS_501)
            return
        if parameters:
            self._error(UNKNOWN_PARAMETER_555)
            return
        routed = self._route(recipient)
        if isinstance(routed, Reply):
            self._reply(routed)
            return
        self._recipients.append(routed)
        self._reply(RECIPIENT_OK_250)

    def _data(self, argument: bytes) -> None:
        if argument:
            self._error(BAD_SYNTAX_501)
        elif self._sender is None:
            self._error(BAD_SEQUENCE_503)
        elif not self._recipients:
            # RFC 2033 4.2; Postfix pipelines DATA behind RCPTs that all failed.
            self._reply(NO_RECIPIENTS_503)
        else:
            self._reply(START_DATA_354)
            self._state = _State.DATA
            self._at_start = True
            self._input = b"\r\n" + self._input
            envelope = Envelope(self._sender, tuple(self._recipients), self._queue_id)
            self._events.append(MessageStarted(envelope))

    def _xforward(self, argument: bytes) -> None:
        if not self._greeted or self._sender is not None:
            self._error(BAD_SEQUENCE_503)
            return
        for attribute in argument.split():
            name, _, value = attribute.partition(b"=")
            if name.upper() == b"IDENT" and _QUEUE_ID.fullmatch(value):
                self._queue_id = value.decode("ascii")
        self._reply(OK_250)

    def _rset(self, _argument: bytes) -> None:
        self._reset()
        self._reply(OK_250)

    def _noop(self, _argument: bytes) -> None:
        self._reply(OK_250)

    def _vrfy(self, _argument: bytes) -> None:
        self._reply(CANNOT_VERIFY_252)

    def _quit(self, _argument: bytes) -> None:
        self.close(BYE_221)
        self._events.append(SessionClosed())

    # Message data

    def _next_data(self) -> bool:
        """
        Give what is surely message data; a tail that could begin the end stays.

        The CRLF before the message, put there by DATA, makes a dot at its very
        beginning one at the beginning of a line like any other.
        """
        data = self._input
        # Most data has no such line, and both are soon answered; find() takes twice as long.
        dots = b"." in data and data.rfind(_DOT_LINE) >= 0
        end = data.find(_END) if dots else -1
        cut = end + 2 if end >= 0 else len(data) - _partial_end(data)
        content, self._input = data[:cut], data[end + len(_END) if end >= 0 else cut :]
        self._give(content.replace(_DOT_LINE, b"\r\n") if dots else content)
        if end >= 0:
            self._end_message()
        return end >= 0

    def _give(self, content: bytes) -> None:
        if not content:
            return
        if self._at_start:
            content, self._at_start = content[2:], False
        self._size += len(content)
        if self._refusal is None and self._size > self._max_message_size:
            self._refusal = MESSAGE_TOO_LARGE_552
            self._events.append(MessageDiscarded())
        if self._refusal is None and content:
            self._events.append(MessageData(content))

    def _end_message(self) -> None:
        self._state = _State.REPLIES_OWED
        if self._refusal is None:
            self._events.append(MessageEnded())
        else:
            replies = (self._refusal,) * len(self._recipients)
            self._events.append(MessageRefused(replies))
            self.send_replies(replies)


_COMMANDS: dict[bytes, Callable[[LmtpSession, bytes], None]] = {
    b"LHLO": LmtpSession._lhlo,
    b"MAIL": LmtpSession._mail,
    b"RCPT": LmtpSession._rcpt,
    b"DATA": LmtpSession._data,
    b"XFORWARD": LmtpSession._xforward,
    b"RSET": LmtpSession._rset,
    b"NOOP": LmtpSession._noop,
    b"VRFY": LmtpSession._vrfy,
    b"QUIT": LmtpSession._quit,
}


def _path_and_parameters(argument: bytes, keyword: bytes) -> tuple[str, list[bytes]]:
    if argument[: len(keyword)].upper() != keyword:
        raise ProtocolError("no path")
    mailbox, rest = parse_path(argument[len(keyword) :].lstrip(b" "))
    if rest and not rest.startswith(b" "):
        raise ProtocolError("no space behind the path")
    return mailbox, rest.split()


def _partial_end(data: bytes) -> int:
    """
    Return how many octets at the end of the data could begin the end of data.
    """
    return next((n for n in range(len(_END) - 1, 0, -1) if data.endswith(_END[:n])), 0)
