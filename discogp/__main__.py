import sys

from discogp.cli import main

sys.exit(main())
