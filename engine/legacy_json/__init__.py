"""What comes out: the text of the legacy JSON, and the file that many workers write at once."""
