"""
The three points of the API, in memory.
"""

import hashlib
import json
from contextlib import closing
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from treq.testing import StubTreq
from twisted.logger import LogLevel, globalLogPublisher
from twisted.web.http_headers import Headers

from mailer.alias_list import parse_aliases
from mailer.config import Token
from mailer.sandbox_aliases import parse_file
from mailer.sandbox_api import digest_of, header_addresses, make_api
from mailer.sandbox_changes import History
from mailer.sandbox_mail import MailStore

ALIASES = """
aliases:
  info@example.com:
  sales@example.com:
  team@example.com: [info@example.com, desk@example.net]
local_parts: {jobs: }
domains: [example.com]
verdicts:
  refused@example.com: {code: 550, status: 5.7.1, text: Only partners}
  later@example.com: {code: 451, status: 4.2.1, text: Later}
"""
MESSAGE = b"From: a@example.org\r\nSubject: a\r\n\r\nb\x00\xe4\r\n"
OK, UNKNOWN, REFUSED, LATER = (250, "2.0.0"), (550, "5.1.1"), (550, "5.7.1"), (451, "4.2.1")
POINTS = [("GET", "aliases"), ("GET", "transport"), ("POST", "pipe")]


class Api:
    """
    The resource, the list that it serves, and its mail.
    """

    def __init__(self, folder):
        self._folder = folder
        self.mail = MailStore(folder)
        self.lists = History(parse_file(ALIASES))
        self._treq = StubTreq(
            make_api(Token("secret"), lambda: self.lists, self.mail, frozenset({"example.org"}))
        )

    def request(self, method, point, body=b"", **headers):
        """
        Return code, header and body of an answer; a header field that is None is not sent.
        """
        fields = {"X-Mail-Token": "secret"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = Headers({name: [value] for name, value in fields.items() if value is not None})
        url = f"http://odoo.test/mail_delivery/{point}"
        response = now(self._treq.request(method, url, headers=sent, data=body or None))
        return response.code, response.headers, now(self._treq.content(response))

    def verdicts(self, recipients=None, body=MESSAGE, **headers):
        """
        Deliver a message and return the JSON verdicts.
        """
        fields = {"Content-Type": "message/rfc822", "X-Mail-Recipients": recipients, **headers}
        code, _, answer = self.request("POST", "pipe", body, **fields)
        assert code == 200
        return json.loads(answer)["recipients"]

    def pipe(self, *args, **kwargs):
        """
        Deliver a message and return code and status for each address.
        """
        verdicts = self.verdicts(*args, **kwargs)
        return {address: (v["code"], v["status"]) for address, v in verdicts.items()}

    def copies(self):
        """
        Return what is in the Maildir.
        """
        return sorted(path.read_bytes() for path in (self._folder / "new").iterdir())


def now(deferred):
    """
    Return what a deferred already has.
    """
    results = []
    deferred.addCallback(results.append)
    (result,) = results
    return result


@pytest.fixture
def api(tmp_path):
    """
    The API over a new Maildir.
    """
    api = Api(tmp_path / "mail")
    with closing(api.mail):
        yield api


@pytest.fixture
def events():
    """
    What was logged.
    """
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


@pytest.mark.parametrize("token", [None, "", "wrong", "secret1", b"s\xe4cret", "sécret".encode()])
@pytest.mark.parametrize(("method", "point"), POINTS)
def test_wrong_token(api, method, point, token):
    """
    Whatever is not the token gets 401, marked, and nothing is stored.
    """
    code, headers, body = api.request(
        method, point, MESSAGE, X_Mail_Token=token, Content_Type="message/rfc822"
    )

    assert code == 401
    assert headers.getRawHeaders("X-Mail-Delivery") == ["1"]
    assert json.loads(body) == {"error": "wrong or missing X-Mail-Token"}
    assert api.copies() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "FOO"])
@pytest.mark.parametrize("point", ["aliases", "transport", "pipe"])
def test_wrong_method(api, method, point):
    """
    Another method gets 405, marked, with those that there are.
    """
    code, headers, _ = api.request(method, point)

    assert code == 405
    assert headers.getRawHeaders("X-Mail-Delivery") == ["1"]
    assert headers.getRawHeaders("Allow") == ["POST" if point == "pipe" else "GET, HEAD"]


@pytest.mark.parametrize(("method", "point"), [("POST", "aliases"), ("GET", "pipe")])
def test_methods_are_not_shared(api, method, point):
    """
    The lists are got and messages are posted, not the other way round.
    """
    assert api.request(method, point)[0] == 405


@pytest.mark.parametrize("point", ["", "aliases/x", "other", "pipe/", "../", "../other"])
def test_other_path(api, point):
    """
    A path that Odoo does not have is 404 without the mark.
    """
    code, headers, _ = api.request("GET", point)

    assert code == 404
    assert not headers.hasHeader("X-Mail-Delivery")


@pytest.mark.parametrize("accept", [None, "text/plain", "*/*"])
def test_aliases_as_text(api, accept):
    """
    The list is text unless JSON is asked for.
    """
    code, headers, body = api.request("GET", "aliases", Accept=accept)

    assert code == 200
    assert headers.getRawHeaders("Content-Type") == ["text/plain; charset=utf-8"]
    assert headers.getRawHeaders("X-Mail-Delivery") == ["1"]
    assert "jobs@example.com" in parse_aliases(body).aliases


def test_aliases_as_json(api):
    """
    Where the request accepts JSON, the local parts come apart.
    """
    code, headers, body = api.request("GET", "aliases", Accept="text/plain, Application/JSON;q=1")

    assert code == 200
    assert headers.getRawHeaders("Content-Type") == ["application/json"]
    assert headers.getRawHeaders("Vary") == ["Accept, A-IM"]
    assert parse_aliases(body).local_parts == {"jobs": ("jobs",)}


def test_transport(api):
    """
    The transport page has the targets.
    """
    code, headers, body = api.request("GET", "transport")

    assert code == 200
    assert headers.getRawHeaders("Content-Type") == ["text/plain; charset=utf-8"]
    assert b"desk@example.net" in body.split()


@pytest.mark.parametrize(
    ("point", "accept"), [("aliases", "text/plain"), ("aliases", "application/json")]
)
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"a",{},"b"'])
def test_known_etag(api, point, accept, form):
    """
    Whoever names the ETag of the page gets 304 without it.
    """
    _, headers, _ = api.request("GET", point, Accept=accept)
    (etag,) = headers.getRawHeaders("ETag")
    code, headers, body = api.request("GET", point, Accept=accept, If_None_Match=form.format(etag))

    assert (code, body) == (304, b"")
    assert headers.getRawHeaders("ETag") == [etag]
    assert headers.getRawHeaders("X-Mail-Delivery") == ["1"]


@pytest.mark.parametrize("point", ["aliases", "transport"])
@pytest.mark.parametrize("value", ['"other"', "", "other", ",,"])
def test_other_etag(api, point, value):
    """
    Whoever names another ETag gets the page.
    """
    code, _, body = api.request("GET", point, If_None_Match=value)

    assert code == 200
    assert body


def test_transport_has_an_etag(api):
    """
    The transport page is not sent twice either.
    """
    _, headers, _ = api.request("GET", "transport")
    (etag,) = headers.getRawHeaders("ETag")

    assert api.request("GET", "transport", If_None_Match=etag)[0] == 304


def test_changed_list_has_another_etag(api):
    """
    After an edit the ETag held before is of no use.
    """
    _, headers, _ = api.request("GET", "aliases")
    api.lists.put(parse_file("aliases: {new@example.com: }"))
    code, _, body = api.request("GET", "aliases", If_None_Match=headers.getRawHeaders("ETag")[0])

    assert (code, body) == (200, b"new@example.com new@example.com\n")


def test_message_is_stored(api):
    """
    A known address gets 250, and the message is kept as it was posted.
    """
    assert api.pipe("info@example.com") == {"info@example.com": OK}
    assert api.copies() == [b"X-Original-To: info@example.com\r\n" + MESSAGE]


def test_text_names_the_ledger(api):
    """
    The number in the text is the one in the ledger, on every try.
    """
    first = api.verdicts("info@example.com", X_Mail_Digest="sha-256=a")
    again = api.verdicts("info@example.com", X_Mail_Digest="sha-256=a")
    number = api.mail.find("sha-256=a", "info@example.com")

    assert first["info@example.com"]["text"] == f"Stored as {number}"
    assert again["info@example.com"]["text"] == f"Stored before as {number}"


def test_again_is_not_stored_twice(api):
    """
    The same digest gets the same verdicts and is stored once, whatever the octets are.
    """
    recipients = "info@example.com,nobody@example.com,refused@example.com"
    first = api.pipe(recipients, X_Mail_Digest="sha-256=a")
    again = api.pipe(recipients, MESSAGE + b"more", X_Mail_Digest="sha-256=a")

    assert first == again
    assert len(api.copies()) == 1


def test_further_recipient_is_stored(api):
    """
    A recipient who has no copy of a digest yet gets one.
    """
    api.pipe("info@example.com", X_Mail_Digest="sha-256=a")
    api.pipe("info@example.com, sales@example.com", X_Mail_Digest="sha-256=a")

    assert len(api.copies()) == 2


def test_digest_is_computed(api):
    """
    Without a digest, the octets tell messages apart.
    """
    for body in (MESSAGE, MESSAGE, MESSAGE + b"more"):
        api.pipe("info@example.com", body)

    assert len(api.copies()) == 2
    digest = f"sha-256={hashlib.sha256(MESSAGE).hexdigest()}"
    assert api.mail.find(digest, "info@example.com") is not None


def test_each_recipient_has_a_verdict(api):
    """
    Known, local part, target, unknown and configured addresses each get their own.
    """
    assert api.pipe(
        "info@example.com,jobs@example.com,jobs@example.org,desk@example.net,jobs@example.net,"
        "nobody@example.com,refused@example.com,later@example.com"
    ) == {
        "info@example.com": OK,
        "jobs@example.com": OK,
        "jobs@example.org": OK,
        "desk@example.net": OK,
        "jobs@example.net": UNKNOWN,
        "nobody@example.com": UNKNOWN,
        "refused@example.com": REFUSED,
        "later@example.com": LATER,
    }
    assert len(api.copies()) == 4


def test_verdict_is_given_word_by_word(api):
    """
    The text of a configured verdict is answered.
    """
    verdict = {"code": 550, "status": "5.7.1", "text": "Only partners"}

    assert api.verdicts("refused@example.com") == {"refused@example.com": verdict}


def test_address_is_answered_as_asked(api):
    """
    Case does not matter, and the answer has the case of the request.
    """
    recipients = " Info@Example.com , ,INFO@example.com,"

    assert api.pipe(recipients) == {"Info@Example.com": OK, "INFO@example.com": OK}
    assert len(api.copies()) == 1


@pytest.mark.parametrize("address", ["nobody", "@", "a b", "\xff@example.com", "jobs@", '"a@b"'])
def test_any_word_gets_a_verdict(api, address):
    """
    What is no address is unknown, under the name that it was asked by.
    """
    verdicts = api.pipe(address.encode("utf-8", "surrogateescape"))

    assert verdicts == {address: UNKNOWN}


def test_octets_that_are_no_text(api):
    """
    Octets that are not UTF-8 come back as surrogates.
    """
    assert api.pipe(b"\xff@example.com") == {"\udcff@example.com": UNKNOWN}


def test_stored_mail_stays_delivered(api):
    """
    An address that left the list after its mail was stored still gets 250 for it.
    """
    api.pipe("info@example.com")
    api.lists.put(parse_file("aliases: {}"))

    assert api.pipe("info@example.com") == {"info@example.com": OK}
    assert api.pipe("info@example.com", b"another") == {"info@example.com": UNKNOWN}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"To: A <Info@example.com>", {"info@example.com": OK}),
        (b"Cc: x@y.z, sales@example.com", {"sales@example.com": OK}),
        (
            b"Delivered-To: info@example.com\r\nTo: refused@example.com",
            {"info@example.com": OK, "refused@example.com": REFUSED},
        ),
        (
            b"To: refused@example.com, later@example.com, info@example.com",
            {
                "refused@example.com": REFUSED,
                "later@example.com": LATER,
                "info@example.com": OK,
            },
        ),
        (b"To: nobody@example.com", {"": UNKNOWN}),
        (b"Subject: none", {"": UNKNOWN}),
        (b"Bcc: info@example.com", {"": UNKNOWN}),
    ],
)
@pytest.mark.parametrize("recipients", [None, "", " , "])
def test_without_recipients(api, header, expected, recipients):
    """
    The known addresses of the header count; without any there is one verdict on the message.
    """
    assert api.pipe(recipients, header + b"\r\n\r\nbody\r\n") == expected


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", ""])
def test_wrong_content_type(api, kind):
    """
    What does not say that it is a message is not taken for one.
    """
    code, headers, _ = api.request("POST", "pipe", MESSAGE, Content_Type=kind)

    assert code == 415
    assert headers.getRawHeaders("X-Mail-Delivery") == ["1"]


def test_content_type_with_parameters(api):
    """
    Case and parameters of the type do not matter; an unknown field does not either.
    """
    assert api.pipe(
        "info@example.com", Content_Type="Message/RFC822; charset=utf-8", X_Odoo_Database="prod"
    ) == {"info@example.com": OK}


def test_empty_message(api):
    """
    An empty body is a message like any other.
    """
    assert api.pipe("info@example.com", b"") == {"info@example.com": OK}
    assert api.copies() == [b"X-Original-To: info@example.com\n"]


def test_large_message(api):
    """
    A message that Twisted spools to a file arrives as it is.
    """
    body = MESSAGE + bytes(range(256)) * 20_000
    api.pipe("info@example.com,sales@example.com", body)

    assert [copy.split(b"\r\n", 1)[1] for copy in api.copies()] == [body, body]


def test_post_is_logged(api, events):
    """
    One line tells who, to whom, how much and with what outcome.
    """
    api.pipe("info@example.com,x@y.z", X_Mail_Sender="a@b.c", X_Mail_Queue_Id="4F1")
    (event,) = (event for event in events if "replies" in event)

    assert event["sender"] == "a@b.c"
    assert event["queue_id"] == "4F1"
    assert event["octets"] == len(MESSAGE)
    assert event["replies"] == {
        "info@example.com": "250 2.0.0 Stored as 1",
        "x@y.z": "550 5.1.1 No such address in Odoo",
    }


def test_store_that_fails_is_temporary(api, events):
    """
    A message that could not be stored is asked for again, and the cause is logged.
    """
    api.mail.close()

    assert api.pipe("info@example.com,refused@example.com") == {
        "info@example.com": (451, "4.3.0"),
        "refused@example.com": REFUSED,
    }
    assert any(event["log_level"] == LogLevel.critical for event in events)


def test_bug_is_500(api, events):
    """
    Whatever goes wrong is answered, marked, and logged.
    """
    api.lists = None
    code, headers, body = api.request("GET", "aliases")

    assert (code, json.loads(body)) == (500, {"error": "internal error"})
    assert headers.getRawHeaders("X-Mail-Delivery") == ["1"]
    assert any(event["log_level"] == LogLevel.critical for event in events)


def test_digest_reads_all():
    """
    The digest is that of the whole file, wherever it stood.
    """
    message = BytesIO(b"a" * 200_000)
    message.read(5)

    assert digest_of(message) == f"sha-256={hashlib.sha256(b'a' * 200_000).hexdigest()}"


def test_header_addresses():
    """
    All fields that Odoo routes on count, folded lines and comments included, each address once.
    """
    message = (
        b"To: a@b.c,\n D <D@b.c> (x)\nTo: e@b.c\nCC: a@B.c\nDelivered-To: f@b.c\n\nTo: no@b.c\n"
    )

    assert header_addresses(BytesIO(message)) == ["f@b.c", "a@b.c", "d@b.c", "e@b.c"]


@given(st.binary() | st.binary().map(lambda octets: b"To: " + octets))
def test_any_message_has_a_header(message):
    """
    Garbage has some addresses or none.
    """
    assert all(isinstance(address, str) for address in header_addresses(BytesIO(message)))


def ask(api, **headers):
    """
    Ask for the JSON page as a daemon that takes patches; return code, header, document.
    """
    code, fields, body = api.request(
        "GET",
        "aliases",
        Accept="application/json, text/plain;q=0.9",
        **{"A_IM": "merge-patch", **headers},
    )
    return code, fields, body and json.loads(body)


def test_patch_for_who_has_an_earlier_list(api):
    """
    Who has an earlier list gets what has changed since, and from which to which.
    """
    _, fields, _ = ask(api)
    (etag,) = fields.getRawHeaders("ETag")
    api.lists.put(parse_file(ALIASES.replace("sales@example.com:", "new@example.com:")))
    code, fields, patch = ask(api, If_None_Match=f'"x", {etag}')
    _, whole, document = ask(api)

    assert code == 226
    assert fields.getRawHeaders("IM") == ["merge-patch"]
    assert fields.getRawHeaders("Delta-Base") == [etag]
    assert fields.getRawHeaders("ETag") == whole.getRawHeaders("ETag")
    assert fields.getRawHeaders("Content-Type") == ["application/merge-patch+json"]
    assert patch == {
        "aliases": {"sales@example.com": None, "new@example.com": ["new@example.com"]},
        "version": document["version"],
        "count": document["count"],
    }


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"A_IM": None}, 200),
        ({"A_IM": "vcdiff"}, 200),
        ({"A_IM": "merge-patch;q=0"}, 200),
        ({"A_IM": "vcdiff, merge-patch;q=0.5"}, 226),
        ({"Accept": "text/plain"}, 200),
        ({"If_None_Match": '"unknown"'}, 200),
        ({"If_None_Match": None}, 200),
    ],
)
def test_whole_page_for_all_others(api, headers, code):
    """
    Who takes no patch, or has a list that is not known, gets the whole page.
    """
    (etag,) = ask(api)[1].getRawHeaders("ETag")
    api.lists.put(parse_file("aliases: {new@example.com: }"))
    sent = {
        "Accept": "application/json",
        "A_IM": "merge-patch",
        "If_None_Match": etag,
        **headers,
    }

    assert api.request("GET", "aliases", **sent)[0] == code


def test_same_list_is_304_for_who_takes_patches(api):
    """
    Nothing has changed: no patch, and no page.
    """
    (etag,) = ask(api)[1].getRawHeaders("ETag")

    assert ask(api, If_None_Match=etag)[0] == 304
    api.lists.put(parse_file("aliases: {new@example.com: }"))
    api.lists.put(parse_file(ALIASES))
    assert ask(api, If_None_Match=etag)[0] == 304
