"""What comes in: the text of an embeddings file, made into ids and a matrix of vectors."""
