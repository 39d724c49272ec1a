"""How large a network may become on a chip: networks of growing size, built, run and compared."""
