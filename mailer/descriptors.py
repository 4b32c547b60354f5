"""
How many files this process may open.
"""

import resource

MAX_DESCRIPTORS = 16_384


def raise_descriptor_limit() -> int:
    """
    Raise the limit as far as the system allows and we have use for it; return it.

    A service manager usually gives 1,024 and lets a process have more.

    Source: getrlimit(2), RLIMIT_NOFILE.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
