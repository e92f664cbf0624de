"""The command line: `alphavil` and its subcommands, one module each."""
