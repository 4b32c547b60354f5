"""
Draws by plan: everything occurs in each pass, in an order that follows from the seed.
"""

import random
import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Deck(Generic[T]):
    """
    Gives every card once in each pass, and blanks between them; may be used by several threads.

    Args:
        rng: For the order.
        cards: What is drawn.
        blanks: How many draws of a pass give None.
    """

    def __init__(self, rng: random.Random, cards: Sequence[T], blanks: int = 0) -> None:
        self._rng = rng
        self._cards: list[T | None] = [*cards, *[None] * blanks]
        self._pile: list[T | None] = []
        self._lock = threading.Lock()

    def draw(self) -> T | None:
        """
        Return the next card; None for a blank.
        """
        with self._lock:
            if not self._pile:
                self._pile = self._rng.sample(self._cards, len(self._cards))
            return self._pile.pop()

    def put_back(self, card: T) -> None:
        """
        Let a card that had no effect come again soon, though not at once.
        """
        with self._lock:
            self._pile.insert(max(0, len(self._pile) - 2), card)
