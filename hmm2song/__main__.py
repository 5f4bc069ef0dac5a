"""``python -m hmm2song``: see :mod:`hmm2song.cli`."""

import sys

from hmm2song.cli import main

if __name__ == "__main__":
    sys.exit(main())
