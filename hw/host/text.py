"""Text from files, tools and command lines, made fit to be shown: no control characters reach a terminal."""

import re

MAX_LINE = 2000
"""Most characters of a line for the user, unless a caller wants fewer."""
_BREAK = re.compile(r"\s*[\n\r\v\f\x1c-\x1f\x85\u2028\u2029]\s*")


def printable(text: object) -> str:
    """``text`` with everything that is not printed as an escape, as ``\\x1b``: control and format characters (among
    them those of Unicode's bidirectional algorithm), and what is no valid Unicode. Newlines and tabs remain."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in shown)


def one_line(text: object, most: int = MAX_LINE) -> str:
    """``text`` as one printable line of at most ``most`` characters: line breaks become spaces, and the middle of a
    longer line is left out."""
    line = printable(_BREAK.sub(" ", str(text).strip()).replace("\t", " "))
    if len(line) <= most:
        return line
    half = (most - 5) // 2
    return f"{line[:half]} ... {line[len(line) - half :]}"
