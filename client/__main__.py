"""The command line without its script: `python -m client`."""

from client.cli.app import main

if __name__ == "__main__":
    main()
