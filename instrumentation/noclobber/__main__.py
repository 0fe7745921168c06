"""`python -m noclobber`: the command, where no script of that name is on the path."""

import sys

from noclobber.cli import main

sys.exit(main())
