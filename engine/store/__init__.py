"""What is kept: the zarr store, what counts in it, and who may write to it."""
