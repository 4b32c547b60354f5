"""
Tests for mailer.socketmap.
"""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList, merge
from mailer.errors import ProtocolError
from mailer.socketmap import (
    MAX_KEY,
    MAX_REQUEST,
    NOTFOUND,
    OUTCOMES,
    PERM_NO_MAP,
    RequestReader,
    answer,
    answer_alone,
    netstring,
    parse_netstring,
)

TABLE = merge(
    [ServerList("odoo", AliasList({"\u00e9t\u00e9@x": ("b\u00fcro@x",)}))], {}, "lmtp:inet:h:24"
)
PAYLOADS = st.binary(max_size=12) | st.builds(b"aliases %b".__mod__, st.binary(max_size=12))
STREAMS = st.lists(
    st.one_of(
        PAYLOADS.map(netstring),
        PAYLOADS.map(netstring),
        st.text("0123456789:, ", max_size=8).map(str.encode),
    ),
    max_size=5,
).map(b"".join)


def read(*pieces):
    """
    Return the requests in a stream that comes in pieces, without their frames; whether it broke.
    """
    reader = RequestReader()
    requests = []
    for piece in pieces:
        if not reader.fault:
            requests += map(parse_netstring, reader.receive_data(piece))
    return requests, bool(reader.fault)


def cut(stream, places):
    """
    Return the stream in pieces, cut at the places.
    """
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in pairwise(edges)] or [b""]


@pytest.mark.parametrize(
    ("stream", "requests"),
    [
        (b"", []),
        (b"11:aliases a@x,", [b"aliases a@x"]),
        (b"8:aliases ,", [b"aliases "]),
        (b"0:,", [b""]),
        (b"0:,0:,", [b"", b""]),
        (b"12:aliases a b,,", [b"aliases a b,"]),
        (b"11:aliases a@x,15:transport *@x y,", [b"aliases a@x", b"transport *@x y"]),
        (b"11:aliases a@x,11:alias", [b"aliases a@x"]),
        (b"11:aliases a@x", []),
        (b"11", []),
    ],
)
def test_requests(stream, requests):
    """
    Whole requests are given in order, an unfinished one waits.
    """
    assert (requests, False) == read(stream)


@pytest.mark.parametrize(
    "stream",
    [
        b":",
        b"a",
        b",",
        b"-1:",
        b" 3:a b,",
        b"+3:a b,",
        b"03:a b,",
        b"00:,",
        b"3:a bc",
        b"3:a b;",
        b"3 :a b,",
        b"3\n:a b,",
        b"\xd9\xa3:a b,",
        b"GET / HTTP/1.1\r\n\r\n",
        b"11:aliases a@x,x",
    ],
)
def test_streams_that_are_no_netstrings(stream):
    """
    What is no netstring breaks the connection.
    """
    assert read(stream)[1]


def test_requests_before_a_fault_are_given():
    """
    The good requests before the first fault are answered.
    """
    assert ([b"aliases a@x"], True) == read(b"11:aliases a@x,nonsense")


@pytest.mark.parametrize("map_name", [b"aliases", b"transport"])
def test_the_longest_key_is_taken(map_name):
    """
    A key may have 10,000 octets, whatever the map is called.
    """
    request = map_name + b" " + b"k" * MAX_KEY
    assert ([request], False) == read(netstring(request))


def test_longer_requests_break_the_connection():
    """
    The length alone is enough to refuse, before its colon too.
    """
    assert ([], True) == read(netstring(b"x" * (MAX_REQUEST + 1)))
    assert ([], True) == read(b"%d:" % (MAX_REQUEST + 1))
    assert ([], True) == read(b"99999")
    assert ([], True) == read(b"9" * 5000)
    assert ([], False) == read(b"%d" % MAX_REQUEST)


@given(STREAMS | st.binary(), st.lists(st.integers(0, 200), max_size=6))
@example(b"10010:", [5])
@example(b"100100:", [5, 6])
@example(b"012:", [1])
def test_cutting_the_stream_changes_nothing(stream, places):
    """
    The same requests and the same fault come of any pieces.
    """
    assert read(stream) == read(*cut(stream, places))


@given(st.lists(PAYLOADS))
def test_requests_come_back(requests):
    """
    Whatever is framed is read, octet for octet.
    """
    stream = b"".join(map(netstring, requests))
    assert (requests, False) == read(*cut(stream, range(len(stream))))


@given(st.binary())
def test_a_netstring_comes_back(payload):
    """
    What netstring frames parse_netstring gives back; every part of it alone is unfinished.
    """
    whole = netstring(payload)
    assert payload == parse_netstring(whole)
    assert {None} == {parse_netstring(whole[:end]) for end in range(len(whole))}


@pytest.mark.parametrize(
    "data", [b":", b"x", b"-1:", b"3:abc;", b"3:abc,x", b"1:ab", b"1234567890", b"1234567890:"]
)
def test_answers_that_are_no_netstring(data):
    """
    A fault raises ProtocolError.
    """
    with pytest.raises(ProtocolError):
        parse_netstring(data)


@given(st.binary() | STREAMS)
def test_any_octets_are_a_netstring_or_a_protocol_error(data):
    """
    Nothing else is raised.
    """
    with suppress(ProtocolError):
        payload = parse_netstring(data)
        assert payload is None or data.endswith(b":" + payload + b",")


def test_utf8_goes_in_and_out():
    """
    Keys and values beyond ASCII are UTF-8.
    """
    said = answer(TABLE, netstring("aliases \u00c9T\u00c9+x@X".encode()), 0)
    assert (netstring("OK b\u00fcro@x".encode()), OUTCOMES.index(("aliases", "ok"))) == said


@pytest.mark.parametrize("size", [3, 254, 255, 256, 257, MAX_KEY])
def test_replies_of_any_length(size):
    """
    An address is its own target however long it is.
    """
    address = "a" * (size - 2) + "@x"
    known = merge([ServerList("odoo", AliasList({address: (address,)}))], {}, "lmtp:h")
    reply, _ = answer(known, netstring(b"aliases " + address.encode()), 0)
    assert netstring(b"OK " + address.encode()) == reply


def test_keys_that_are_not_utf8_are_not_found():
    """
    Another charset is hopeless.
    """
    said = answer(TABLE, netstring(b"aliases " + "\u00e9t\u00e9@x".encode("latin-1")), 0)
    assert (netstring(NOTFOUND), OUTCOMES.index(("aliases", "notfound"))) == said


@pytest.mark.parametrize(
    "request_", [b"", b"aliases", b"other a@x", b"ALIASES a@x", b" aliases a@x"]
)
def test_what_names_no_map(request_):
    """
    A map name alone is a lookup of the empty key; any other name is no map.
    """
    expected = (
        (netstring(NOTFOUND), OUTCOMES.index(("aliases", "notfound")))
        if request_ == b"aliases"
        else (netstring(PERM_NO_MAP), OUTCOMES.index(("other", "perm")))
    )
    assert expected == answer(TABLE, netstring(request_), 0)


@given(STREAMS | st.binary() | PAYLOADS.map(netstring))
@example(b"7:aliases")
@example(b"7:aliases,")
@example(b"8:aliases")
@example(b"011:aliases a@x,")
@example(b"11:aliases a@x,,")
@example(b"11:aliases a@xy")
@example(b"6:aliases a,")
@example(b"7:aliases ,")
@example(b"8:aliases ,")
@example(b"1" * 5000 + b":aliases a@x,")
@example(netstring(b"transport " + b"k" * MAX_KEY))
@example(netstring(b"transport " + b"k" * (MAX_KEY + 1)))
@example(b"1\xb2:transport *,")
def test_one_request_alone_is_answered(data):
    """
    No part of one, not more than one, and none that a reader would not give.
    """
    requests, _ = read(data)
    is_one = [data] == list(map(netstring, requests))
    has_key = is_one and requests[0].startswith((b"aliases ", b"transport "))
    for _ in range(2):  # what was read before is known the second time
        expected = answer(TABLE, data, 0) if has_key else None
        assert expected == answer_alone(TABLE, data, 0)


@given(st.sampled_from([b"aliases ", b"transport "]) | st.binary(), st.binary())
def test_any_request_has_an_answer(beginning, rest):
    """
    Nothing is raised; the answer is one of Postfix's kinds, and counted as what it is.
    """
    reply, outcome = answer(TABLE, netstring(beginning + rest), 0)
    said = parse_netstring(reply)
    assert said in (NOTFOUND, PERM_NO_MAP) or said.startswith(b"OK ")
    assert OUTCOMES[outcome][1] == said.partition(b" ")[0].decode().lower()
