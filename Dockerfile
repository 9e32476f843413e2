# The relay in an image of its own: slim Python, the pinned packages, a Redis server for DATA_DIR, and a user who may
# write nothing else.
#
#   docker build --tag relay .
#   docker run --rm --stop-timeout 90 --env-file .env --publish 127.0.0.1:8080:8080 --volume relay-data:/data relay
ARG PYTHON=3.13

FROM python:${PYTHON}-slim-trixie AS packages
WORKDIR /app
COPY requirements/requirements.txt requirements/
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir --requirement requirements/requirements.txt
COPY . .
RUN .venv/bin/pip install --no-cache-dir --no-deps --editable . && .venv/bin/python -m compileall -q -x '/\.venv/' .

FROM python:${PYTHON}-slim-trixie
LABEL org.opencontainers.image.title="relay" \
      org.opencontainers.image.description="A voice relay: Twilio ConversationRelay, answered by a streaming language model" \
      org.opencontainers.image.licenses="MIT"
# The server of the embedded store. The distribution's own gets its security updates; with REDIS_URL it is never started.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* && \
    useradd --uid 10001 --user-group --no-create-home --no-log-init --home-dir /data --shell /usr/sbin/nologin relay && \
    install --directory --owner=relay --group=relay --mode=0700 /data
WORKDIR /app
COPY --from=packages /app /app
# A container is reached from outside of it only; who may ask for what is decided by PUBLIC_URL and the secrets.
ENV PATH=/app/.venv/bin:$PATH HOST=0.0.0.0 PORT=8080 DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 8080
# Live, not ready: ready says no while the process is leaving, when there is nothing to mend. Without urllib, which
# would ask the proxy that HTTP_PROXY names.
HEALTHCHECK --interval=15s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import http.client, os; asked = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); asked.request('GET', '/health/live'); raise SystemExit(asked.getresponse().status != 200)"]
# The process is PID 1 without an init before it: it handles both signals itself, and its one child, the Redis server, is
# waited for.
STOPSIGNAL SIGTERM
ENTRYPOINT ["relay"]
CMD ["serve"]
