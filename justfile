# Every recipe. `.ci/run` calls these and nothing else.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List recipes.
default:
    @just --list

# Formatting, lints and the edges between crates.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Set up what is missing and run every test.
test:
    scripts/test

# Run the server on the embedded default.
run *ARGS:
    cargo run --release -- serve {{ARGS}}

# Two demo tenants, from an empty folder.
demo *ARGS:
    scripts/demo {{ARGS}}

# Rewrite generated contracts.
schemas:
    cargo run --quiet -- openapi > schemas/openapi.json

# Retrieval quality of the default model on a BEIR-shaped folder, against a running server.
eval DATASET:
    cargo run --release -- eval retrieval --dataset {{DATASET}}

# 100,000 searches of two tenants under concurrent writes (goes on where it stopped: each chunk has its own seed).
long-isolation:
    RINGFENCE_ISOLATION_SEARCHES=100000 cargo nextest run --release --profile long -E 'test(isolation::)'

# 500 kills at random moments on the real binary.
long-kill:
    cargo build --release
    RINGFENCE_KILLS=500 cargo nextest run --release --profile long -E 'test(durability::)'

# Builds with one safeguard removed must fail the isolation test.
long-mutants:
    scripts/mutants
