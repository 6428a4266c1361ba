"""A Dask cluster instead of worker processes of this machine."""
