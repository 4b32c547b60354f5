"""
Tests for mailer.heap.
"""

import ctypes
import sys

from mailer.heap import trim


def test_the_c_library_is_asked(monkeypatch):
    """
    To keep nothing at the end of its heap either.
    """
    asked = []

    class Library:
        malloc_trim = asked.append

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    trim()
    assert [0] == asked


def test_with_this_library_nothing_breaks():
    """
    Whatever it is.
    """
    trim()


def test_nothing_is_done_where_it_cannot_be(monkeypatch):
    """
    Another C library, or a Python without ctypes.
    """
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    trim()
    monkeypatch.setitem(sys.modules, "ctypes", None)
    trim()
