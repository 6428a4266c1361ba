"""What the workers of the tests do; a module of its own, so that they have little to import."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SMALL = 64
"""Rows and columns of a small chunk: a sixteenth of the pairs, and as many boundaries."""


def cut_small(change: Callable[[Any, str, Any], object] = setattr) -> None:
    """Have this process cut a triangle into chunks of `SMALL` × `SMALL` cells."""
    from engine.batch import forecast
    from engine.triangle import blocks

    cells = blocks.ROW_BLOCK_CELLS * SMALL**2 // blocks.CHUNK_CELLS
    change(blocks, "ROW_BLOCK_CELLS", cells)
    for module in (blocks, forecast):
        change(module, "CHUNK_CELLS", SMALL**2)
    change(blocks, "TALLEST", SMALL)


@dataclass(frozen=True)
class Small:
    """Makes what performs a task of a run, in small blocks; at home in any worker of it."""

    make: Callable[[], Callable[[Any], Any]]
    hold: str = ""
    """Path of a file: while it is there, no task of the stage it is called after is answered."""

    def __call__(self) -> Callable[[Any], Any]:
        cut_small()
        perform = self.make()
        held = {"reading": "ReadTask", "computing": "BlockTask"}.get(os.path.basename(self.hold))

        def answer(task: Any) -> Any:
            result = perform(task)
            while type(task).__name__ == held and os.path.exists(self.hold):
                time.sleep(0.005)
            return result

        return answer


def command_without(module: str, arguments: list[str]) -> int:
    """Be the command line, in a process that has not imported a module before."""
    from engine.cli import main

    assert module not in sys.modules
    return main(arguments)


def squarer() -> Callable[[int], int]:
    return lambda task: task * task


def of_process() -> Callable[[int], tuple[int, int]]:
    """The number of the process, and how many tasks it has done."""
    done: list[int] = []

    def perform(task: int) -> tuple[int, int]:
        time.sleep(0.02)
        done.append(task)
        return os.getpid(), len(done)

    return perform


def blas_threads() -> Callable[[int], list[int]]:
    import numpy as np
    from threadpoolctl import threadpool_info

    def perform(task: int) -> list[int]:
        np.ones((2, 2)) @ np.ones((2, 2))
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    return perform


def speaker() -> Callable[[int], int]:
    def perform(task: int) -> int:
        print("to stdout")
        os.write(1, b"to the descriptor of stdout\n")
        return task

    return perform


def fails_at_three() -> Callable[[int], int]:
    def perform(task: int) -> int:
        if task == 3:
            raise ArithmeticError("three")
        return task

    return perform


def dies_when_told() -> Callable[[int | tuple[str, int]], int]:
    """Dies of the task ``("exit", status)`` or ``("signal", number)``."""

    def perform(task: int | tuple[str, int]) -> int:
        if isinstance(task, int):
            return task
        if task[0] == "exit":
            os._exit(task[1])
        os.kill(os.getpid(), task[1])
        return 0

    return perform


def stays_from_three() -> Callable[[int], int]:
    def perform(task: int) -> int:
        time.sleep(0.01 if task < 3 else 600)
        return task

    return perform


def children() -> list[tuple[int, str]]:
    """List the living children of this process: number and command."""
    found: list[tuple[int, str]] = []
    if not os.path.isdir("/proc"):
        return found
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline") as cmdline:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
                command = cmdline.read()
        except OSError:
            continue  # It has ended meanwhile.
        if int(parent) == os.getpid() and state not in "ZX":
            found.append((int(pid), command))
    return found
