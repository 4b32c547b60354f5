"""
``python tests/fuzz TARGET``: coverage-guided fuzzing of one harness, by atheris and libFuzzer.

What it finds new goes to ``.fuzz/TARGET``, an input that fails to ``.fuzz/TARGET-crash-…`` or the
like. ``--merge`` takes as few of the new into the corpus as do what all of them do. Further
arguments are libFuzzer's.
"""

import argparse
import inspect
import runpy
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
TARGETS = sorted(path.name for path in (HERE / "corpus").iterdir())
FOUND = Path(".fuzz")
LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]  # seconds, MiB


def arguments(options, max_length):
    """
    Return what libFuzzer is told; of the two folders the first one gets what is new.
    """
    corpus, found = HERE / "corpus" / options.target, FOUND / options.target
    words = HERE / "dictionaries" / options.target
    found.mkdir(parents=True, exist_ok=True)
    folders = [corpus, found] if options.merge else [found, corpus]
    return [
        *LIMITS,
        f"-max_len={max_length}",
        f"-max_total_time={options.seconds}",
        f"-artifact_prefix={found}-",
        f"-dict={words}",
        *(["-set_cover_merge=1"] if options.merge else []),
        *map(str, folders),
    ]


def main():
    """
    Read the arguments, and hand over to libFuzzer, which does not come back.
    """
    parser = argparse.ArgumentParser("tests/fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--merge", action="store_true")
    options, more = parser.parse_known_args()
    file = str(HERE / f"{options.target}.py")
    with atheris.instrument_imports(include=["mailer", "ruamel"]):
        harness = runpy.run_path(file)
    for function in filter(inspect.isfunction, harness.values()):
        if function.__code__.co_filename == file:
            # What regular expressions do is seen in what the models do.
            atheris.instrument_func(function)
    # libFuzzer calls itself by its first argument, once more for each crash while it merges.
    itself = f"{sys.executable} {HERE} {options.target}"
    atheris.Setup([itself, *arguments(options, harness["MAX_LENGTH"]), *more], harness["check"])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.remove(str(HERE))  # its modules are found by their path alone
    main()
