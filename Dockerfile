# syntax=docker/dockerfile:1
# Targets: `api` (no torch, also runs the migrations) and `worker` (torch).
#   docker build --target api -t ddcal-api .
#   docker build --target worker -t ddcal-worker .
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/venv/bin:$PATH \
    HOME=/tmp \
    DDCAL_DATA_FOLDER=/data
RUN groupadd --gid 10001 ddcal \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin ddcal \
    && install --directory --owner=ddcal --group=ddcal --mode=0700 /data
STOPSIGNAL SIGTERM

# Dependencies first: a change of the source alone installs nothing again.
FROM base AS api-dependencies
WORKDIR /src
RUN python -m venv /venv
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/tmp/.cache/pip \
    python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], *project['optional-dependencies']['server'], sep='\n')" > requirements.txt \
    && pip install --disable-pip-version-check -c constraints.txt -r requirements.txt

FROM api-dependencies AS worker-dependencies
# The index of another build of torch (CPU only, or another CUDA); by default pip's own.
ARG TORCH_INDEX=""
RUN --mount=type=cache,target=/tmp/.cache/pip \
    python -c "import tomllib; extra = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['worker']; print(*(one for one in extra if not one.startswith('ddcal[')), sep='\n')" > requirements-worker.txt \
    && if [ -n "$TORCH_INDEX" ]; then \
         pip install --disable-pip-version-check -c constraints.txt --index-url "$TORCH_INDEX" $(grep '^torch==' requirements-worker.txt); \
       fi \
    && pip install --disable-pip-version-check -c constraints.txt -r requirements-worker.txt

FROM api-dependencies AS api-build
COPY . .
RUN pip install --disable-pip-version-check --no-deps .

FROM worker-dependencies AS worker-build
COPY . .
RUN pip install --disable-pip-version-check --no-deps .

FROM base AS api
LABEL org.opencontainers.image.title="ddcal API" \
      org.opencontainers.image.description="REST API of ddcal; ddcal migrate runs the migrations"
COPY --from=api-build /venv /venv
WORKDIR /data
USER 10001:10001
# Reachable from outside, so DDCAL_API_KEY has to be set, or the API refuses to start.
ENV DDCAL_HOST=0.0.0.0 DDCAL_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['DDCAL_PORT'] + '/healthz', timeout=2)"]
CMD ["ddcal", "api"]

FROM base AS worker
LABEL org.opencontainers.image.title="ddcal worker" \
      org.opencontainers.image.description="Runs ddcal's jobs, one at a time"
COPY --from=worker-build /venv /venv
WORKDIR /data
USER 10001:10001
# A worker whose broker is away finishes its job, but hears of no new one at once.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, redis; redis.Redis.from_url(os.environ['DDCAL_REDIS_URL'], socket_timeout=2).ping()"]
CMD ["ddcal", "worker"]
