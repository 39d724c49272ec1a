"""A shelf of boards that people and processes share: which there are, who holds one, how healthy they are."""
