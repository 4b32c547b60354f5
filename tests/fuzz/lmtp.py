"""
Fuzzing the LMTP session: any octets, in any pieces.

An even first octet: the rest are octets of the client. They are read once more here, line by line,
as RFC 5321 4.5.2 has it, to see that there is one reply a command, one for each accepted
recipient of a message, and that a message is what its lines are without their stuffing.

An odd one: the rest stand for whole lines that ``lmtp_model.py`` knows, and for what no command
begins with, so that everything the session does is compared with that model.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).parent
cutting = SimpleNamespace(**runpy.run_path(str(HERE / "cutting.py")))
tests = SimpleNamespace(**runpy.run_path(str(HERE.parent / "test_lmtp_model.py")))
model = tests.model

MAX_LENGTH = 1200  # octets

LINES = [
    line
    for line, meaning in model.MEANINGS.items()
    if meaning.verb != "MAIL" or b"<a@x>" in line or line.endswith(b">")
][:128]
# No letters, so that no garbage becomes a command with what stands behind it.
OTHERS = b"\r\n.\0 <>@\x0b\xff"


def told(stream):
    """
    Return the stream that the octets of an odd input stand for.
    """
    return b"".join(
        LINES[octet % len(LINES)] + b"\r\n" if octet >= 128 else OTHERS[octet % len(OTHERS) :][:1]
        for octet in stream
    )


def read(pieces, is_prompt=True):
    """
    Return what is seen of a server that gets the pieces, and answers at once or in the end.
    """
    server = tests.Server()
    for piece in pieces:
        server.receive(piece)
        while is_prompt and server.waiting:
            server.answer()
    while server.waiting:
        server.answer()
    return tests.seen(server)


class Reader:
    """
    Hands one line after the other to a server, and checks what it makes of it.
    """

    def __init__(self):
        self.server = tests.Server()
        self.accepted = 0
        self.message = None

    def read(self, stream):
        """
        Return what is seen of the server in the end.
        """
        *lines, rest = stream.split(b"\r\n")
        for line in lines:
            count = len(self.server.replies)
            self.server.receive(line + b"\r\n")
            if not self.server.closed or count < len(self.server.replies):
                self._line(line, count)
        self.server.receive(rest)
        return tests.seen(self.server)

    def _line(self, line, count):
        if self.message is None:
            (reply,) = self.server.replies[count:]
            self._command(line[:4].upper(), reply)
        elif line != b".":
            assert len(self.server.replies) == count
            self.message += line.removeprefix(b".") + b"\r\n"
        else:
            self._end(count)

    def _command(self, verb, reply):
        if reply == "354":
            self.message = b""
        elif reply == "250 2.1.5":
            assert verb == b"RCPT"
            self.accepted += 1
        elif reply[:3] == "250" and verb in (b"LHLO", b"RSET"):
            self.accepted = 0

    def _end(self, count):
        is_small = len(self.message) <= model.MAX_SIZE
        assert is_small == self.server.waiting
        if is_small:
            self.server.answer()
        envelope, content = self.server.messages[-1]
        assert (self.message if is_small else None) == content
        assert self.accepted == len(envelope.recipients) == len(self.server.replies) - count > 0
        self.message, self.accepted = None, 0


def check(octets):
    """
    In any pieces, answered soon or late, the same replies, messages and end.
    """
    is_known = bool(octets and octets[0] % 2)
    is_prompt = not octets or octets[0] % 4 < 2
    sizes, stream = cutting.divided(octets[1:])
    if is_known:
        stream = told(stream)
        expected = model.Model()
        expected.receive(stream)
        expected = tests.seen(expected)
    else:
        expected = Reader().read(stream)
    assert expected == read(cutting.pieces(stream, []))
    assert expected == read(cutting.pieces(stream, sizes), is_prompt)
