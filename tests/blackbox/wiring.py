"""
The ways to wire Postfix to the daemon, as ``docs/postfix.md`` gives them to administrators.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from installation import Installation
from mail_host import SENDER, Mail, compose, expect
from postfix import DOMAIN, GONE_USER, LOCAL_USER, SECOND_USER
from waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "postfix.md"
PLAIN = "Plain"  # a section of it

OTHER_DOMAIN = "other.test"  # another domain with ordinary mailboxes on the same host
OTHER = f"{LOCAL_USER}@{OTHER_DOMAIN}"
OUTBOUND = "somebody@elsewhere.test"
NOBODY, JOHN = f"nobody@{DOMAIN}", f"{SECOND_USER}@{DOMAIN}"
_GONE = f"{GONE_USER}@{OTHER_DOMAIN}"

_SECTION = re.compile(r"^## (?P<heading>.*)\n(?P<text>(?:(?!## ).*\n)*)", re.MULTILINE)
_FILE = re.compile(r"^```\n# /etc/postfix/(?P<name>\S+)\n(?P<text>[^`]*)^```$", re.MULTILINE)
_CHECK = re.compile(r"^postmap -q (\S+) regexp:/etc/postfix/(\S+) +# (\S+)$", re.MULTILINE)
_PARAMETER = re.compile(r"^(?P<name>\w+) =(?P<value>.*(?:\n[ \t]+.*)*)", re.MULTILINE)

# Besides what the page says: that other mail is seen to go on, and never leaves the machine.
_OTHER_MAIL = {"mydestination": f"{DOMAIN}, {OTHER_DOMAIN}", "default_transport": "discard:"}


@dataclass(frozen=True, slots=True)
class Wiring:
    """
    One way.

    Args:
        parameters: Of main.cf.
        services: Lines of master.cf.
        tables: Further files of the configuration folder, name to text.
    """

    parameters: Mapping[str, str]
    services: str
    tables: Mapping[str, str]


def page() -> str:
    """
    Return the page, about the domain of the tests.
    """
    text = PAGE.read_text().replace("example.com", DOMAIN)
    return text.replace("example\\.com", re.escape(DOMAIN))


def checks() -> list[tuple[str, str, str]]:
    """
    Return the checks on the page: key, name of the table, answer.
    """
    return _CHECK.findall(page())


def documented(heading: str, folder: Path) -> Wiring:
    """
    Return what a section of the page tells to write, for the domain of the tests.

    Args:
        folder: Stands in for ``/etc/postfix``.
    """
    sections = {match["heading"]: match["text"] for match in _SECTION.finditer(page())}
    text = sections[heading]
    files = {match["name"]: match["text"] for match in _FILE.finditer(text)}
    files = {name: body.replace("/etc/postfix", str(folder)) for name, body in files.items()}
    main = _PARAMETER.finditer(files.pop("main.cf"))
    parameters = {match["name"]: " ".join(match["value"].split()) for match in main}
    return Wiring(parameters, files.pop("master.cf", ""), files)


@contextmanager
def wired(site: Installation, *headings: str, **changes: str) -> Iterator[None]:
    """
    Have Postfix wired as sections of the page say, one after the other.

    Args:
        changes: To the parameters.
    """
    parameters, services = dict(_OTHER_MAIL), ""
    for heading in headings:
        wiring = documented(heading, site.postfix.config)
        parameters.update(wiring.parameters)
        services += wiring.services
        for name, text in wiring.tables.items():
            (site.postfix.config / name).write_text(text)
    with site.postfix.changed({**parameters, **changes}, services):
        yield


def rcpt(site: Installation, *recipients: str, sender: str = SENDER) -> dict[str, int]:
    """
    Return what each recipient is answered.
    """
    with site.session() as session:
        expect(250, session.mail(sender))
        return {recipient: session.rcpt(recipient)[0] for recipient in recipients}


def outcome(site: Installation, queue_id: str) -> dict[str, tuple[str, str]]:
    """
    Return the final service and status of each recipient.
    """
    return {s.recipient: (s.service, s.status) for s in site.postfix.final(queue_id)}


def submit(site: Installation, mail: Mail, *recipients: str, sender: str = SENDER) -> None:
    """
    Hand a mail to sendmail(1).
    """
    text = mail.content.replace(b"\r\n", b"\n")
    site.postfix.command("sendmail", "-i", "-f", sender, *recipients, stdin=text)


def others_go_on(site: Installation, sender: str) -> None:
    """
    Check that mail for others is taken, delivered and bounced, however it comes.
    """
    queue_id = site.send(compose(), [OTHER, OUTBOUND], sender=sender)
    assert outcome(site, queue_id) == {OTHER: ("local", "sent"), OUTBOUND: ("discard", "sent")}
    mail = compose()
    submit(site, mail, OTHER, sender=sender)
    arrives(site, mail)
    mail = compose()
    queue_id = site.send(mail, [_GONE], sender=OTHER)
    assert outcome(site, queue_id) == {_GONE: ("local", "bounced")}
    assert b"Undelivered Mail" in arrives(site, mail)


def arrives(site: Installation, mail: Mail) -> bytes:
    """
    Wait until an ordinary mailbox has a mail, or a report on it; return that.
    """
    mark = mail.message_id.encode()
    return eventually(
        lambda: [content for content in site.postfix.local_mails() if mark in content],
        "the mail in the mailbox",
    )[0]
