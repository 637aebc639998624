"""`python -m nbdeploy`: the command, where its script is not on the path."""

import sys

from nbdeploy.cli import main

sys.exit(main())
