"""`python -P -m ddcal.cli`: the command `ddcal`, wherever it is installed."""

import sys

from ddcal.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
