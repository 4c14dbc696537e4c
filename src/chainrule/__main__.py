"""``python -m chainrule``: the same as the command ``chainrule``."""

import sys

from chainrule.cli.main import main

sys.exit(main())
