"""The command `chainrule`: dispatch, and errors as a user should see them.

Takes: arguments. Gives: an exit status: 0 done, 2 something is wrong with the input, 130 stopped
by Ctrl-C, 141 the reader of our output has gone.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from chainrule.cli import evaluate, explore, predict, show, train
from chainrule.cli.parser import parse, print_help
from chainrule.cli.screen import say
from chainrule.cli.versions import versions
from chainrule.core import config
from chainrule.core.errors import ChainruleError

COMMANDS = {
    "train": train.run,
    "evaluate": evaluate.run,
    "predict": predict.run,
    "show": show.run,
    "explore": explore.run,
}
FAILED, INTERRUPTED, NO_READER = 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The words after ``chainrule``; by default the process's own.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = config.debug() or "--debug" in words
    try:
        return _run(words)
    except SystemExit as done:  # argparse, having printed a help text
        return int(done.code or 0)
    except KeyboardInterrupt:
        _complain("stopped")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return NO_READER
    except (ChainruleError, MemoryError, OSError) as error:
        if debug:
            raise
        _complain(_text(error))
        if isinstance(error, OSError):
            _drop_output()
        return FAILED


def _run(words: Sequence[str]) -> int:
    parsed = parse(words)
    if parsed.version:
        say("\n".join(f"{name} {version}" for name, version in versions().items()))
        return 0
    if parsed.command is None:
        print_help()
        return 0
    return COMMANDS[parsed.command](parsed)


def _text(error: Exception) -> str:
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"out of memory{detail}\n  hint: a smaller --batch, a smaller model, or fewer data"
    if isinstance(error, OSError):
        # Whatever was opened by us says more; what is left is the screen or the system.
        return f"{error.filename or 'output'}: {error.strerror or error}"
    return str(error)


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        say(f"chainrule: {text}", to=sys.stderr)


def _drop_output() -> None:
    """Throw away what could not be written, lest it be tried again when Python ends."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
