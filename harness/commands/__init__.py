"""The subcommands of `harness`, one module for those that belong together; see the table in `harness.cli`."""
