"""The command line's words: commands, options, their help.

Takes: arguments as typed. Gives: a namespace, or an error with the nearest known word.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

from chainrule.cli.settings import MOST
from chainrule.core.errors import ArgumentError, did_you_mean
from chainrule.data import NAMED_SETS

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

KINDS = ("classification", "regression")
DESCRIPTION = "Train neural networks, and see what goes on inside."
EXAMPLES = """examples:
  chainrule train digits                        handwritten digits, in under a minute
  chainrule train houses.csv --target price     a table (CSV, TSV, Parquet)
  chainrule train photos/                       a folder of images, one sub-folder a class
  chainrule train mnist --model mlp --epochs 15
  chainrule evaluate runs/digits-1              on the test part that training never saw
  chainrule predict runs/houses-1 new.csv --out answers.csv
  chainrule train --out runs/digits-1 --resume  go on where a training was stopped
  chainrule show runs/digits-1                  open the report
  chainrule explore optimizers                  pictures of how optimizers walk

exit status: 0 done, 2 something is wrong with what was given, 130 stopped by Ctrl-C"""
TRAIN_TEXT = """Train a network and leave a run folder: settings, metrics, checkpoints, a report.
What is not given is chosen by the kind of data, and said."""
EVALUATE_TEXT = """Measure a trained network: on the test part of its data, which training never
saw, or on other data that hold the answers too."""
PREDICT_TEXT = """Let a trained network answer for data without answers. The answers are a CSV
table: for classes the answer, its probability and that of every class; for values the value in
its own unit."""
SHOW_TEXT = "Print where the report of a run is, and open it in a browser."
EXPLORE_TEXT = """Run one of the classic experiments, and leave a page with its pictures, its
numbers, what to see in them, and the code. Without a name: list them."""
A_TABLE = "a table, a folder of images, .npy or .npz"


class Parser(argparse.ArgumentParser):
    """An argument parser that raises its errors instead of printing them and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong."""
        words = self.prog.partition(" ")[2]
        if message.startswith("argument "):
            text = f"{words} {message.removeprefix('argument ')}"
        else:
            text = f"{words}: {message.replace('the following arguments are required:', 'missing')}"
        raise ArgumentError(text, hint=f"see: {self.prog} --help")

    def options(self) -> list[str]:
        """Return the long names of all options."""
        return [name for name in self._option_string_actions if name.startswith("--")]


def positive_int(text: str) -> int:
    """Return a whole number of at least 1."""
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not at least 1")
    if value > MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST:,}")
    return value


def seed_number(text: str) -> int:
    """Return a whole number from 0 to 2⁶³ - 1."""
    value = _whole(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 2**63 - 1")
    return value


def rate(text: str) -> float:
    """Return a positive finite number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def widths(text: str) -> tuple[int, ...]:
    """Return widths of hidden layers: ``100`` or ``256,128``."""
    return tuple(positive_int(part.strip()) for part in text.split(","))


def kind_word(text: str) -> str:
    """Return a kind of task."""
    if text not in KINDS:
        starts = [kind for kind in KINDS if text and kind.startswith(text.lower()[:3])]
        guess = f"; did you mean {starts[0]!r}?" if starts else ""
        raise argparse.ArgumentTypeError(f"{text!r} is neither {KINDS[0]} nor {KINDS[1]}{guess}")
    return text


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line.

    Raises:
        ArgumentError: A word is unknown, missing or out of range.
    """
    parser, commands = _parsers()
    _check_command(arguments, parser, commands)
    parsed, extra = parser.parse_known_args(arguments)
    if extra:
        own = commands.get(parsed.command, parser)
        words = own.prog.partition(" ")[2]
        if not extra[0].startswith("-"):
            raise ArgumentError(
                f"{words}: one word too many: {extra[0]!r}".removeprefix(": "),
                hint=f"quote a name with spaces in it; see: {own.prog} --help",
            )
        raise _unknown_option(extra[0].partition("=")[0], words, own)
    return parsed


def print_help() -> None:
    """Print the help of the command without a sub-command."""
    _parsers()[0].print_help()


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _check_command(arguments: Sequence[str], parser: Parser, commands: dict[str, Parser]) -> None:
    """Look at the first word, about which argparse has little to say."""
    words = [word for word in arguments if word != "--debug"]
    if not words or words[0] in commands or words[0] in (*parser.options(), "-h"):
        return
    first = words[0]
    owners = [name for name, own in commands.items() if first.partition("=")[0] in own.options()]
    if first.startswith("-") and owners:
        raise ArgumentError(
            f"the option {first} stands before the command",
            hint=f"options follow it: chainrule {owners[0]} ... {first}",
        )
    if first.startswith("-"):
        raise _unknown_option(first.partition("=")[0], "", parser)
    known = f"commands: {', '.join(commands)}"
    if first in NAMED_SETS:
        hint = f"chainrule train {first}"
    else:
        hint = f"{did_you_mean(first, commands)} {known}".strip()
    raise ArgumentError(f"unknown command: {first!r}", hint=hint)


def _unknown_option(word: str, command: str, parser: Parser) -> ArgumentError:
    guess = did_you_mean(word, parser.options())
    hint = f"{guess} see: {parser.prog} --help".strip()
    return ArgumentError(f"{command} unknown option: {word!r}".strip(), hint=hint)


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the command ``chainrule``, and those of its sub-commands by name."""
    common = Parser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", help="show tracebacks of errors (also: CHAINRULE_DEBUG=1)"
    )
    parser = Parser(
        prog="chainrule",
        usage="chainrule COMMAND ...",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print versions and stop")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", prog="chainrule", parser_class=Parser
    )
    train = _command(commands, common, "train", "train a network on data", TRAIN_TEXT)
    _add_train(train)
    evaluate = _command(commands, common, "evaluate", "measure a trained network", EVALUATE_TEXT)
    evaluate.add_argument("run", metavar="RUN", help="run folder")
    evaluate.add_argument(
        "data", nargs="?", metavar="DATA", help="other data with answers (default: its test part)"
    )
    predict = _command(
        commands, common, "predict", "let it answer for data without answers", PREDICT_TEXT
    )
    predict.add_argument("run", metavar="RUN", help="run folder")
    predict.add_argument("data", metavar="DATA", help=A_TABLE)
    predict.add_argument("--out", metavar="FILE", help="CSV file to write (default: the screen)")
    predict.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    show = _command(commands, common, "show", "open the report of a run", SHOW_TEXT)
    show.add_argument("run", metavar="RUN", help="run folder")
    explore = _command(commands, common, "explore", "see one of the experiments", EXPLORE_TEXT)
    _add_explore(explore)
    names = {"train": train, "evaluate": evaluate, "predict": predict, "show": show}
    names["explore"] = explore
    return parser, names


def _command(commands: Commands, common: Parser, name: str, short: str, text: str) -> Parser:
    return commands.add_parser(
        name, parents=[common], allow_abbrev=False, help=short, description=text
    )


def _add_train(train: Parser) -> None:
    sets = ", ".join(NAMED_SETS)
    train.add_argument("data", nargs="?", metavar="DATA", help=f"{A_TABLE}, or a named set: {sets}")
    what = train.add_argument_group("what to learn")
    what.add_argument("--target", metavar="COLUMN", help="column to predict (default: the last)")
    what.add_argument(
        "--kind", type=kind_word, metavar="KIND", help=f"{KINDS[0]} or {KINDS[1]} (default: seen)"
    )
    net = train.add_argument_group("the network")
    net.add_argument("--model", metavar="NAME", help="mlp, cnn, simple-convnet, or file.py:Class")
    net.add_argument("--hidden", type=widths, metavar="N[,N]", help="widths of hidden layers")
    how = train.add_argument_group("the training")
    how.add_argument("--epochs", type=positive_int, metavar="N", help="passes over the data")
    how.add_argument("--batch", type=positive_int, metavar="N", help="examples a step")
    how.add_argument("--lr", type=rate, metavar="X", help="learning rate")
    how.add_argument(
        "--patience",
        type=positive_int,
        metavar="N",
        help="stop after so many epochs without progress on the validation part",
    )
    how.add_argument(
        "--seed", type=seed_number, metavar="N", help="decides all random choices (default: 0)"
    )
    how.add_argument(
        "--eager",
        action="store_true",
        default=None,
        help="run every operation by itself, in NumPy, instead of compiling the step",
    )
    how.add_argument(
        "--profile",
        action="store_true",
        help="show what the time goes into; write a timeline for ui.perfetto.dev into the run",
    )
    run = train.add_argument_group("the run folder")
    run.add_argument("--out", metavar="RUN", help="where it is (default: runs/NAME-1, -2, ...)")
    run.add_argument("--resume", action="store_true", help="go on with the training in it")


def _add_explore(explore: Parser) -> None:
    explore.add_argument("name", nargs="?", metavar="NAME", help="which one (default: list them)")
    explore.add_argument(
        "--out",
        metavar="PATH",
        help="a folder, or a file that ends in .html, .svg or .png (default: explorations)",
    )
    explore.add_argument("--png", action="store_true", help="write the pictures as PNG too")
    explore.add_argument("--overwrite", action="store_true", help="replace files that are there")
    explore.add_argument("--open", action="store_true", help="open what was written")
    explore.add_argument("--short", action="store_true", help="a coarser form in about a second")
    explore.add_argument("--seed", type=seed_number, metavar="N", help="decides all random choices")
    explore.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value for a parameter of the experiment; its page lists them",
    )
