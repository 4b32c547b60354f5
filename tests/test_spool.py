"""
Tests for mailer.spool.
"""

import hashlib
import io
import os
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.message import MAX_HEADER
from mailer.spool import MAX_MEMORY, MessageReader, Spool

LARGE = bytes(range(256)) * 4096 + b"end"
OFFSETS = st.integers(0, 60)


@contextmanager
def filled(*chunks, folder=None):
    """
    A spool of these octets, closed in the end.
    """
    spool = Spool(folder)
    try:
        for chunk in chunks:
            spool.write(chunk)
        yield spool
    finally:
        spool.close()


def pieces(reader, sizes):
    """
    Read in pieces of these sizes, again and again, to the end.
    """
    found = []
    while True:
        for size in sizes:
            piece = reader.read(size)
            assert len(piece) <= size
            if not piece:
                return b"".join(found)
            found.append(piece)


@pytest.fixture
def spool():
    """
    An empty spool.
    """
    spool = Spool()
    yield spool
    spool.close()


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_size_and_digest(chunks):
    """
    Size and digest are those of all octets, however they came in.
    """
    message = b"".join(chunks)
    digest = hashlib.sha256(message).hexdigest()
    with filled(*chunks) as spool:
        assert (len(message), digest) == (spool.size, spool.digest)
        assert message == spool.read(0, 1000)


def test_digest_before_the_end(spool):
    """
    Asking for the digest in between does not change it.
    """
    spool.write(b"a")
    first = spool.digest
    spool.write(b"b")
    assert [hashlib.sha256(b"a").hexdigest(), hashlib.sha256(b"ab").hexdigest()] == [
        first,
        spool.digest,
    ]


def test_small_message_needs_no_file(tmp_path):
    """
    A small message stays in memory, even where no temporary file can be made.
    """
    message = b"x" * MAX_MEMORY
    with filled(message, folder=str(tmp_path / "missing")) as spool:
        assert message == spool.read(0, len(message) + 1)


def test_large_message_needs_a_file(tmp_path):
    """
    A message beyond the limit goes to a file; OSError where there can be none.
    """
    folder = str(tmp_path / "missing")
    with filled(b"x" * MAX_MEMORY, folder=folder) as spool, pytest.raises(FileNotFoundError):
        spool.write(b"x")


def test_temporary_file_is_unlinked(tmp_path):
    """
    The file of a large message has no name, so that nothing is left of a crash.
    """
    with filled(LARGE, folder=str(tmp_path)) as spool:
        assert [] == list(tmp_path.iterdir())
        assert LARGE == spool.read(0, len(LARGE))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc/self/fd here")
def test_close_gives_the_file_back(tmp_path):
    """
    A closed spool keeps no descriptor.
    """
    before = len(os.listdir("/proc/self/fd"))
    with filled(LARGE, folder=str(tmp_path)):
        assert before + 1 == len(os.listdir("/proc/self/fd"))
    assert before == len(os.listdir("/proc/self/fd"))


def test_beginning(spool):
    """
    The beginning is as long as any header that is looked at, and writing goes on at the end.
    """
    spool.write(b"h" * MAX_HEADER + b"body")
    assert b"h" * MAX_HEADER == spool.beginning()
    spool.write(b" goes on")
    assert b"body goes on" == spool.read(MAX_HEADER, 100)


def test_beginning_of_a_short_message(spool):
    """
    The beginning of a short message is all of it.
    """
    spool.write(b"a: b\r\n\r\n")
    assert b"a: b\r\n\r\n" == spool.beginning()


@given(st.binary(max_size=20), st.binary(max_size=60), st.data())
def test_reader_in_pieces(beginning, message, data):
    """
    However it is read, a reader gives the new beginning and then the rest.
    """
    offset = data.draw(st.integers(0, len(message)))
    sizes = data.draw(st.lists(st.integers(1, 25), min_size=1, max_size=4))
    with filled(message) as spool:
        reader = MessageReader(beginning, spool, offset)
        assert beginning + message[offset:] == pieces(reader, sizes)


@given(st.binary(max_size=20), st.binary(max_size=60), st.data())
def test_reader_to_the_end(beginning, message, data):
    """
    A negative size reads all that is left.
    """
    offset = data.draw(st.integers(0, len(message)))
    skipped = data.draw(OFFSETS)
    whole = beginning + message[offset:]
    with filled(message) as spool:
        reader = MessageReader(beginning, spool, offset)
        reader.seek(skipped)
        assert whole[skipped:] == reader.read()


@given(st.binary(max_size=20), st.binary(max_size=60), st.data())
def test_reader_like_a_file(beginning, message, data):
    """
    Seeking, telling and reading give what a file of the same octets gives.
    """
    offset = data.draw(st.integers(0, len(message)))
    file = io.BytesIO(beginning + message[offset:])
    with filled(message) as spool:
        reader = MessageReader(beginning, spool, offset)
        for _ in range(data.draw(st.integers(1, 5))):
            whence = data.draw(st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END]))
            place = data.draw(OFFSETS) if whence != os.SEEK_END else 0
            assert file.seek(place, whence) == reader.seek(place, whence)
            size = data.draw(OFFSETS)
            found, expected = reader.read(size), file.read(size)
            # A raw read may be short, but is empty at the end only.
            assert expected[: len(found) or size] == found
            assert file.seek(len(found) - len(expected), os.SEEK_CUR) == reader.tell()


@given(st.binary(max_size=20), st.binary(max_size=60), st.lists(st.integers(0, 2), max_size=40))
def test_readers_do_not_disturb_each_other(beginning, message, turns):
    """
    Several readers of one spool, in any order, and a writer's own reads between.
    """
    middle, found = len(message) // 2, [b"", b""]
    with filled(message) as spool:
        readers = [MessageReader(beginning, spool, offset) for offset in (0, middle)]
        for turn in turns:
            if turn == 2:
                spool.read(3, 5)
            else:
                found[turn] += readers[turn].read(4)
        for index, reader in enumerate(readers):
            found[index] += pieces(reader, [7])
    assert [beginning + message, beginning + message[middle:]] == found


def test_reader_of_a_large_message(tmp_path):
    """
    A message in a file is read like one in memory.
    """
    with filled(b"old header\r\n", LARGE, folder=str(tmp_path)) as spool:
        reader = MessageReader(b"new header\r\n", spool, len(b"old header\r\n"))
        assert b"new header\r\n" + LARGE == pieces(reader, [65_536])


def test_closed_reader_leaves_the_spool(spool):
    """
    A reader that is closed, as it is when sent, does not close the message.
    """
    spool.write(b"message")
    MessageReader(b"", spool, 0).close()
    assert b"message" == MessageReader(b"", spool, 0).read(100)


def test_reader_says_what_it_can(spool):
    """
    A reader can be read and sought, and not written.
    """
    reader = MessageReader(b"", spool, 0)
    assert (True, True, False) == (reader.readable(), reader.seekable(), reader.writable())
