"""Make a moving picture of a command in a terminal: the one of a run in the README.

The command is really run, in a terminal of its own, and each state in which the screen stood still
becomes a frame of an animated SVG. That needs no script and no font, is light or dark as the page,
and where motion is not wanted, or not possible, it shows the last frame.
"""

import argparse
import codecs
import math
import os
import pty
import re
import shlex
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias
from xml.sax.saxutils import escape

COLUMNS = 80
_STANDS = 0.03
"""Seconds; what is replaced sooner is a drawing that was not finished."""
_LONGEST, _PROMPT, _LAST = 0.25, 1.0, 7.0
"""Seconds that a frame is shown: at most, that of a command just typed, and the last."""
_CELL, _LINE, _EDGE = 8.4, 19, 16
"""Sizes of a character and a line, and of the margin, in pixels."""
_BLOCKS = " ▏▎▍▌▋▊▉█"
Frame: TypeAlias = tuple[float, list[str]]
"""Seconds that it is shown, and the lines of the screen."""

_STYLE = """
text{font:14px ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1f2328}
.paper{fill:#f6f8fa;stroke:#d1d9e0}.bar{fill:#1a7f64}.prompt{fill:#1a7f64}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}
.paper{fill:#0d1117;stroke:#3d444d}.bar{fill:#3fb999}.prompt{fill:#3fb999}}
"""


class Screen:
    """A terminal as far as bars, messages and tables need one; it grows and does not scroll."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = self._column = 0

    def write(self, text: str) -> None:
        """Take what a program writes; a control sequence that is not known is a ValueError."""
        for piece in re.findall(r"\x1b\[\d*[AJK]|[^\x1b]", text, re.DOTALL):
            if piece == "\r":
                self._column = 0
            elif piece == "\n":
                self._row += 1
                self.lines += [""] * (self._row + 1 - len(self.lines))
            elif piece[0] == "\x1b":
                self._control(int(piece[2:-1] or 1), piece[-1])
            else:
                self._put(piece)
        if re.search(r"\x1b(?!\[\d*[AJK])", text):
            raise ValueError(f"a control sequence that is not known here: {text!r}")

    def _put(self, character: str) -> None:
        if self._column == COLUMNS:
            self.write("\r\n")
        line = self.lines[self._row].ljust(self._column)
        self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
        self._column += 1

    def _control(self, number: int, kind: str) -> None:
        if kind == "A":
            self._row -= number
            return
        self.lines[self._row] = self.lines[self._row][: self._column]
        if kind == "J":
            del self.lines[self._row + 1 :]


def perform(command: Sequence[str], interrupt: float | None = None) -> Iterator[tuple[float, str]]:
    """Run a command in a terminal; give what is written there, each text with its time.

    With `interrupt`, Ctrl-C is pressed so many seconds after its first output. It is a
    CalledProcessError when it fails, or is not interrupted where it should be.
    """
    process, terminal = pty.fork()
    if process == 0:
        termios.tcsetwinsize(0, (50, COLUMNS))
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        program = sys.executable if command[0] == "python" else command[0]
        os.execvpe(program, [program, *command[1:]], {**kept, "TERM": "xterm"})
    decoder = codecs.getincrementaldecoder("utf-8")()
    ctrl_c = threading.Timer(interrupt or threading.TIMEOUT_MAX, os.write, (terminal, b"\x03"))
    with suppress(OSError):  # How Linux says that nobody has the other end any more.
        while data := os.read(terminal, 65536):
            yield time.monotonic(), decoder.decode(data)
            if ctrl_c.ident is None:
                ctrl_c.start()
    ctrl_c.cancel()
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status != (0 if interrupt is None else 130):
        raise subprocess.CalledProcessError(status, command)


def frames(command: Sequence[str], runs: Iterable[Iterable[tuple[float, str]]]) -> list[Frame]:
    """Play what runs of a command wrote, one below the other."""
    screen = Screen()
    found: list[Frame] = []
    for written in runs:
        screen.write(f"$ {shlex.join(command)}\r\n")
        found.append((_PROMPT, list(screen.lines)))
        for (at, text), (following, _) in pairwise([*written, (math.inf, "")]):
            screen.write(text)
            if following - at > _STANDS and screen.lines != found[-1][1]:
                found.append((min(_LONGEST, following - at), list(screen.lines)))
    return [*found[:-1], (_LAST, found[-1][1])]


def svg(shown: Sequence[Frame], title: str) -> str:
    """Draw frames as an animated SVG: a strip of them, moved on behind a window."""
    width = COLUMNS * _CELL
    height = _LINE * max(len("\n".join(lines).rstrip().splitlines()) for _, lines in shown)
    above = 2 * _EDGE
    outer = width + 2 * _EDGE, height + above + _EDGE
    whole = sum(seconds for seconds, _ in shown)
    moments, passed = [], 0.0
    for k, (seconds, _) in enumerate(shown):
        moments.append(f"{100 * passed / whole:.2f}%{{transform:translateY({-k * height}px)}}")
        passed += seconds
    still = f"transform:translateY({-(len(shown) - 1) * height}px)"
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'width="{outer[0]:g}" height="{outer[1]}" viewBox="0 0 {outer[0]:g} {outer[1]}">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}"
            f".strip{{{still};animation:strip {whole:.2f}s step-end infinite}}\n"
            f"@keyframes strip{{{''.join(moments)}}}\n"
            "@media(prefers-reduced-motion:reduce){.strip{animation:none}}</style>",
            '<rect class="paper" x=".5" y=".5" rx="8" '
            f'width="{outer[0] - 1:g}" height="{outer[1] - 1}"/>',
            *(
                f'<circle cx="{_EDGE + 4 + 16 * k}" cy="{_EDGE}" r="5" fill="{colour}"/>'
                for k, colour in enumerate(("#ff6b60", "#f5bf4f", "#57c353"))
            ),
            f'<svg x="{_EDGE}" y="{above}" width="{width:g}" height="{height}"><g class="strip">',
            *(
                line
                for k, (_, lines) in enumerate(shown)
                for row, text in enumerate(lines)
                for line in _line(text, k * height + row * _LINE)
            ),
            "</g></svg>",
            "</svg>\n",
        ]
    )


def _line(text: str, top: int) -> Iterator[str]:
    """Draw a line: blocks as bars, which fit whatever the font, the rest as wide as its cells."""
    for found in re.finditer(f"[{_BLOCKS[1:]}]+", text):
        cells = sum(_BLOCKS.index(block) for block in found[0]) / 8
        yield (
            f'<rect class="bar" x="{found.start() * _CELL:g}" y="{top + 2}" '
            f'width="{cells * _CELL:g}" height="{_LINE - 4}"/>'
        )
    plain = re.sub(f"[{_BLOCKS}]", " ", text).rstrip()
    if plain:
        inside = re.sub(r"^\$", '<tspan class="prompt">$</tspan>', escape(plain))
        yield (
            f'<text y="{top + 14}" textLength="{len(plain) * _CELL:g}" '
            f'lengthAdjust="spacingAndGlyphs" xml:space="preserve">{inside}</text>'
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", type=Path, help="where to, for instance docs/images/run.svg")
    interrupting = "press Ctrl-C so long after the first output, and run it again"
    parser.add_argument("--interrupt", type=float, metavar="SECONDS", help=interrupting)
    parser.add_argument("command", help="what to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="and its arguments")
    options = parser.parse_args(arguments)
    command = [options.command, *options.arguments]
    runs = [perform(command)]
    if options.interrupt is not None:
        runs.insert(0, perform(command, options.interrupt))
    text = svg(frames(command, runs), f"{shlex.join(command)} in a terminal")
    options.picture.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
