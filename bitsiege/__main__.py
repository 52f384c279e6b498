"""``python -m bitsiege``."""

import sys

from bitsiege.cli import main

if __name__ == "__main__":
    sys.exit(main())
