FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /venv
COPY requirements.lock .
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /venv/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent iiif \
    && mkdir -p /var/lib/iiif/source /var/lib/iiif/cache \
    && chown -R iiif /var/lib/iiif
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    IIIF_HTTP_HOST=0.0.0.0 \
    IIIF_HTTP_PORT=4040 \
    IIIF_SOURCE_PATH=/var/lib/iiif/source \
    IIIF_CACHE_PATH=/var/lib/iiif/cache
USER iiif
VOLUME ["/var/lib/iiif/source", "/var/lib/iiif/cache"]
EXPOSE 4040
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"IIIF_HTTP_PORT\"]}/health', timeout=4)"]
ENTRYPOINT ["iiif-server"]
CMD ["serve"]
