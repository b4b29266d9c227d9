"""`--help` of every command and every group of commands, as the parser itself lists them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from discogp.cli import _parser, main
from discogp.cli.output import CommandParser, add_command
from discogp.speed import BENCHMARKS


def walk(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list]]:
    """Every command with its arguments, groups before what is in them."""
    yield path, parser._actions
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from walk(command, (*path, name))


COMMANDS = dict(walk(_parser()))


def text_of(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*path, "--help"])
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_names_every_argument_and_says_what_the_command_is_for(path, capsys):
    text = text_of(path, capsys)
    for action in COMMANDS[path]:
        for name in action.option_strings or [action.metavar or action.dest]:
            assert str(name) in text
        if isinstance(action, argparse._SubParsersAction):
            described = {choice.dest for choice in action._choices_actions if choice.help}
            assert described == set(action.choices), "each command of a group has a line of help"


def test_every_benchmark_has_a_command():
    assert {path[1] for path in COMMANDS if path[:1] == ("bench",) and len(path) > 1} == set(BENCHMARKS)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2 % of the edges", "2 % of the edges"),
        ("100%", "100%"),
        ("5 %(all)", "5 %(all)"),
        ("up to 50%, default: %(default)s", "up to 50%, default: 7"),
    ],
)
def test_a_percent_sign_in_a_help_text_is_one(written, read):
    parser = CommandParser(prog="p", description=written.replace("%(default)s", "seven"))
    group = parser.add_subparsers()
    command = add_command(group, "measure", lambda options: None, written.replace("%(default)s", "seven"))
    command.add_argument("--share", default=7, help=written)
    assert read in " ".join(command.format_help().split())
    assert written.split(",")[0] in " ".join(parser.format_help().split())
