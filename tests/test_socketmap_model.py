"""
Tests for mailer.socketmap and its server against a model of plain dictionaries.

The model takes what Odoo declares as plain data and writes every address of it down; a lookup is
one look into a dictionary for the key, and one for the key without its extension.

Source: socketmap_table(5); cr.yp.to/proto/netstrings.txt; postconf(5) recipient_delimiter.
"""

import json
import runpy
from itertools import product, takewhile
from pathlib import Path
from types import SimpleNamespace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from twisted.internet.testing import StringTransportWithDisconnection

from mailer.alias_list import parse_aliases, parse_transport
from mailer.alias_table import ServerList
from mailer.socketmap import netstring
from mailer.socketmap_server import SocketmapFactory

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fakes.py"))))

SERVERS = ("first", "second")
OWN_DOMAINS = {"first": frozenset({"own.test"}), "second": frozenset()}
GRACE = 1000  # seconds
MAX_PAYLOAD = 10_010  # octets: a key of 10,000, a space, the longest name of a map

NONE = ([], None)
NOTFOUND, TEMP = "NOTFOUND ", "TEMP the alias list is not loaded yet"
PERM = "PERM no such map, there are: aliases, transport"


class Model:
    """
    What a lookup is answered, by dictionaries.
    """

    def __init__(self):
        self.now = fakes.NOW
        self._known = dict.fromkeys(SERVERS)  # address to targets and next hop, by server
        self._removed = {server: {} for server in SERVERS}

    def publish(self, server, page, transport):
        """
        Put the list of a server in force.
        """
        old, new = self._known[server] or {}, written_down(page, transport, OWN_DOMAINS[server])
        self._known[server] = new
        recent = {a: one for a, one in self._removed[server].items() if self.now - one[0] < GRACE}
        gone = {**recent, **{a: (self.now, hop) for a, (_, hop) in old.items() if hop}}
        self._removed[server] = {a: one for a, one in gone.items() if not new.get(a, NONE)[1]}

    def answer(self, map_name, key):
        """
        Return the answer to a lookup.
        """
        if map_name not in (b"aliases", b"transport"):
            return PERM
        try:
            text = key.decode()
        except UnicodeDecodeError:
            return NOTFOUND
        if text.count("@") != 1:
            return NOTFOUND
        value = (self._alias if map_name == b"aliases" else self._hop)(text)
        missing = None in self._known.values()
        return f"OK {value}" if value is not None else TEMP if missing else NOTFOUND

    def _find(self, key):
        for address in candidates(key):
            for server in SERVERS:
                if address in (self._known[server] or {}):
                    return address, *self._known[server][address]
        return None, [], None

    def _alias(self, key):
        address, targets, _ = self._find(key)
        return key if targets == [address] else ",".join(targets) or None

    def _hop(self, key):
        hop = self._find(key)[2]
        return hop or next(filter(None, map(self._hop_removed, candidates(key))), None)

    def _hop_removed(self, address):
        found = [removed[address] for removed in self._removed.values() if address in removed]
        return next((hop for at, hop in found if self.now - at < GRACE), None)


def written_down(page, transport, own_domains):
    """
    Return every address that a server declares: its targets, and the next hop or None.
    """
    hops = {address: hop or fakes.NEXTHOP for address, hop in transport.items()}
    found = {address: ([address], hop) for address, hop in hops.items()}
    aliases = {}
    for name, targets in page["aliases"].items():
        known = aliases.setdefault(name.casefold(), [])
        known += [target.casefold() for target in targets] or [name.casefold()]
    for address, targets in aliases.items():
        found[address] = (unique(targets), hops.get(address) or hop_of(targets, hops))
    for part, targets in page["local_parts"].items():
        others = [target for target in targets if target != part]
        hop = hop_of(others, hops) if others else fakes.NEXTHOP  # it itself is Odoo's
        for domain in {*map(str.casefold, page["domains"]), *own_domains}:
            address = f"{part}@{domain}"
            whole = [address if target == part else target for target in targets or [part]]
            found.setdefault(address, (unique(whole), hop))
    return found


def hop_of(targets, hops):
    """
    Return the next hop of an alias, None if not all of its targets have one.
    """
    return hops[targets[0]] if all(target in hops for target in targets) else None


def unique(names):
    """
    Return the names in order, each once.
    """
    return list(dict.fromkeys(names))


def with_own(part, targets):
    """
    Return the targets of a local part, itself among them where ``OWN`` stands.
    """
    return [part if target == OWN else target for target in targets]


def candidates(key):
    """
    Return the addresses as which a key is looked up.
    """
    whole = key.casefold()
    local, _, domain = whole.partition("@")
    bare = local.partition("+")[0]
    takes_extensions = local not in ("postmaster", "mailer-daemon", "double-bounce")
    return [whole] + ([f"{bare}@{domain}"] if bare not in ("", local) and takes_extensions else [])


ADDRESSES = [
    "info@x.test",
    "sales@x.test",
    "sales+vip@x.test",
    "jobs@x.test",
    "büro@x.test",
    "Straße@Y.test",
    "postmaster@y.test",
    "jobs@own.test",
]
OWN = "the local part itself"
FOLDED = [address.casefold() for address in ADDRESSES]
TARGETS = st.lists(st.sampled_from([*ADDRESSES, "out@z.test"]), max_size=3)
PAGES = st.fixed_dictionaries(
    {
        "aliases": st.dictionaries(
            st.sampled_from([*ADDRESSES, "INFO@X.TEST"]), TARGETS, max_size=5
        ),
        "local_parts": st.dictionaries(
            st.sampled_from(["jobs", "büro", "sales"]),
            st.lists(st.sampled_from([OWN, "info@x.test", "out@z.test"]), max_size=2),
            max_size=2,
        ).map(lambda parts: {part: with_own(part, targets) for part, targets in parts.items()}),
        "domains": st.lists(st.sampled_from(["x.test", "Y.Test"]), unique=True),
    }
)
TRANSPORTS = st.dictionaries(st.sampled_from(FOLDED), st.sampled_from(["", "smtp:[h]:25"]))
LISTS = st.tuples(PAGES, TRANSPORTS)
EVERYTHING = [
    address.replace("@", f"{extension}@").encode()
    for address in (*FOLDED, "sales@own.test", "büro@y.test")
    for extension in ("", "+ext")
]
KEYS = st.builds(
    lambda address, change: change(address).encode(),
    st.sampled_from([*ADDRESSES, "nobody@x.test", "out@z.test"]),
    st.sampled_from(
        [
            str,
            str.upper,
            str.title,
            lambda address: address.replace("@", "+Ext@"),
            lambda address: address.replace("@", "+vip+more@"),
            lambda address: address.replace("@", "-ext@"),
            lambda address: f"+{address}",
        ]
    ),
)
HOPELESS = st.sampled_from(
    [
        *(
            b"",
            b"*",
            b"@",
            b"x.test",
            b"info",
            b"@x.test",
            b"info@",
            b"a@b@x.test",
            b"info@x.test ",
        ),
        *(b"b\xfcro@x.test", b"\xff", b"info@x.test\0", b'"a@b"@x.test', b"x" * 9_993 + b"@x.test"),
    ]
)
MAPS = st.sampled_from([b"aliases", b"transport"] * 4 + [b"", b"Aliases", b"virtual", b"\xff"])
MALFORMED = st.sampled_from(
    [
        *(b"x", b":", b",", b"-1:", b" 3:", b"03:abc,", b"00:,", b"3:abcd", b"3:abc;", b"1\n:a,"),
        *(b"%d:" % (MAX_PAYLOAD + 1), b"99999", b"GET / HTTP/1.1\r\n\r\n", b"\0\0", "٣:".encode()),
    ]
)


class Lookups(RuleBasedStateMachine):
    """
    Lists come and go while a client asks; the server reads in the pieces it pleases.
    """

    def __init__(self):
        super().__init__()
        self.model = Model()
        self.clock = fakes.Reactor()
        lists = [ServerList(server, None) for server in SERVERS]
        self.directory = fakes.make_directory(*lists, grace=GRACE, domains=OWN_DOMAINS)
        metrics, self.value = fakes.make_metrics()
        self.factory = SocketmapFactory(self.directory, metrics, self.clock)
        self.broken = 0
        self.connect()

    def connect(self):
        """
        Begin a connection.
        """
        self.connection = fakes.Connection(self.factory, StringTransportWithDisconnection())
        self.unread, self.asked = b"", []  # what is yet to be read, and ends of what it says
        self.received, self.expected = b"", b""

    @initialize(lists=st.tuples(LISTS, LISTS) | st.lists(LISTS, max_size=2))
    def begin(self, lists):
        """
        Some servers have a list at once, the others have none.
        """
        for server, (page, transport) in zip(SERVERS, lists, strict=False):
            self.publish(server, page, transport)

    @rule(server=st.sampled_from(SERVERS), page=PAGES, transport=TRANSPORTS)
    def publish(self, server, page, transport):
        """
        A new list is in force.
        """
        self.model.publish(server, page, transport)
        hops = "".join(f"{address} {hop}\n" for address, hop in transport.items())
        declared = parse_aliases(json.dumps(page).encode())
        declared = declared.with_transport(parse_transport(hops.encode()))
        now, domains = self.clock.seconds(), OWN_DOMAINS[server]
        successor = fakes.successor_of(self.directory[server], declared, domains, now, GRACE)
        self.directory.publish(successor, self.directory.merged_with(successor))
        self.ask_everything()

    @rule(seconds=st.sampled_from([1, GRACE // 2, GRACE]))
    def wait(self, seconds):
        """
        Time passes; the connection stays busy, so that it is not closed as idle.
        """
        self.model.now += seconds
        self.clock.rightNow += seconds
        self.ask_everything()

    def ask_everything(self):
        """
        Whatever there may be is answered as the model answers it, at once.
        """
        for map_name, key in product([b"aliases", b"transport"], EVERYTHING):
            said = self.factory.answer([netstring(map_name + b" " + key)], self.clock.seconds())
            expected = netstring(self.model.answer(map_name, key).encode())
            assert expected == said, key

    @rule(map_name=st.sampled_from([b"aliases", b"transport"]), keys=st.lists(KEYS, min_size=1))
    def ask(self, map_name, keys):
        """
        Lookups in one write, as Postfix sends them.
        """
        for key in keys:
            self.say_payload(map_name + b" " + key, (map_name, key))

    @rule(map_name=MAPS, key=KEYS | HOPELESS)
    def ask_in_vain(self, map_name, key):
        """
        A lookup that may be hopeless.
        """
        self.say_payload(map_name + b" " + key, (map_name, key))

    @rule(map_name=MAPS)
    def ask_without_a_key(self, map_name):
        """
        There is not even a space.
        """
        self.say_payload(map_name, (map_name, b""))

    @rule(octets=MALFORMED, really=st.integers(0, 3))
    def spoil(self, octets, really):
        """
        What is no lookup; not always, for nothing is answered behind it.
        """
        if really == 3:
            self.say(octets, None)

    def say_payload(self, payload, question):
        """
        Send a netstring.
        """
        self.say(b"%d:%b," % (len(payload), payload), question)

    def say(self, octets, question):
        """
        Send octets, at whose end a question is complete; None is none.
        """
        self.unread += octets
        last = self.asked[-1][0] if self.asked else 0
        self.asked.append((last + len(octets), question))

    @rule(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8))
    def read(self, sizes):
        """
        The server gets pieces, and answers what is complete with what is in force then.
        """
        for size in sizes:
            self.feed(size)

    @rule()
    def read_all(self):
        """
        The server gets all at once.
        """
        self.feed(len(self.unread))

    def feed(self, size):
        """
        Hand over so many octets, to the server and to the model.
        """
        piece, self.unread = self.unread[:size], self.unread[size:]
        ends = [(end - len(piece), question) for end, question in self.asked]
        self.asked = [(end, question) for end, question in ends if end > 0]
        whole = [question for end, question in ends if end <= 0]
        good = list(takewhile(lambda question: question is not None, whole))
        for question in good:
            said = self.model.answer(*question).encode()
            self.expected += b"%d:%b," % (len(said), said)
        self.received += self.connection.send(piece)
        if self.connection.transport.connected:
            assert good == whole, "what is no lookup has to end the connection"
            return
        # It may show before all of it is there.
        assert ends[len(good)][1] is None, "a lookup has ended the connection"
        self.broken += 1
        self.check()
        self.connect()

    @invariant()
    def check(self):
        """
        All that was to be answered has been, in order.
        """
        assert self.expected == self.received
        assert self.broken == self.value("protocol_errors_total", protocol="socketmap")

    def teardown(self):
        """
        In the end everything is read.
        """
        self.read_all()
        self.check()


TestLookups = Lookups.TestCase
