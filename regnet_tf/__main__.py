"""`python -m regnet_tf` is the command `regnet`, which starts faster by itself."""

import sys

from regnet_command import main

if __name__ == "__main__":
    sys.exit(main())
