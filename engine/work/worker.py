"""One worker process: it takes a task from its standard input, does it, and answers.

`engine.work.pool` runs this file by its path, so that the worker watches over its parent before it
imports anything else.
"""

import os
import pickle
import select
import sys
import threading
import traceback
from typing import Any, NoReturn


def main() -> NoReturn:
    """Perform tasks until the parent closes the pipe or is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    calls = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What is printed by mistake must not get between two answers.
    made: dict[Any, Any] = {}
    try:
        sys.path[:] = pickle.load(calls)
        while True:
            make, *task = pickle.load(calls)
            if make not in made:
                made = {make: make()}
            if task:
                pickle.dump(_answer(made[make], *task), answers)
                answers.flush()
    except (EOFError, pickle.UnpicklingError, BrokenPipeError):  # The parent is gone.
        os._exit(0)


def _answer(perform: Any, task: Any) -> tuple[Any, Exception | None]:
    try:
        return perform(task), None
    except Exception as error:  # Whatever it is, the run raises it where the user can see it.
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        return None, error


def _end_with_parent() -> None:
    # However the parent ended, the system closes its end of the pipe. Its lock on the store is
    # gone then, so nothing more may be written.
    hangup = select.poll()
    hangup.register(0, 0)
    hangup.poll()
    os._exit(0)


if __name__ == "__main__":
    main()
