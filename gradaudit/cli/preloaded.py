"""What the server imports once from which the processes of `--jobs` are forked: TensorFlow and Keras above all.

Nothing here may use them: a process that is forked from one in which TensorFlow has run anything hangs or crashes.
"""

from __future__ import annotations

import contextlib
import signal

from gradaudit.cache.syscalls import install_filter
from gradaudit.cache.watching import watch
from gradaudit.garbage import garbage_left_alone

install_filter()
watch()  # from here on, for an audit that is to be kept is made from this, too

interrupted = signal.signal(signal.SIGINT, signal.SIG_DFL)  # the terminal interrupts all, and the command says so
# What cannot be imported is told where it is imported next, in each process.
with garbage_left_alone(), contextlib.suppress(Exception):
    import gradaudit.auditing
    import gradaudit.cli.workers
    import gradaudit.config
    import gradaudit.subject_lookup  # noqa: F401  # imported for the processes that are forked from this one
signal.signal(signal.SIGINT, interrupted)
