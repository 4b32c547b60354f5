"""
A proxy before Odoo's stand-in that fails in every way, by plan.

Two fronts, plain and within TLS; each request is served by one thread, and
draws a fault or none from the deck of its point.
"""

import itertools
import random
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deck import Deck
from exchange import Exchange, GoneError, Stream
from list_faults import ALIASES_FAULTS, TRANSPORT_FAULTS
from pipe_faults import PIPE_FAULTS, TLS_PIPE_FAULTS, Fault
from tally import Tally
from tls_faults import ADDRESS, Handshakes

REFUSED = "connection refused"  # comes about by a closed front, not in an exchange
CLOSED = 1.5  # seconds that a front stays closed
TWO_PAGES = 0.5  # of the lists: as of an Odoo that has no word of what has changed

_POINTS = {
    "/mail_delivery/pipe": "pipe",
    "/mail_delivery/aliases": "aliases",
    "/mail_delivery/transport": "transport",
}


class Front:
    """
    A listening socket that can refuse connections for a while.
    """

    def __init__(self) -> None:
        self.port, self._listener = _bound()
        self._lock = threading.Lock()
        self._open_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it takes connections."""
        return self._open_at is None

    def refuse(self, seconds: float) -> None:
        """
        Refuse all connections from now on.
        """
        with self._lock:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # at once, though a thread waits on it
            self._listener.close()
            self._open_at = time.monotonic() + seconds

    def accepted(self, patience: float) -> socket.socket | None:
        """
        Return the next connection; None if there is none within this time, in seconds.
        """
        with self._lock:
            if self._open_at is not None and time.monotonic() > self._open_at:
                with suppress(OSError):
                    self._listener = _listening(self.port)
                    self._open_at = None
            listener = self._listener
        if not self.is_open:
            time.sleep(patience)
            return None
        try:
            listener.settimeout(patience)
            return listener.accept()[0]
        except OSError:
            return None  # closed meanwhile, or nothing came

    def close(self) -> None:
        """
        Give the port back.
        """
        self._listener.close()


def _bound() -> tuple[int, socket.socket]:
    """
    Return a port that nobody takes while it is closed: those of clients are higher.
    """
    for port in random.sample(range(10_000, 32_768), 100):
        with suppress(OSError):
            return port, _listening(port)
    raise AssertionError("no port is free")


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


class FaultyProxy:
    """
    Args:
        seed: From which the order of the faults follows.
        folder: Gets the certificates.
        deadline: Seconds after which the daemon gives up a call.

    Attributes:
        tally: What was applied.
        findings: What the daemon did and must not do.
        failing: Whether faults are drawn at all.
    """

    def __init__(self, seed: str, folder: Path, deadline: float) -> None:
        self.tally = Tally()
        self.findings: list[str] = []
        self.failing = False
        self._seed = seed
        self._odoo = 0
        self._deadline = deadline
        self._handshakes = Handshakes(folder)
        self.ca = self._handshakes.ca
        self._faults: dict[str, Mapping[str, Fault]] = {
            "pipe": {**PIPE_FAULTS, **TLS_PIPE_FAULTS},
            "aliases": ALIASES_FAULTS,
            "transport": TRANSPORT_FAULTS,
        }
        self._decks = {
            "pipe": self._deck("pipe", [*PIPE_FAULTS, REFUSED], 1.5),
            "tls": self._deck("tls", [*self._handshakes.faults, *TLS_PIPE_FAULTS], 4),
            "aliases": self._deck("aliases", [*ALIASES_FAULTS], 0.75),
            "transport": self._deck("transport", [*TRANSPORT_FAULTS], 0.25),
        }
        self._plain, self._secure = Front(), Front()
        self.urls = (
            f"http://{ADDRESS}:{self._plain.port}",
            f"https://{ADDRESS}:{self._secure.port}",
        )
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, args=(front, front is self._secure))
            for front in (self._plain, self._secure)
        ]

    @property
    def kinds(self) -> frozenset[str]:
        """Every fault that is to be applied."""
        lists = [
            f"{point}: {name}" for point in ("aliases", "transport") for name in self._faults[point]
        ]
        return frozenset(
            [*PIPE_FAULTS, *TLS_PIPE_FAULTS, *self._handshakes.faults, REFUSED, *lists]
        )

    def start(self, odoo: int) -> None:
        """
        Take connections, for Odoo's stand-in at this port.
        """
        self._odoo = odoo
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """
        Take none any more; returns when the last exchange has ended.
        """
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for front in (self._plain, self._secure):
            front.close()

    def _deck(self, name: str, kinds: list[str], blanks: float) -> Deck[str]:
        rng = random.Random(f"{self._seed}/proxy/{name}")
        return Deck(rng, kinds, round(blanks * len(kinds)))

    def _listen(self, front: Front, is_tls: bool) -> None:
        numbers = itertools.count()
        serving: list[threading.Thread] = []
        while not self._stopped.is_set():
            connection = front.accepted(0.1)
            if connection is None:
                continue
            name = "tls" if is_tls else "plain"
            rng = random.Random(f"{self._seed}/proxy/{name}/{next(numbers)}")
            thread = threading.Thread(target=self._serve, args=(connection, is_tls, rng))
            serving = [one for one in serving if one.is_alive()] + [thread]
            thread.start()
        for thread in serving:
            thread.join()

    def _serve(self, connection: socket.socket, is_tls: bool, rng: random.Random) -> None:
        card = self._decks["tls"].draw() if is_tls and self.failing else None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if card in self._handshakes.faults:
                connection.settimeout(5)
                self._handshakes.faults[card](connection, rng)
                self.tally.note(card)
                return
            with self._handshakes.make(connection) if is_tls else connection as made:
                stream = Stream(made)
                while self._exchange(stream, rng, card):
                    card = None
        except AssertionError as error:
            self.findings.append(str(error))
        except OSError:
            pass  # the daemon was killed
        finally:
            connection.close()

    def _exchange(self, stream: Stream, rng: random.Random, card: str | None) -> bool:
        """
        Serve one request; say whether there may be more.
        """
        head = stream.head()
        if not head:
            return False
        exchange = Exchange(stream, head, self._odoo, self._deadline, rng)
        point = _POINTS.get(exchange.path, "")
        if not point:
            self.findings.append(f"a request for {exchange.path}")
            return False
        if card is not None and point != "pipe":
            self._decks["tls"].put_back(card)
            card = None
        if self.failing and card is None:
            card = self._decks[point].draw()
        self._apply(exchange, point, card)
        return exchange.keep and not self._stopped.is_set() and self._plain.is_open

    def _apply(self, exchange: Exchange, point: str, card: str | None) -> None:
        try:
            if card == REFUSED:
                self._refuse(exchange)
            elif card is None:
                if point == "aliases" and exchange.rng.random() < TWO_PAGES:
                    exchange.ask_for_two_pages()
                exchange.pass_on()
            else:
                self._faults[point][card](exchange)
        except (GoneError, OSError):
            if card is not None:
                self._decks["tls" if card in TLS_PIPE_FAULTS else point].put_back(card)
            return
        if card is not None and card != REFUSED:
            kind = card if point == "pipe" else f"{point}: {card}"
            self.tally.note(kind, len(exchange.recipients))

    def _refuse(self, exchange: Exchange) -> None:
        exchange.stream.reset()
        for front in (self._plain, self._secure):
            front.refuse(CLOSED)
            with suppress(ConnectionRefusedError):
                socket.create_connection((ADDRESS, front.port)).close()
                raise AssertionError("a closed front took a connection")
        self.tally.note(REFUSED)
