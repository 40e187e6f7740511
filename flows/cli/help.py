"""The text of ``--help``: options by topic, whose names and words are never broken, in terminals of any width."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

WIDEST = 100
"""Maximum width of a help text in characters."""

TERM = 30
"""Width of the column of option names where there is room for one."""

STACKED = 72
"""Below this width, an explanation stands below the name of its option."""

SHORT = 24
"""Maximum length of a list of choices that is shown beside the option's name."""

KINDS = {"float": "NUMBER", "int": "N", "str": "TEXT", "path": "PATH"}


@dataclass(frozen=True)
class Entry:
    """An argument, option or command: its ``term`` with the placeholder of its value, explanation and topic."""

    term: str
    text: str
    topic: str


def entries(command: Any, context: Any) -> Iterator[Entry]:
    """The arguments and options of a command, then the commands of a group, in the order of their declaration."""
    for parameter in command.get_params(context):
        if not getattr(parameter, "hidden", False):
            yield _entry(parameter, context)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        listed = command.get_command(context, name)
        yield Entry(name, _paragraphs(listed.help)[0], getattr(listed, "rich_help_panel", None) or "Commands")


def usage(command: Any, context: Any) -> str:
    """How a command is called, in one line."""
    arguments = (each for each in command.get_params(context) if each.param_type_name == "argument")
    kinds = ((each.required, _kind(each, context)[0]) for each in arguments)
    pieces = [context.command_path, "[OPTIONS]", *(kind if needed else f"[{kind}]" for needed, kind in kinds)]
    return " ".join([*pieces, "COMMAND ..."] if hasattr(command, "list_commands") else pieces)


def description(command: Any) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The paragraphs of a command's help, and its examples: the words before the colon, and the commands."""
    texts, examples = [], []
    for paragraph in _paragraphs(command.help):
        words, colon, rest = paragraph.partition(": bitfabric ")
        if colon:
            examples.append((words, [f"bitfabric {command}" for command in rest.split(" and bitfabric ")]))
        else:
            texts.append(paragraph)
    return texts, examples


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n") if paragraph.strip()]


def _kind(parameter: Any, context: Any) -> tuple[str, str]:
    """The placeholder of a parameter's value, and its choices in words where they are too long for one."""
    if getattr(parameter, "is_flag", False):
        return "", ""
    kind = str(parameter.display_type(context)).strip("<>[]")
    names = kind.split("|")
    if len(names) == 1:
        return parameter.metavar or KINDS.get(kind.split()[0], parameter.name.upper()), ""
    if len(kind) <= SHORT:
        return kind, ""
    return parameter.metavar or parameter.name.upper(), f"one of {', '.join(names)}"


def _entry(parameter: Any, context: Any) -> Entry:
    kind, choices = _kind(parameter, context)
    if parameter.param_type_name == "argument":
        return Entry(kind, parameter.help or "", "Arguments")
    names = ", ".join(sorted(parameter.opts, key=len))
    text = "; ".join(part for part in (parameter.help or "", choices) if part)
    notes = []
    default = parameter.get_default(context)
    if default not in (None, False, (), []) and parameter.name != "help" and "default" not in text:
        notes.append(f"default: {default}")
    if parameter.required:
        notes.append("required")
    term = " ".join(part for part in (names, kind) if part)
    return Entry(term, f"{text} ({', '.join(notes)})" if notes else text, parameter.rich_help_panel or "Options")


def _wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    space = " " * indent
    return textwrap.wrap(
        text, max(width, indent + 20), initial_indent=space, subsequent_indent=space,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _command_lines(command: str, width: int) -> list[str]:
    """A command on lines that a shell joins again; options stay with their values."""
    words: list[str] = []
    for word in command.split():
        if words and words[-1].startswith("-") and not word.startswith("-"):
            words[-1] += f" {word}"
        else:
            words.append(word)
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 7 > width:
            lines[-1] += " \\"
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}"
    return [f"  {line}" for line in lines]


def _definitions(rows: Sequence[Entry], width: int) -> Iterator[str]:
    longest = max(len(row.term) for row in rows)
    column = 0 if width < STACKED else min(longest, TERM) + 4
    for row in rows:
        if column and len(row.term) + 4 <= column:
            first, *rest = _wrapped(row.text, width, column) or [""]
            yield f"  {row.term:<{column - 2}}{first.lstrip()}"
            yield from rest
        else:
            yield f"  {row.term}"
            yield from _wrapped(row.text, width, column or 6)


def text(command: Any, context: Any, width: int) -> str:
    """The help of a command in ``width`` characters. A name or a word that is longer than that is kept whole."""
    called = _wrapped(usage(command, context), width - 7)
    lines = [f"Usage: {called[0]}", *(f"         {line}" for line in called[1:]), ""]
    texts, examples = description(command)
    for paragraph in texts:
        lines += [*_wrapped(paragraph, width), ""]
    for words, commands in examples:
        lines += [f"{words}:", *(line for example in commands for line in _command_lines(example, width)), ""]
    listed = sorted(entries(command, context), key=lambda entry: entry.topic != "Arguments")
    for topic in dict.fromkeys(entry.topic for entry in listed):
        lines += [typer.style(line, bold=True) for line in _wrapped(f"{topic}:", width)]
        lines += [*_definitions([entry for entry in listed if entry.topic == topic], width), ""]
    return "\n".join(lines).rstrip()


def _write(command: Any, context: Any, formatter: Any) -> None:
    formatter.write(text(command, context, min(shutil.get_terminal_size().columns, WIDEST)) + "\n")


class Command(TyperCommand):
    """A command whose help is laid out here."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)


class Group(TyperGroup):
    """The program, whose help is laid out here."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)
