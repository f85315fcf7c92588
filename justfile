# Every recipe. `.ci/run` calls `scripts/test`, as `just test` does.

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

# A wheel of a release build in target/wheels; `just wheel --check` also installs it and asks a first question.
wheel *ARGS:
    scripts/package wheel {{ARGS}}

# Time and CPU from a clone of HEAD, in an empty home, to the demo's first answer.
first-answer:
    scripts/first-answer

# Rewrite generated contracts.
schemas:
    cargo run --quiet -- schemas schemas

# Retrieval quality of the default model on a BEIR-shaped folder, against a running server.
eval DATASET:
    cargo run --release -- eval retrieval --dataset {{DATASET}}

# 100,000 searches of two tenants under concurrent writes, on the release build; in parts: `just long-isolation 25000 100`, then another seed.
long-isolation SEARCHES="100000" SEED="0":
    cargo build --release
    RINGFENCE_ISOLATION_SEARCHES={{SEARCHES}} RINGFENCE_ISOLATION_SEED={{SEED}} RINGFENCE_BINARY=$PWD/target/release/ringfence cargo nextest run --workspace --profile long --no-capture -E 'test(isolation::)'

# 2,000 kills at random moments of the release build, counted by phase; `just long-kill 500 1000` begins at cycle 1000.
long-kill KILLS="2000" FROM="0":
    cargo build --release
    RINGFENCE_KILLS={{KILLS}} RINGFENCE_KILLS_FROM={{FROM}} RINGFENCE_BINARY=$PWD/target/release/ringfence cargo nextest run --workspace --profile long --no-capture -E 'test(durability::)'

# Ten minutes of mixed load on Ceph while an OSD or the gateway dies every 15 seconds.
long-ceph SECONDS="600":
    cargo build --release
    RINGFENCE_SERVERS=required RINGFENCE_CEPH_SECONDS={{SECONDS}} RINGFENCE_BINARY=$PWD/target/release/ringfence cargo nextest run --workspace --test it --profile long --no-capture -E 'test(bucket::nothing_is_lost_while_the_stores_daemons_die)'

# Five minutes of two servers that take one bucket from each other, at times from a frozen one.
long-fight SECONDS="300":
    cargo build --release
    RINGFENCE_SERVERS=required RINGFENCE_FIGHT_SECONDS={{SECONDS}} RINGFENCE_BINARY=$PWD/target/release/ringfence cargo nextest run --workspace --test it --profile long --no-capture -E 'test(bucket::of_two_servers_on_one_bucket_the_last_one_owns_it)'

# Twenty minutes of hostile load on the release build, from three tenants and from connections without a credential; another seed mixes it otherwise.
long-hostile SECONDS="1200" SEED="1":
    cargo build --release
    RINGFENCE_HOSTILE_PERCENT=40 RINGFENCE_HOSTILE_SECONDS={{SECONDS}} RINGFENCE_HOSTILE_SEED={{SEED}} RINGFENCE_BINARY=$PWD/target/release/ringfence cargo nextest run --workspace --test it --profile long --no-capture -E 'test(hostile::)'

# For each limit the worst request that it allows, all the way, on the release build.
long-limits:
    cargo build --release
    RINGFENCE_LIMITS_PERCENT=100 RINGFENCE_BINARY=$PWD/target/release/ringfence cargo nextest run --workspace --test it --profile long --no-capture -E 'test(limits::)'

# What a neighbour's searches take alone and beside each attack, and the ratio of both.
bench-hostile SECONDS="10":
    RINGFENCE_HOSTILE_SECONDS={{SECONDS}} cargo bench --bench hostile

# Builds with one safeguard removed must fail the isolation tests, between tenants or between readers of one; name some to run only these.
long-mutants *NAMES:
    scripts/mutants {{NAMES}}

# A world of 100,000 small namespaces: start, memory, cold first searches, bytes on disk. Takes long, and about 5 GB; RINGFENCE_MANY_STORE=moto, ceph or fake for a bucket of so much less.
bench-many TENANTS="1000" NAMESPACES="100":
    RINGFENCE_MANY_TENANTS={{TENANTS}} RINGFENCE_MANY_NAMESPACES={{NAMESPACES}} RINGFENCE_MANY_SEARCHES=2000 cargo bench --workspace --bench many_namespaces

# The protocol model on the release build: random schedules in parts (`just long-protocol 1000000 5000000` begins at seed 5000000), a larger exhaustive search, every mutant from its first seed.
long-protocol SCHEDULES="10000000" FROM="0" STATES="3000000":
    RINGFENCE_SCHEDULES={{SCHEDULES}} RINGFENCE_SCHEDULES_FROM={{FROM}} RINGFENCE_STATES={{STATES}} RINGFENCE_HINTS=0 RINGFENCE_MUTANT_SCHEDULES=300000 cargo test --release -p journal --test protocol -- --nocapture

# The store in worlds made from seeds, on a bucket and on a disk, on the release build; in parts: `just long-simulation 250 500` begins at seed 500.
# Each index that is written takes some pages of a megabyte and touches little of them: asked of the system each time they are not zeroed, and all else is kept. Three times as quick as without.
long-simulation SEEDS="1000" FROM="0" OPERATIONS="10000":
    MALLOC_MMAP_THRESHOLD_=524288 MALLOC_TRIM_THRESHOLD_=4294967296 RINGFENCE_SEEDS={{SEEDS}} RINGFENCE_SEEDS_FROM={{FROM}} RINGFENCE_OPERATIONS={{OPERATIONS}} cargo test --release --workspace --test simulation -- --nocapture on_a_
