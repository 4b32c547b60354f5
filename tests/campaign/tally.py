"""
The count of the faults.
"""

import threading
from collections import Counter


class Tally:
    """
    How often each fault was really applied, and how many recipients' deliveries it hit.
    """

    def __init__(self) -> None:
        self.applied: Counter[str] = Counter()
        self.hit: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, kind: str, recipients: int = 0) -> None:
        """
        Count one.
        """
        with self._lock:
            self.applied[kind] += 1
            self.hit[kind] += recipients
