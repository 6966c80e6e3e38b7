"""Hooks at the beginning and the end of child processes."""

import os
import sys
import weakref
from collections.abc import Callable


def call_in_children(method: Callable[[], None]) -> None:
    """Call ``method`` in each process that is forked off. ``os`` keeps a callback for ever, so the reference is weak."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        if (still_there := reference()) is not None:
            still_there()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def at_end_of_multiprocessing_child(method: Callable[[], None]) -> None:
    """Call ``method`` when this process ends, if it is a child of multiprocessing, which skips ``atexit``.

    multiprocessing is not imported for it.
    """
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process and util and process.parent_process():
        util.Finalize(None, method, exitpriority=-100)
