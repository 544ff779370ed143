"""The app as ``make demo`` and a Hugging Face Space start it; ``python -m lowrank_demo app`` does the same."""

import sys

from lowrank_demo.commands.app import serve

if __name__ == "__main__":
    sys.exit(serve())
