# One image for the application and for its migrations, which run
# `alembic -c backend/alembic.ini upgrade head` in place of the command.
#
# The base is pinned by tag, so that a build picks up its security fixes. For a release, pin it by digest too, in
# both stages, and let an update bot move it:
#   docker buildx imagetools inspect python:3.13-slim --format '{{.Manifest.Digest}}'
#   FROM python:3.13-slim@sha256:...

FROM python:3.13-slim AS build

WORKDIR /app
# observability: with the libraries of Prometheus and OpenTelemetry. docker build --build-arg LOCK=observability .
ARG LOCK=base
COPY requirements/base.txt requirements/observability.txt requirements/
# Only wheels: nothing is compiled, and no package runs code of its own while it is installed.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
        --only-binary :all: --require-hashes --no-deps -r "requirements/${LOCK}.txt"
COPY backend/alembic.ini backend/alembic.ini
COPY backend/alembic backend/alembic
COPY backend/app backend/app
# The files never change again, so their bytecode is not compared with them at every start.
# A checkout with a strict umask would leave them unreadable for the user below.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv backend \
    && chmod -R a+rX backend


FROM python:3.13-slim

# No X-Forwarded-For is trusted until FORWARDED_ALLOW_IPS names a proxy: unset, uvicorn would trust 127.0.0.1.
# One heap for all threads, of which the interpreter lets one run at a time: several take 5 MiB more, and grow for longer.
ENV MALLOC_ARENA_MAX=1 \
    PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app/backend \
    PYTHONUNBUFFERED=1 \
    APP_ENV=production \
    FORWARDED_ALLOW_IPS=
# The base image leaves the standard library without bytecode. An unprivileged process could never keep what it
# compiles, and would compile it again at every start and every health check.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x site-packages \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --gid 10001 app \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app/backend /app/backend

WORKDIR /app
# By number, so that an orchestrator can tell that it is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM

# It names a host that is served here: with ALLOWED_HOSTS set, 127.0.0.1 would be refused.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as http; host = os.environ.get('ALLOWED_HOSTS', '').split(',')[0].strip().replace('*', 'health') or 'localhost'; port = os.environ.get('PORT') or '8000'; http.urlopen(http.Request(f'http://127.0.0.1:{port}/api/v1/health/live', headers={'Host': host}), timeout=2)"]

# The shell is there for PORT, and for an empty WEB_CONCURRENCY, which uvicorn cannot read. It is gone at once: after exec, uvicorn (or alembic) is the process that gets the signals.
ENTRYPOINT ["sh", "-c", "export UVICORN_PORT=${PORT:-8000} WEB_CONCURRENCY=${WEB_CONCURRENCY:-1}; exec \"$@\"", "--"]
# SIGTERM: DRAIN_SECONDS of serving with readiness at 503, then at most 25 s for what is in flight.
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--http", "httptools", "--no-access-log", "--no-server-header", \
     "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "25"]
