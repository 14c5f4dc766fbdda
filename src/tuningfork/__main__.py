"""`python -m tuningfork` is the command `tuningfork`."""

from tuningfork.cli.main import main

if __name__ == "__main__":
    main()
