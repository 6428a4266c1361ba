# One image for the command, for a scheduler and for workers: the same versions everywhere.
FROM python:3.13
WORKDIR /engine
COPY setup.* pyproject.toml README.md LICENSE ./
COPY engine engine
RUN pip install --no-cache-dir ".[dask,remote]"
# Where the folder with the data is mounted.
WORKDIR /films
ENTRYPOINT ["similarities-engine"]
CMD ["--help"]
