"""A run: what is there, what is missing, and doing it; and looking without changing."""
