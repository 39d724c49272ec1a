"""What earlier runs left behind: one database of items, and what changed between two of them.

It stores the records of `harness.records` and answers questions about them; it knows nothing of boards,
and no report reads it directly. Imports nothing here: the database library takes a third of a second.
"""
