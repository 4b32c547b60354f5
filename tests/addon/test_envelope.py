"""
Tests for logic.envelope.
"""

from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logic.envelope import MAX_RECIPIENTS, Envelope, EnvelopeError, parse_envelope
from mailer.address import encode, is_address
from mailer.lmtp import MAX_RECIPIENTS as MOST_THAT_ARE_SENT

MESSAGE = b"Subject: a message\r\n\r\n"
DIGEST = sha256(MESSAGE).hexdigest()

# PEP 3333: each character of a header is one octet.
OCTETS = st.characters(max_codepoint=255)
HEADER = st.text(OCTETS) | st.text(st.sampled_from('ab@., \t\xc3\xa9\xff\0"<>'), max_size=30)
ADDRESSES = st.builds(
    "{}@{}".format, st.text(min_size=1, max_size=8), st.sampled_from(["x", "b.example"])
).filter(is_address)


def envelope(message=MESSAGE, **headers):
    """
    Read an envelope whose headers are named without ``X-Mail-``, ``_`` for ``-``.
    """
    values = {f"X-Mail-{name.replace('_', '-')}": value for name, value in headers.items()}
    return parse_envelope(lambda name: values.get(name, ""), message)


def wsgi(text):
    """
    Return a header as odoo-mailer sends it and WSGI hands it over.
    """
    return encode(text).decode("latin-1")


def test_everything_is_read():
    """
    Sender, recipients in their order, digest and queue id come from the headers.
    """
    expected = Envelope("me@there", ("b@x", "a@x"), "0" * 64, "4XyZ")

    assert expected == envelope(
        Sender="me@there", Recipients="b@x,a@x", Digest=f"sha-256={'0' * 64}", Queue_Id="4XyZ"
    )


def test_without_headers_it_is_empty():
    """
    The null sender, no recipients, the digest of the message, no queue id.
    """
    assert Envelope("", (), DIGEST, "") == envelope()


@given(HEADER, HEADER, HEADER, HEADER, st.binary(max_size=20))
def test_any_headers_are_an_envelope_or_a_fault(sender, recipients, digest, queue_id, message):
    """
    Garbage raises EnvelopeError or nothing, and what is read can be relied upon.
    """
    with suppress(EnvelopeError):
        found = envelope(
            message, Sender=sender, Recipients=recipients, Digest=digest, Queue_Id=queue_id
        )
        assert sha256(message).hexdigest() == found.digest or digest.strip()
        assert 64 == len(found.digest)
        assert len(found.queue_id) <= 64
        assert len(found.recipients) == len(set(found.recipients)) <= MAX_RECIPIENTS
        assert all("@" in r and "," not in r and r == r.strip() for r in found.recipients)
        assert all(text.encode() for text in (*found.recipients, found.digest))


@given(
    ADDRESSES,
    st.lists(ADDRESSES, unique=True, max_size=5),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)
def test_what_odoo_mailer_sends_is_read_as_it_was(sender, recipients, digest):
    """
    Addresses of any script come through, as UTF-8 by way of WSGI's latin-1.
    """
    found = envelope(
        Sender=wsgi(sender), Recipients=wsgi(",".join(recipients)), Digest=f"sha-256={digest}"
    )

    assert Envelope(sender, tuple(recipients), digest, "") == found


def test_octets_that_are_not_utf_8_are_replaced():
    """
    An address with stray octets is read, with the mark of what could not be.
    """
    found = envelope(Sender="caf\xe9@x", Recipients="caf\xe9@x,\xc3\xa9t\xc3\xa9@x")

    assert "caf\ufffd@x" == found.sender
    assert ("caf\ufffd@x", "\u00e9t\u00e9@x") == found.recipients


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        (" \t ", ()),
        ("a@x", ("a@x",)),
        (" a@x ,\tb@x ", ("a@x", "b@x")),
        ("b@x,a@x,b@x", ("b@x", "a@x")),
        ("A@X,a@x", ("A@X", "a@x")),
        ('"a b"@x', ('"a b"@x',)),
        ('"a@b"@x', ('"a@b"@x',)),
    ],
)
def test_recipients_have_commas_between_them(value, expected):
    """
    Recipients stay as they were sent; one that is named twice counts once.
    """
    assert expected == envelope(Recipients=value).recipients


@pytest.mark.parametrize(
    "value", [",", "a@x,", ",a@x", "a@x,,b@x", "a", "@x", "a@", "@", "a@x, b", '"a,b"@x']
)
def test_what_is_no_address_is_a_fault(value):
    """
    One word that is no address refuses the whole message, and names the header.
    """
    with pytest.raises(EnvelopeError, match=r"^X-Mail-Recipients: addresses"):
        envelope(Recipients=value)


def test_a_thousand_recipients_are_the_most():
    """
    As many as odoo-mailer sends at once, and no more.
    """
    assert MOST_THAT_ARE_SENT == MAX_RECIPIENTS
    words = [f"a{number}@x" for number in range(MAX_RECIPIENTS)]

    assert tuple(words) == envelope(Recipients=",".join(words)).recipients
    with pytest.raises(EnvelopeError, match=r"^X-Mail-Recipients: more than 1000$"):
        envelope(Recipients=",".join([*words, "b@x"]))


@pytest.mark.parametrize("value", [f"sha-256={'aB' * 32}", f"SHA-256={'Ab' * 32}"])
def test_a_digest_is_folded(value):
    """
    Neither the name nor the digits have case.
    """
    assert "ab" * 32 == envelope(Digest=value).digest


@pytest.mark.parametrize(
    "value",
    [
        "0" * 64,
        f"sha-256={'0' * 63}",
        f"sha-256={'0' * 65}",
        f"sha-256={'g' * 64}",
        f"sha-256=:{'0' * 64}:",
        f"sha-512={'0' * 64}",
        f"md5={'0' * 32}",
        f"sha-256={'0' * 64}, sha-256={'1' * 64}",
        f"sha-256={wsgi(chr(0x663)) * 64}",
        "sha-256=",
        "x",
    ],
)
def test_another_digest_is_a_fault(value):
    """
    What is not SHA-256 in hexadecimal digits refuses the message, and names the header.
    """
    with pytest.raises(EnvelopeError, match=r"^X-Mail-Digest: sha-256="):
        envelope(Digest=value)


def test_a_queue_id_is_cut():
    """
    No more of it is kept than any of Postfix's has.
    """
    assert "A" * 64 == envelope(Queue_Id="A" * 100).queue_id


def test_an_envelope_error_is_a_value_error():
    """
    Who knows only of Python's errors can catch it as well.
    """
    assert issubclass(EnvelopeError, ValueError)
