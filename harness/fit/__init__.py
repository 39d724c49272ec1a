"""Whether a network fits a chip, said before anything is flashed: flash, RAM by regions, time."""
