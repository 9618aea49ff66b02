# syntax=docker/dockerfile:1

# The version that rust-toolchain.toml names.
ARG RUST=1.95.0

FROM rust:${RUST}-slim-bookworm AS tools
# Not the file's toolchain, which would be fetched anew for its components.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION}
RUN cargo install --locked --version 0.1.78 cargo-chef
WORKDIR /build

# What the dependencies are, without the code: this layer's result changes only with them.
FROM tools AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM tools AS build
COPY --from=plan /build/recipe.json recipe.json
RUN cargo chef cook --release --locked --package server --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --package server --bin ally360 \
    && strip --strip-debug target/release/ally360

FROM debian:bookworm-slim AS runtime
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 ally360 \
    && useradd --uid 10001 --gid 10001 --no-log-init --create-home --home-dir /var/lib/ally360 \
        --shell /usr/sbin/nologin ally360
COPY --from=build /build/target/release/ally360 /usr/local/bin/ally360
ENV ALLY360_LISTEN=0.0.0.0:8000 \
    ALLY360_DATA_DIR=/var/lib/ally360
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
WORKDIR /var/lib/ally360
EXPOSE 8000
# Of processes with an API; the others listen on nothing and switch it off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["ally360", "health"]
# It handles SIGTERM itself and has no child but an embedded PostgreSQL, so it may be process 1.
ENTRYPOINT ["ally360"]
CMD ["serve"]
