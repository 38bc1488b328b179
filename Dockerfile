# syntax=docker/dockerfile:1
# The server in a container: not root, and it writes to /data and /tmp alone, so the root may be read-only.
#
#   docker build -t research-agent .
#   docker run --network host --read-only --tmpfs /tmp -v research-data:/data research-agent
#
# With a PostgreSQL database that several of them share: compose.yaml, deploy/kubernetes, docs/scaling.md. Arguments go to
# the server, as `--role worker`.
#
# Without API keys the server refuses every HOST that is not loopback: with host networking it listens on the host's
# 127.0.0.1:8088, for programs of that host alone. With keys (docs/keys.md) it may be published, behind a proxy with TLS:
#
#   docker run --rm -v research-data:/data research-agent keys add alice
#   docker run -p 8088:8088 -e HOST=0.0.0.0 --read-only --tmpfs /tmp -v research-data:/data research-agent

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
ENV DATA_DIR=/data HOST=127.0.0.1 PORT=8088 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
VOLUME /data
USER 10001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
 CMD ["/opt/venv/bin/python", "-m", "server.probe", "liveness"]
ENTRYPOINT ["/opt/venv/bin/python", "-m", "server"]
