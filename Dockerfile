# syntax=docker/dockerfile:1
# The server in a container.
#
#   docker build -t research-agent .
#   docker run --network host -v research-data:/data research-agent
#
# This version has no API keys, so the server refuses every HOST that is not loopback. Inside a network namespace of its
# own nobody could reach it: `-p 8088:8088` does NOT work. With host networking it listens on the host's 127.0.0.1:8088,
# for programs of that host alone. To publish it, put a proxy that authenticates in front of it, on the same host.

FROM python:3.12-slim AS packages
WORKDIR /build
COPY requirements/run.txt .
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r run.txt

FROM python:3.12-slim
RUN useradd --uid 10001 --no-create-home research \
 && install --directory --owner=research --group=research /data
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY graph graph
COPY server server
# Byte code at build time: the user below may not write here, and a restart is faster with it.
RUN /opt/venv/bin/python -m compileall -q graph server
ENV DATA_DIR=/data HOST=127.0.0.1 PORT=8088 PYTHONUNBUFFERED=1
VOLUME /data
USER research
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/opt/venv/bin/python", "-c", \
 "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/liveness', timeout=2)"]
ENTRYPOINT ["/opt/venv/bin/python", "-m", "server"]
