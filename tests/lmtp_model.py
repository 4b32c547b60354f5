"""
A model of an LMTP server, which reads one line after the other, as the RFCs are written.

It knows the lines that are commands by heart (``MEANINGS``) and takes none of them apart. What is
not among them is no command. Within a message every line is a line of the message.

Source: RFC 2033; RFC 5321 4.1.1, 4.1.4, 4.5.2; RFC 1870; RFC 6152.
"""

from itertools import product
from typing import NamedTuple

from mailer.alias_table import Entry, Match
from mailer.lmtp_events import Envelope
from mailer.reply import NO_LIST_451, UNKNOWN_RECIPIENT_550, Reply

MAX_LINE = 4096  # octets
MAX_RECIPIENTS = 1000
MAX_FAULTS = 50  # of the client, since its last message
MAX_SIZE = 100
VERDICTS = {
    "a": Reply(250, "2.0.0", "ok"),
    "b": Reply(451, "4.3.2", "no"),
    "c@x": Reply(550, "5.2.1", "no"),
}


def verdict(address):
    """
    Return what Odoo says of mail for an address: each has its own, so that their order shows.
    """
    return VERDICTS.get(address) or VERDICTS.get(address[:1]) or Reply(250, "2.6.0", "any")


def route(address):
    """
    Take whatever begins with neither ``unknown`` nor ``later``, and is not empty.
    """
    if not address or address.startswith("unknown"):
        return UNKNOWN_RECIPIENT_550
    return NO_LIST_451 if address.startswith("later") else match(address)


def match(address):
    """
    Return the route of an address.
    """
    return Match(address, Entry("odoo", None, "hop"))


class Meaning(NamedTuple):
    """
    What a line says.

    Args:
        fault: Code and status of the reply to what is wrong with it; empty for a good command.
        value: The mailbox of a path, or the queue id.
    """

    verb: str
    fault: str = ""
    value: str = ""


PATHS = {
    b"<a@x>": "a@x",
    b"<b@x>": "b@x",
    b"<c@x>": "c@x",
    b"<A+ext@X>": "A+ext@X",
    b'<"q \\" q"@x>': '"q \\" q"@x',
    b"<@relay.y:a@x>": "a@x",
    b"<@one.y,@two.y:b@x>": "b@x",
    b"<postmaster>": "postmaster",
    b"<a@[192.0.2.1]>": "a@[192.0.2.1]",
    "<é@x>".encode(): "é@x",
    b"<\xe9@x>": "\udce9@x",
    b"<unknown@x>": "unknown@x",
    b"<later@x>": "later@x",
    b"<>": "",
}
NO_PATHS = [b"", b"a@x", b"<a@x", b"a@x>", b"<a b@x>", b"<<a@x>>", b"<a@b@x>", b"<a@x>b", b'<"a@x>']
PARAMETERS = {
    b"": "",
    b" SIZE=0": "",
    b" size=100 Body=8bitMIME SMTPUTF8": "",
    b" BODY=7BIT": "",
    b" SIZE=101": "552 5.3.4",
    b" SIZE=1x": "501 5.5.4",
    b" BODY=BINARYMIME": "501 5.5.4",
    b" RET=FULL": "555 5.5.4",
    b" SMTPUTF8 RET=FULL SIZE=101": "555 5.5.4",
}
FAULTS = {
    b"HELO c": "500 5.5.1",
    b"HELO": "500 5.5.1",
    b"EHLO": "500 5.5.1",
    b"ehlo c": "500 5.5.1",
    b"STARTTLS": "502 5.5.1",
    b"BDAT 3 LAST": "502 5.5.1",
    b"AUTH PLAIN": "502 5.5.1",
    b"AUTH": "502 5.5.1",
    b"BDAT": "502 5.5.1",
    b"EXPN": "502 5.5.1",
    b"HELP": "502 5.5.1",
    b"LHLO": "501 5.5.4",
    b"LHLO  ": "501 5.5.4",
}

LONG = [b"NOOP " + b"x" * (MAX_LINE - 5 + more) for more in (-1, 0, 1)]


def meanings():
    """
    Yield every line that is known, and what it means.
    """
    yield from ((line, Meaning("", fault)) for line, fault in FAULTS.items())
    for verb in (b"LHLO c", b"RSET", b"NOOP", b"NOOP x", b"VRFY a", b"QUIT", b"DATA"):
        for line in (verb, verb.lower()):
            yield line, Meaning(verb[:4].decode())
    yield b"DATA now", Meaning("DATA", "501 5.5.4")
    for (path, mailbox), (parameters, fault) in product(PATHS.items(), PARAMETERS.items()):
        yield b"MAIL FROM:" + path + parameters, Meaning("MAIL", fault, mailbox)
    for path, mailbox in PATHS.items():
        yield b"rcpt to: " + path, Meaning("RCPT", "", mailbox)
        yield b"RCPT TO:" + path, Meaning("RCPT", "", mailbox)
        yield b"RCPT TO:" + path + b" NOTIFY=NEVER", Meaning("RCPT", "555 5.5.4")
    for path in NO_PATHS:
        yield b"MAIL FROM:" + path, Meaning("MAIL", "501 5.1.3")
        yield b"RCPT TO:" + path, Meaning("RCPT", "501 5.1.3")
    yield b"MAIL TO:<a@x>", Meaning("MAIL", "501 5.1.3")
    yield b"RCPT <a@x>", Meaning("RCPT", "501 5.1.3")
    yield b"MAIL", Meaning("MAIL", "501 5.1.3")
    yield b"RCPT", Meaning("RCPT", "501 5.1.3")
    yield b"VRFY", Meaning("VRFY")
    yield b"XFORWARD", Meaning("XFORWARD")
    for words, ident in ((b"NAME=c IDENT=4Ab", "4Ab"), (b"ident=Cd5", "Cd5"), (b"IDENT=[]", "")):
        yield b"XFORWARD " + words, Meaning("XFORWARD", "", ident)
    yield from ((line, Meaning("NOOP")) for line in LONG)


MEANINGS = dict(meanings())


class Model:
    """
    A server that does what the RFCs say, line by line.

    Attributes:
        replies: Code and status of each.
        messages: Envelope, and octets; None for those of a message refused.
        owed: For each message taken, how many replies went before its own.
    """

    def __init__(self):
        self.replies = ["220"]
        self.messages = []
        self.owed = []
        self.closed = self.greeted = False
        self.faults = 0
        self._rest = b""
        self._message = None
        self._begin()

    def _begin(self):
        self.sender, self.recipients, self.queue_id = None, [], ""

    def receive(self, octets):
        """
        Read octets, of which only whole lines count.
        """
        *lines, self._rest = (self._rest + octets).split(b"\r\n")
        for line in lines:
            if not self.closed:
                (self._command if self._message is None else self._text)(line)

    def _text(self, line):
        if line != b".":
            self._message += line.removeprefix(b".") + b"\r\n"
            return
        content = self._message if len(self._message) <= MAX_SIZE else None
        envelope = Envelope(self.sender, tuple(map(match, self.recipients)), self.queue_id)
        self.messages.append((envelope, content))
        self.owed += [] if content is None else [len(self.replies)]
        for address in self.recipients:
            said = verdict(address)
            self.replies.append("552 5.3.4" if content is None else f"{said.code} {said.status}")
        self._message, self.faults = None, 0
        self._begin()

    def _command(self, line):
        meaning = MEANINGS.get(line, Meaning("", "500 5.5.2"))
        if len(line) > MAX_LINE:
            meaning = Meaning("", "500 5.5.2")
        reply = getattr(self, f"_{meaning.verb.lower() or 'none'}")(meaning)
        # Neither is a fault of the client, which may pipeline DATA behind RCPTs that fail.
        if reply[0] == "5" and reply != "550 5.1.1" and reply != "503 no recipients":
            self.faults += 1
        if self.faults > MAX_FAULTS:
            reply, self.closed = "421 4.7.0", True
        self.replies.append(reply.replace("no recipients", "5.5.1"))

    def _none(self, meaning):
        return meaning.fault

    def _lhlo(self, _meaning):
        self.greeted = True
        self._begin()
        return "250"

    def _mail(self, meaning):
        if not self.greeted or self.sender is not None:
            return "503 5.5.1"
        if not meaning.fault:
            self.sender = meaning.value
        return meaning.fault or "250 2.1.0"

    def _rcpt(self, meaning):
        if self.sender is None:
            return "503 5.5.1"
        if len(self.recipients) == MAX_RECIPIENTS:
            return "452 4.5.3"
        if meaning.fault:
            return meaning.fault
        if meaning.value in ("", "unknown@x"):
            return "550 5.1.1"
        if meaning.value == "later@x":
            return "451 4.3.0"
        self.recipients.append(meaning.value)
        return "250 2.1.5"

    def _data(self, meaning):
        if meaning.fault:
            return meaning.fault
        if self.sender is None:
            return "503 5.5.1"
        if not self.recipients:
            return "503 no recipients"
        self._message = b""
        return "354"

    def _xforward(self, meaning):
        if not self.greeted or self.sender is not None:
            return "503 5.5.1"
        self.queue_id = meaning.value or self.queue_id
        return "250 2.0.0"

    def _rset(self, _meaning):
        self._begin()
        return "250 2.0.0"

    def _noop(self, _meaning):
        return "250 2.0.0"

    def _vrfy(self, _meaning):
        return "252 2.0.0"

    def _quit(self, _meaning):
        self.closed = True
        return "221 2.0.0"
