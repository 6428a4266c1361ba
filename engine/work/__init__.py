"""What a worker does: one row-block from its vectors to its text; and the processes that do it."""
