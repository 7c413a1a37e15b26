# syntax=docker/dockerfile:1
#
# Images of the worker and of the deployer.
#
#   docker build --target worker --tag NAME:1.0.0 .
#   docker build --target worker --build-arg PIPELINE=jobs/clicks --tag NAME:1.0.0 .    a job of your own
#   docker build --target deployer --tag NAME .                    the Lambda function as an image
#   docker build --target deployer-zip --output target .           … or as target/deployer.zip
#
# For another CPU: docker buildx build --platform linux/arm64 … (or linux/amd64). Each platform is compiled on itself, so
# give buildx a node of that CPU; under emulation it works too, and takes hours.
#
# To pin a base image by digest, or to take it from a mirror: --build-arg RUNTIME_IMAGE=…@sha256:… and so on.

# As in rust-toolchain.toml; a test says so if they differ.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm
# glibc, libgcc, CA certificates, time zones; no shell, no package manager.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot
ARG LAMBDA_IMAGE=public.ecr.aws/lambda/provided:al2023

# Everything that compiles. The registry and the target directory are kept between builds in BuildKit's cache: what did
# not change is not compiled again.
FROM ${RUST_IMAGE} AS source
# The image has this toolchain; rust-toolchain.toml also asks for rustfmt and clippy, which nobody needs here.
ENV RUSTUP_TOOLCHAIN=1.95.0 \
    CARGO_INCREMENTAL=0 \
    CARGO_TERM_COLOR=never \
    LIBZ_SYS_STATIC=1
WORKDIR /src
# Without pipeline/, taskdefs/ and the documents: a change there compiles nothing.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY ledger ledger
COPY worker worker
COPY deployer-lambda deployer-lambda
COPY local local
COPY tests tests
COPY bench bench

FROM source AS build
RUN --mount=type=cache,id=landfall-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=landfall-target,target=/var/cache/landfall,sharing=locked \
    target="/var/cache/landfall/$(uname -m)" \
    && cargo build --locked --release --package worker --bin worker --target-dir "$target" \
    && install -D --mode 0755 "$target/release/worker" /out/worker
# The runtime image has a C library and libgcc, and nothing else to link to.
RUN case "$(ldd /out/worker)" in \
    *libz.* | *libssl.* | *libcrypto.* | *"not found"*) ldd /out/worker >&2; exit 1 ;; \
    esac

FROM source AS build-deployer
RUN --mount=type=cache,id=landfall-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=landfall-target,target=/var/cache/landfall,sharing=locked \
    target="/var/cache/landfall/$(uname -m)" \
    && cargo build --locked --profile lambda --package deployer-lambda --bin deployer-lambda --target-dir "$target" \
    && install -D --mode 0755 "$target/lambda/deployer-lambda" /out/bootstrap

# The same bytes make the same archive: times and modes are fixed, names are in order, nothing of the machine is in it.
FROM ${RUST_IMAGE} AS pack
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends zip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /package
COPY --from=build-deployer /out/bootstrap bootstrap
COPY taskdefs taskdefs
RUN chmod --recursive u=rwX,go=rX . \
    && find . -exec touch --date=1980-01-01T00:00:00Z {} + \
    && mkdir /out \
    && TZ=UTC zip -q -X -9 /out/deployer.zip bootstrap taskdefs/*

FROM scratch AS deployer-zip
COPY --from=pack /out/deployer.zip /deployer.zip

# The Lambda function as an image: code and task definitions where Lambda unpacks an archive, too.
FROM ${LAMBDA_IMAGE} AS deployer
COPY --from=pack /package/ ${LAMBDA_TASK_ROOT}/
ENTRYPOINT ["/var/task/bootstrap"]
ARG SOURCE=""
ARG REVISION=""
ARG VERSION=""
LABEL org.opencontainers.image.title="Landfall deployer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}"

# Last, so that it is what `docker build .` makes.
FROM ${RUNTIME_IMAGE} AS worker
COPY --from=build /out/worker /usr/local/bin/worker
ENV LANDFALL_PIPELINE=/etc/landfall/pipeline
# As the task definition says. Nothing is written: the root file system may be read-only.
USER 65532:65532
# Commits what it has and leaves.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/worker"]
CMD ["run"]
# The job is the last layer, and all that changes with it.
ARG PIPELINE=pipeline
COPY --chown=65532:65532 ${PIPELINE}/ /etc/landfall/pipeline/
ARG SOURCE=""
ARG REVISION=""
ARG VERSION=""
LABEL org.opencontainers.image.title="Landfall worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}"
