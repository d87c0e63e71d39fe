"""`python -m rl` is the command `assay`."""

from rl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
