"""
The configuration file: YAML text to a ``Config``, or every fault in it at once.
"""

import difflib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from voluptuous import Invalid, MultipleInvalid, Schema

from mailer.config_keys import FILE, INHERITED, SERVER, SINGLE_ONLY, is_loopback
from mailer.errors import ConfigError, Fault
from mailer.listen import Listen
from mailer.yaml_text import YamlError, line_of, load_with_lines

DEFAULT_CACHE = "/var/lib/odoo-mailer"
DEFAULT_SOCKET = Listen(path="/var/spool/postfix/private/odoo-lmtp")
DEFAULT_SOCKETMAP = Listen(path="/var/spool/postfix/private/odoo-map")
DEFAULT_HTTP = Listen(host="127.0.0.1", port=8000)
DEFAULT_SERVER = "odoo"  # name of the only server, where the file gives none


class Token:
    """
    A secret that does not show itself, nor lets itself be pickled.
    """

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Token(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and self.is_value(other.value.encode())

    def __hash__(self) -> int:
        return hash(self.value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not written anywhere")

    def __copy__(self) -> "Token":
        return self

    def __deepcopy__(self, memo: object) -> "Token":
        return self

    def is_value(self, given: bytes) -> bool:
        """
        Say whether this is the token, in a time that does not tell where the two differ.
        """
        return hmac.compare_digest(self.value.encode(), given)


@dataclass(frozen=True, slots=True)
class Server:
    """
    One Odoo server.

    Args:
        url: Base, without a slash at its end.
        token: The first that is sent.
        other_token: As good as the first, while the token is being changed.
        token_file: Where the tokens were read from; empty for the configuration file itself.
        database: Odoo's database; empty where the server chooses.
        ca: PEM text of the authorities to trust; empty for the system's.
        timeout: Seconds for one delivery.
        max_in_flight: Deliveries at once.
        domains: Where local-part aliases are honoured, besides what Odoo says.
    """

    name: str
    url: str
    token: Token
    database: str = ""
    ca: str = ""
    timeout: float = 120
    max_in_flight: int = 4
    domains: frozenset[str] = frozenset()
    other_token: Token | None = None
    token_file: str = ""

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Every token that is good, the first to be sent first."""
        return (self.token,) if self.other_token is None else (self.token, self.other_token)


@dataclass(frozen=True, slots=True)
class Config:
    """
    The whole configuration; the defaults are here and nowhere else.

    Args:
        servers: At least one, in order of precedence.
        aliases: Map file for virtual_alias_maps, ``type:`` of postmap(1) before it or not.
        transport: Map file for transport_maps, likewise.
        refresh: Seconds between polls.
        nexthop: What transport answers; empty derives it from ``socket``.
        max_message_size: Octets.
        hostname: In greetings; empty for the machine's own.
        max_shrink: 0 to 1.
        transport_grace: Seconds.
    """

    servers: tuple[Server, ...]
    aliases: str = "/etc/postfix/virtual_alias_odoo"
    transport: str = "/etc/postfix/transport_odoo"
    socket: Listen = DEFAULT_SOCKET
    socketmap: Listen = DEFAULT_SOCKETMAP
    http: Listen = DEFAULT_HTTP
    policy: Listen | None = None
    cache: str = DEFAULT_CACHE
    refresh: float = 60
    nexthop: str = ""
    recipient_delimiter: str = "+"
    max_message_size: int = 52_428_800
    hostname: str = ""
    log: str = "text"
    max_shrink: float = 0.5
    transport_grace: float = 432_000

    @property
    def domains(self) -> dict[str, frozenset[str]]:
        """By server, where its local-part aliases are honoured."""
        return {server.name: server.domains for server in self.servers}


def parse(
    text: str,
    source: str,
    read: Callable[[str], str],
    environ: Mapping[str, str] | None = None,
) -> Config:
    """
    Read the text of a configuration file.

    Args:
        source: Name of the file, for messages.
        read: Returns the text of a file named in it (token, authorities); raises OSError.
        environ: ``STATE_DIRECTORY`` and ``CREDENTIALS_DIRECTORY`` of systemd.exec(5) count.

    Raises:
        ConfigError: Every fault, with line and key.
    """
    try:
        document = load_with_lines(text)
    except YamlError as error:
        raise ConfigError(source, [Fault(error.line, "", error.problem)]) from None
    if not isinstance(document, dict):
        raise ConfigError(source, [Fault(0, "", "expected a mapping of keys to values")])
    reader = _Reader(read, environ or {})
    config = reader.config(document)
    if config is None:
        raise ConfigError(source, _faults(document, reader.invalid))
    return config


def _faults(document: Any, invalid: list[Invalid]) -> list[Fault]:
    found = {
        Fault(line_of(document, list(error.path)), ".".join(map(str, error.path)), error.msg): None
        for error in invalid
    }
    return sorted(found, key=lambda fault: fault.line)


class _Reader:
    """
    Collects what is wrong on the way from a document to a ``Config``.
    """

    def __init__(self, read: Callable[[str], str], environ: Mapping[str, str]) -> None:
        self._read = read
        self._environ = environ
        self.invalid: list[Invalid] = []

    def config(self, document: dict[str, Any]) -> Config | None:
        values = self._validated(FILE, document, [])
        several = "servers" in document
        if several:
            for key in sorted(SINGLE_ONLY & document.keys()):
                self._fault([key], "belongs into the items of servers, as there are servers")
        servers = self._servers(document) if several else [self._server(document, [], {})]
        self._check_distinct([server for server in servers if server is not None], several)
        shared = {field.name for field in fields(Config)} - {"servers"}
        own = {key: value for key, value in values.items() if key in shared}
        own.setdefault("cache", self._environ.get("STATE_DIRECTORY", DEFAULT_CACHE).split(":")[0])
        config = Config(tuple(s for s in servers if s is not None), **own)
        if not config.nexthop and not config.socket.postfix(""):
            self._fault(["socket"], "no nexthop can be derived from this endpoint, set nexthop")
        return None if self.invalid else config

    def _validated(self, schema: Schema, values: Any, path: list[str | int]) -> dict[str, Any]:
        try:
            return dict(schema(values))
        except MultipleInvalid as error:
            for one in error.errors:
                self._fault([*path, *one.path], _said(one, schema))
        return {}

    def _fault(self, path: list[Any], text: str) -> None:
        self.invalid.append(Invalid(text, path))

    def _servers(self, document: dict[str, Any]) -> list[Server | None]:
        items = document["servers"]
        if not isinstance(items, list) or not items:
            self._fault(["servers"], "expected a list with at least one server")
            return []
        top = {key: document[key] for key in INHERITED if key in document}
        servers: list[Server | None] = []
        for number, item in enumerate(items):
            path: list[str | int] = ["servers", number]
            if not isinstance(item, dict):
                self._fault(path, "expected a mapping with name, host and token")
                continue
            if not item.get("name"):
                self._fault([*path, "name"], "missing: every server of the list needs a name")
                item = {**item, "name": f"servers.{number}"}
            self._validated(SERVER, item, path)
            servers.append(self._server(item, path, top))
        return servers

    def _server(
        self, item: dict[str, Any], path: list[str | int], top: dict[str, Any]
    ) -> Server | None:
        """
        Build a server of keys already validated; those at fault are passed over here.

        Args:
            top: What holds for every server that does not say otherwise.
        """
        faults = len(self.invalid)
        values = _lenient(SERVER, {**top, **item})
        url = values.get("host")
        if "host" not in item:
            self._fault([*path, "host"], "missing: the address of the Odoo server")
        elif url and url.startswith("http:") and not (is_loopback(url) or values.get("insecure")):
            self._fault(
                [*path, "host"],
                "the token would cross the network in clear; use https, or set insecure: true",
            )
        tokens, token_file = self._tokens(item, path)
        place = [*path, "ca"] if "ca" in item else ["ca"]
        ca = self._file(values["ca"], place) if values.get("ca") else ""
        if ca and "-----BEGIN CERTIFICATE-----" not in ca:
            self._fault(place, "no PEM certificate in this file")
        if not url or not tokens or ca is None or len(self.invalid) > faults:
            return None
        named = {"database", "timeout", "max_in_flight", "domains"}
        own = {key: value for key, value in values.items() if key in named}
        name, other = values.get("name", DEFAULT_SERVER), tokens[1] if len(tokens) > 1 else None
        return Server(name, url, tokens[0], ca=ca, other_token=other, token_file=token_file, **own)

    def _tokens(self, item: dict[str, Any], path: list[str | int]) -> tuple[list[Token], str]:
        """
        Return one token or two, none where something is wrong, and the file they stand in.
        """
        credentials = self._environ.get("CREDENTIALS_DIRECTORY")
        if "token" in item and "token_file" in item:
            self._fault([*path, "token_file"], "give either token or token_file")
            return [], ""
        key, file = "token", ""
        if "token" in item:
            text = item["token"]
        elif "token_file" in item:
            key, file = "token_file", item["token_file"]
            text = self._file(file, [*path, key])
        elif credentials and not path:
            file = f"{credentials}/token"
            text = self._file(file, [key])
        else:
            self._fault([*path, key], "missing: token, token_file, or the systemd credential token")
            return [], ""
        return self._checked(text, [*path, key], 2 if file else 1), file

    def _checked(self, text: Any, path: list[Any], most: int) -> list[Token]:
        if text is None:
            return []
        words = text.split() if isinstance(text, str) else []
        if not words or not re.fullmatch(r"[!-~]+", "".join(words)) or len(words) > most:
            expected = "expected a token of printable ASCII without spaces"
            self._fault(path, expected + (", or two of them" if most > 1 else ""))
            return []
        return [Token(word) for word in dict.fromkeys(words)]

    def _file(self, name: Any, path: list[Any]) -> str | None:
        if not isinstance(name, str) or not name.startswith("/"):
            return None  # the schema has said so
        try:
            return self._read(name)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            self._fault(path, f"{name} cannot be read: {reason}")
            return None

    def _check_distinct(self, servers: list[Server], several: bool) -> None:
        names: set[str] = set()
        tokens: dict[str, str] = {}
        for server in servers if several else ():
            if server.name in names:
                self._fault(["servers"], f"two servers are named {server.name}")
            names.add(server.name)
            for token in server.tokens:
                other = tokens.setdefault(token.value, server.name)
                if other != server.name:
                    self._fault(
                        ["servers"],
                        f"{other} and {server.name} have the same token; the webhook tells "
                        "servers apart by their tokens, give each its own",
                    )


def _lenient(schema: Schema, item: dict[str, Any]) -> dict[str, Any]:
    """
    Return the good values of an item whose faults are already known.
    """
    values: dict[str, Any] = {}
    for marker, validator in schema.schema.items():
        key = str(marker)
        if key in item:
            try:
                values[key] = Schema(validator)(item[key])
            except Invalid:
                continue
    return values


def _said(error: Invalid, schema: Schema) -> str:
    if "extra keys" not in error.msg:
        return str(error.msg)
    key = str(error.path[-1])
    if schema is SERVER and key in FILE.schema:
        return "belongs to the top of the file, not to one server"
    near = difflib.get_close_matches(key, [str(name) for name in schema.schema], 1)
    return f"unknown key, did you mean {near[0]}?" if near else "unknown key"
