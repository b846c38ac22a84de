# reid-runtime on CPUs: `embed`, `search` and all other verbs, with Parquet and S3.
#   python -m build --wheel && docker build -t reid-runtime .
#   docker run --rm --read-only --network none --tmpfs /tmp -v "$PWD:/data" -u "$(id -u)" reid-runtime embed crops -o out/
# Any Debian with Python 3.11 does for a base; pin it by its digest.
ARG BASE=debian:bookworm-slim
FROM $BASE AS python
RUN apt-get update -q && apt-get install -y -q --no-install-recommends python3 ca-certificates && rm -rf /var/lib/apt/lists/*

FROM python AS build
RUN apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv
COPY .ci/runtime.txt dist/*.whl /build/
RUN python3 -m venv /opt/reid-runtime \
    && /opt/reid-runtime/bin/pip install -q --no-cache-dir --require-hashes --only-binary :all: -r /build/runtime.txt \
    && /opt/reid-runtime/bin/pip install -q --no-cache-dir --no-deps --no-index /build/*.whl \
    && /opt/reid-runtime/bin/pip uninstall -q -y pip setuptools
# What is in it, as CycloneDX: the tool stays behind, the list goes along.
RUN python3 -m venv /build/sbom && /build/sbom/bin/pip install -q --no-cache-dir cyclonedx-bom==7.5.0 \
    && /build/sbom/bin/cyclonedx-py environment --output-reproducible --output-file /opt/reid-runtime/sbom.cdx.json \
        /opt/reid-runtime/bin/python

FROM python
COPY --from=build /opt/reid-runtime /opt/reid-runtime
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin reid
ENV PATH=/opt/reid-runtime/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001
WORKDIR /data
ENTRYPOINT ["reid-runtime"]
CMD ["--help"]
