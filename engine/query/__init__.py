"""Questions to the store: a pair, a film's row, its nearest films, a whole decade."""
