"""
Tests for mailer.errors.
"""

import pytest

from mailer.errors import (
    ConfigError,
    Fault,
    ListError,
    MailerError,
    ProtocolError,
    RefusedError,
    TemporaryError,
)


def test_each_fault_is_a_line_of_the_message():
    """
    File, line, key and text are joined; what is not known is left out.
    """
    faults = [Fault(0, "", "first"), Fault(3, "servers.1.host", "second"), Fault(0, "x", "third")]
    error = ConfigError("a.yaml", faults)
    assert "a.yaml: first\na.yaml:3: servers.1.host: second\na.yaml: x: third" == str(error)
    assert ("a.yaml", tuple(faults)) == (error.source, error.faults)


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (ConfigError, MailerError),
        (ProtocolError, MailerError),
        (ListError, ProtocolError),
        (TemporaryError, MailerError),
        (RefusedError, TemporaryError),
    ],
)
def test_who_catches_an_error(kind, parent):
    """
    An error is caught with those that ask for the same.
    """
    assert issubclass(kind, parent)
