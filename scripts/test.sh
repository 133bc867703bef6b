#!/usr/bin/env bash
# Everything that has to pass. Runs every part even when one fails, so that one run names all that
# is wrong, and ends with a table of the parts and their seconds.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

parts=()
failed=0

part() {
    local name=$1 began=$SECONDS verdict=ok
    shift
    echo "== $name: $*"
    "$@" || { verdict=FAILED failed=1; }
    parts+=("$(printf '%-10s %6d s  %s' "$name" $((SECONDS - began)) "$verdict")")
}

# Without the tools no verdict means anything.
part tools bash scripts/install.sh
if [ "$failed" = 0 ]; then
    part format cargo fmt --all --check
    part lint cargo clippy --workspace --all-targets --locked -- -D warnings
    # The journeys and the kill loops drive the program itself.
    part build cargo build --workspace --locked
    # Rules, adapters, event schemas, SDL, the house, journeys and kill loops.
    part tests cargo test --workspace --locked
    part scripts python3 -m unittest discover -s scripts -p 'test_*.py'
    part supply cargo deny --locked check licenses bans sources
fi

echo
printf '%s\n' "${parts[@]}"
echo "together   $(printf '%6d' "$SECONDS") s"
exit "$failed"
