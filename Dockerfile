# The build takes Node.js from PyPI for the scripts of the pages; nothing of it is in the image.
FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /venv
COPY requirements.lock .
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY assets assets
COPY src src
RUN /venv/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /venv/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.11-slim
LABEL org.opencontainers.image.title="iiif-server" \
      org.opencontainers.image.description="A IIIF image server: any image performs like a prepared pyramid" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --user-group --home-dir /nonexistent --shell /usr/sbin/nologin iiif \
    && install -d -o iiif -g iiif /var/lib/iiif/source /var/lib/iiif/cache
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 \
    IIIF_HTTP_HOST=0.0.0.0 \
    IIIF_HTTP_PORT=4040 \
    STATE_DIRECTORY=/var/lib/iiif \
    CACHE_DIRECTORY=/var/lib/iiif/cache
# STATE_DIRECTORY and CACHE_DIRECTORY are defaults of source_path and cache_path: unlike IIIF_* variables
# they do not override a settings file.
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/iiif
VOLUME ["/var/lib/iiif/source", "/var/lib/iiif/cache"]
EXPOSE 4040
# Nothing but the volumes and /tmp is written: the root file system can be read-only.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"IIIF_HTTP_PORT\"]}/health', timeout=4)"]
ENTRYPOINT ["iiif-server"]
CMD ["serve"]
