"""`python -m smallsight`: the same as the `smallsight` command."""

from smallsight.cli import main

if __name__ == "__main__":
    main()
