"""`harness nightly`: a matrix of items run unattended, in processes of their own, and what changed since.

`config` reads nightly.toml, `schedule` says what runs next, `workers` are the processes, `night` brings them
together, `verdicts` says what it means, `past` when items ran last, `summary` prints it.
Each item is `Bench.run_item`'s.
"""
