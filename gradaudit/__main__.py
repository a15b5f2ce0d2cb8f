"""Makes `python -m gradaudit` the same as `gradaudit`."""

from gradaudit.cli import run_program

if __name__ == "__main__":
    run_program()
