"""Train one phase: `python scripts/train_ball.py --config CONFIG --output-dir models --resume models/checkpoint.pth`.

The same as `smallsight train`.
"""

import sys

from smallsight.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["train"]
    main()
