"""The command line: parse, call, print, exit. The only room that writes to the terminal.

The report goes to standard output and everything else to standard error, what the audited code prints included. Exit
status 0 means audited, 1 that the gate fails, and 2 that something could not be audited, whatever the reason.

Whatever answers at once (help, the version, a mistyped option) must not wait for TensorFlow, so imports that cost time
stand in the functions of these files that need them.
"""

from gradaudit.cli.program import main, run_program

__all__ = ["main", "run_program"]
