"""
A short campaign: every fault and every kill at least once.
"""

import pytest
from postfix import missing

from campaign import Plan, run

pytestmark = pytest.mark.postfix


def test_nothing_lost_nothing_twice() -> None:
    """
    Whatever fails, each message that was accepted arrives once, whole, or is refused by Odoo.
    """
    reason = missing()
    if reason:
        pytest.skip(reason)
    result = run(Plan(seed="gate", messages=300))
    assert result.is_good, result.text
    assert (0, 0) == (result.counts["lost"], result.counts["twice"])
    assert result.counts["messages"] >= 300
