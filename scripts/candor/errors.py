"""Errors that a user can mend: one sentence that says what is wrong, where, and what to do."""

import gc
import sys
from collections.abc import Callable


class CandorError(Exception):
    """Something the user can mend; the message is for the person at the keyboard."""


def speak(main: Callable[[], None]) -> None:
    """Run a script; a CandorError is its sentence alone and exit status 1, any other error keeps its traceback."""
    try:
        main()
    except CandorError as error:
        sys.exit(f"error: {error}")
    finally:
        # the process ends: not to look once more for garbage among all that was imported saves up to a second
        gc.freeze()
