"""Run the command as ``python -m redistill.cli``."""

from redistill.cli.main import main

if __name__ == "__main__":
    main()
