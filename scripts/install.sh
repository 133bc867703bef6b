#!/usr/bin/env bash
# Installs what the tests need and this machine lacks. Does nothing where everything is there.
# `make demo` needs none of it: a Rust toolchain and a C compiler are enough to build and run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One version, so that everybody gets the same verdict from the same deny.toml.
DENY_VERSION=0.20.2
# The oldest Node.js that the clients' packages take.
NODE_MAJOR=20

fail() {
    echo "install: $*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# apt COMMAND PACKAGE: the program must be there, or come from Debian's packages.
apt() {
    have "$1" && return
    have apt-get || fail "$1 is missing; install it and run this again"
    [ "$(id -u)" = 0 ] || fail "$1 is missing; run: sudo apt-get install -y $2"
    echo "install: $2, for $1"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2" >/dev/null
    have "$1" || fail "apt-get installed $2, but $1 is still missing"
}

# Whether some folder has the programs with which the tests start a Postgres of their own.
have_postgres() {
    local dir
    for dir in "$(dirname "$(readlink -f "$(type -P postgres || true)")")" /usr/lib/postgresql/*/bin; do
        [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && [ -x "$dir/createdb" ] && [ -x "$dir/psql" ] && return
    done
    return 1
}

# Only the programs: the cluster that Debian would make and start on its port is not ours to have.
postgres() {
    have_postgres && return
    have apt-get || fail "Postgres is missing; install its server and client programs and run this again"
    [ "$(id -u)" = 0 ] || fail "Postgres is missing; run: sudo $PWD/scripts/install.sh, or: sudo apt-get install -y postgresql"
    echo "install: postgresql, for the tests of the Postgres log"
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
    local conf=/etc/postgresql-common/createcluster.conf
    if ! grep -qs '^create_main_cluster *= *false' "$conf"; then
        echo "create_main_cluster = false" >>"$conf"
    fi
    apt-get install -y -qq --no-install-recommends postgresql >/dev/null
    have_postgres || fail "apt-get installed postgresql, but its programs are still missing from /usr/lib/postgresql"
}

# The packages of the clients and of what tests them, at the versions of their lock file; again only when that changes.
node_packages() {
    apt node nodejs
    apt npm npm
    local found lock=clients/package-lock.json installed=clients/node_modules/.installed-lock.json
    found=$(node -p 'process.versions.node')
    [ "${found%%.*}" -ge "$NODE_MAJOR" ] ||
        fail "node is $found; the clients need $NODE_MAJOR or later: install it from https://nodejs.org"
    cmp -s "$lock" "$installed" && return
    echo "install: the clients' packages, by $lock"
    # None of them needs to run anything to be installed.
    (cd clients && npm ci --ignore-scripts --no-progress --loglevel=error) || fail "npm ci failed in clients/"
    cp "$lock" "$installed"
}

have cargo || fail "cargo is missing; install a Rust toolchain from https://rustup.rs"
have cc || apt cc gcc
apt python3 python3
apt curl curl
apt sqlite3 sqlite3
postgres
# A real browser, for GraphiQL and the example page.
apt chromium chromium
node_packages

# rustup reads rust-toolchain.toml and usually brings both along with the toolchain itself.
for component in rustfmt clippy; do
    case $component in rustfmt) probe="fmt" ;; *) probe=$component ;; esac
    if ! cargo "$probe" --version >/dev/null 2>&1; then
        have rustup || fail "$component is missing and there is no rustup to bring it"
        rustup component add "$component"
    fi
done

found=$(cargo deny --version 2>/dev/null | awk '{print $2}' || true)
if [ -z "$found" ]; then
    echo "install: cargo-deny $DENY_VERSION, built from source: about three minutes on two cores"
    cargo install --locked --quiet "cargo-deny@$DENY_VERSION"
elif [ "$found" != "$DENY_VERSION" ]; then
    echo "install: using cargo-deny $found as it is; deny.toml is written for $DENY_VERSION"
fi
