# One image for every part: the command says which part a container is.
FROM python:3.11-slim

RUN useradd --system --create-home --home-dir /var/lib/celeriac celeriac
WORKDIR /opt/celeriac

COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock

COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .

USER celeriac
ENV CELERIAC_DATA=/var/lib/celeriac
CMD ["celeriac", "--help"]
