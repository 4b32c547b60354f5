"""
Tests for mailer.descriptors.
"""

import resource
import subprocess
import sys

import pytest

from mailer.descriptors import MAX_DESCRIPTORS

CHILD = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from mailer.descriptors import raise_descriptor_limit
said = raise_descriptor_limit()
print(said, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(256, 512, 512), (512, 512, 512), (300, MAX_DESCRIPTORS + 1, MAX_DESCRIPTORS)],
)
def test_the_limit_is_raised_as_far_as_allowed(soft, hard, expected):
    """
    A process with few may have more; it says how many it has.
    """
    if hard > resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
        pytest.skip("the system allows fewer")
    code = CHILD.format(soft=soft, hard=hard)
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert f"{expected} {expected} {hard}\n".encode() == child.stdout


def test_a_limit_that_is_high_stays():
    """
    Who was given more keeps it.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard <= MAX_DESCRIPTORS:
        pytest.skip("the system allows fewer")
    code = CHILD.format(soft=hard, hard=hard)
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert f"{hard} {hard} {hard}\n".encode() == child.stdout
