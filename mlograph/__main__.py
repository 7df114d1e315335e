"""`python -m mlograph`: the same as the command `mlograph`."""

from mlograph.cli import main

if __name__ == "__main__":
    main()
