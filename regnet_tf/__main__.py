"""`python -m regnet_tf` runs the command `regnet`. Calling `regnet` directly starts faster."""

import sys

from regnet_command import main

if __name__ == "__main__":
    sys.exit(main())
