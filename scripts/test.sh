#!/usr/bin/env bash
# Everything that has to pass, the cheapest first. Runs every part even when one fails, so that one
# run names all that is wrong, and ends with a table of the parts and their seconds.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Most of what tests do is wait: for disks, time-outs, programs that start.
RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
export RUST_TEST_THREADS

parts=()
failed=0

part() {
    local name=$1 began=$SECONDS verdict=ok
    shift
    echo "== $name: $*"
    "$@" || { verdict=FAILED failed=1; }
    parts+=("$(printf '%-10s %6d s  %s' "$name" $((SECONDS - began)) "$verdict")")
    echo "== ${parts[-1]}"
}

# Without the tools no verdict means anything.
part tools bash scripts/install.sh
if [ "$failed" = 0 ]; then
    part format cargo fmt --all --check
    # The program that recomputes the books shares no code with the product, nor its tests.
    part scripts python3 -m unittest discover -s scripts -p 'test_*.py'
    part supply cargo deny --locked check licenses bans sources
    # Always the whole workspace, so that no part builds a dependency with other features again.
    part house cargo test --workspace --locked --test house
    part lint cargo clippy --workspace --all-targets --locked -- -D warnings
    # The program itself too: journeys, kill loops and the command line's tests drive it.
    part build cargo build --workspace --all-targets --locked
    # Clients of others and the own one, GraphiQL and the example page, all against that program.
    part clients npm --prefix clients test
    # Rules, adapters, event schemas, views, processes, SDL.
    part rooms cargo test --workspace --locked --no-fail-fast --lib --bins
    part docs cargo test --workspace --locked --no-fail-fast --doc
    part program cargo test --workspace --locked --no-fail-fast --test '*'
fi

echo
printf '%s\n' "${parts[@]}"
echo "together   $(printf '%6d' "$SECONDS") s"
exit "$failed"
