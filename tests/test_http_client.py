"""
Tests for mailer.http_client: how a message goes out.
"""

import io

import pytest
from twisted.internet.testing import StringTransport

from mailer.errors import EarlyAnswerError
from mailer.http_client import PIECE, BodyProducer

MESSAGE = bytes(range(256)) * 1024
LARGE = MESSAGE * 3


class Connection(StringTransport):
    """
    Is full after each piece, until it is told to go on.
    """

    aborted = False

    def write(self, data):
        super().write(data)
        self.producer.pauseProducing()

    def abortConnection(self):
        self.aborted = True


class BrokenFile(io.BytesIO):
    """
    Cannot be read.
    """

    def read(self, size=-1):
        raise OSError("no such disk")


@pytest.fixture
def begin():
    """
    Begins to send a file: returns producer, connection, and what became of it.
    """

    def make(file, connection=None):
        producer, connection = BodyProducer(file), connection or Connection()
        connection.registerProducer(producer, True)
        outcome = []
        producer.startProducing(connection).addBoth(outcome.append)
        return producer, connection, outcome

    return make


def test_the_length_is_that_of_the_whole_file():
    """
    Wherever it was read to before.
    """
    file = io.BytesIO(MESSAGE)
    file.read(100)
    assert len(MESSAGE) == BodyProducer(file).length


def test_a_piece_goes_out_at_once_and_the_next_when_there_is_room(begin):
    """
    Nobody waits for a turn of the reactor, and nobody writes into a full connection.
    """
    producer, connection, outcome = begin(io.BytesIO(LARGE))
    pieces = 1
    while not outcome:
        assert LARGE[: pieces * PIECE] == connection.value()
        producer.resumeProducing()
        pieces += 1
    assert [None] == outcome
    assert LARGE == connection.value()


def test_the_file_is_left_open(begin):
    """
    It may have to be sent again, from its beginning.
    """
    file = io.BytesIO(b"message")
    for _ in range(2):
        producer, connection, _ = begin(file)
        producer.resumeProducing()
        assert b"message" == connection.value()


def test_a_file_that_cannot_be_read_ends_the_request(begin):
    """
    The call fails with its reason.
    """
    _, _, (failure,) = begin(BrokenFile(MESSAGE))
    assert "no such disk" == str(failure.value)


def test_stopped_it_sends_no_more_and_tells_nobody(begin):
    """
    As IBodyProducer wants it.
    """
    producer, connection, outcome = begin(io.BytesIO(LARGE))
    producer.stopProducing()
    producer.resumeProducing()
    producer.abandon()
    assert ([], False) == (outcome, connection.aborted)
    assert LARGE[:PIECE] == connection.value()


def test_abandoned_it_ends_the_request_and_the_connection(begin):
    """
    The server has answered before it has read the message.
    """
    producer, connection, outcome = begin(io.BytesIO(LARGE))
    producer.abandon()
    producer.resumeProducing()
    (failure,) = outcome
    assert isinstance(failure.value, EarlyAnswerError)
    assert connection.aborted
    assert LARGE[:PIECE] == connection.value()


def test_abandoned_after_its_end_it_keeps_the_connection(begin):
    """
    The next call has it.
    """
    producer, connection, outcome = begin(io.BytesIO(b"message"))
    producer.resumeProducing()
    producer.abandon()
    assert ([None], False) == (outcome, connection.aborted)
