"""
Streams in pieces: a connection may give its octets in any.
"""

from itertools import cycle, islice

MAX_PIECES = 40  # for more of them show little more, and take long


def divided(octets):
    """
    Return the sizes of pieces and the stream that a fuzzer's octets stand for.

    The first octet says how many sizes follow, 0 to 7.
    """
    count = octets[0] % 8 if octets else 0
    return [1 + octet for octet in octets[1 : 1 + count]], octets[1 + count :]


def pieces(stream, sizes):
    """
    Yield the stream in pieces of these sizes, over and over; the last one is all that is left.
    """
    place = 0
    for size in islice(cycle(sizes), MAX_PIECES):
        yield stream[place : place + size]
        place += size
    yield stream[place:]
