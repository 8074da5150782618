# shellcheck shell=bash
# What the scripts share; sourced by them. Leaves the shell in the repository's folder.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

# The crate builds with no database, from the query metadata in .sqlx; also when .env or the environment names one.
export SQLX_OFFLINE="${SQLX_OFFLINE:-true}"

# The oldest PostgreSQL that the schema works with.
readonly OLDEST_POSTGRES=15

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Installs packages as root; anyone else is told the one command that does. Arguments: what for, then the packages for
# apt-get, dnf, apk and brew, each as one word.
install_packages() {
    local what=$1 apt=$2 dnf=$3 apk=$4 brew=$5 command
    if command -v apt-get >/dev/null; then
        command="apt-get install -y --no-install-recommends $apt"
    elif command -v dnf >/dev/null; then
        command="dnf install -y $dnf"
    elif command -v apk >/dev/null; then
        command="apk add $apk"
    elif command -v brew >/dev/null; then
        fail "$what is not installed. Install it:
  brew install $brew"
    else
        fail "$what is not installed. Install it:
  Debian, Ubuntu  apt-get install $apt
  Fedora          dnf install $dnf
  Alpine          apk add $apk
  macOS           brew install $brew"
    fi
    if ! is_root; then
        if command -v sudo >/dev/null; then fail "$what is not installed. Install it:
  sudo $command"; fi
        fail "$what is not installed. Install it:
  su -c '$command'"
    fi
    say "$what is not installed; installing it: $command"
    # A fresh machine has no list of packages, or an old one.
    if command -v apt-get >/dev/null; then apt-get update >&2 || say "the list of packages could not be renewed"; fi
    DEBIAN_FRONTEND=noninteractive $command >&2 || fail "$what could not be installed with: $command"
}

# Rust, and the C compiler that it links with.
need_rust() {
    # Where rustup puts it, for a shell that has not been started anew since.
    if ! command -v cargo >/dev/null && [ -r "${CARGO_HOME:-$HOME/.cargo}/env" ]; then
        # shellcheck disable=SC1091
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    command -v cargo >/dev/null || fail "Rust is not installed. Install it as https://rustup.rs says."
    if ! command -v cc >/dev/null; then
        install_packages "A C compiler" "gcc libc6-dev" "gcc" "build-base" "gcc"
    fi
}

# The major version of the PostgreSQL whose programs are in a folder; nothing when they are not all there.
postgres_version() {
    local program
    for program in initdb pg_ctl postgres; do [ -x "$1/$program" ] || return 0; done
    "$1/pg_ctl" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p'
}

# The folder of PostgreSQL's programs, as src/dev_database.rs looks for them.
postgres_programs() {
    local found version dir best='' newest=0
    if [ -n "${PG_BIN:-}" ]; then
        [ -n "$(postgres_version "$PG_BIN")" ] || fail "PG_BIN names no folder with initdb, pg_ctl and postgres in it"
        printf '%s\n' "$PG_BIN"
        return
    fi
    found=$(command -v postgres || true)
    [ -z "$found" ] || found=$(dirname "$(readlink -f "$found")")
    for dir in "$found" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /usr/local/pgsql*/bin \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin /home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin; do
        version=$(postgres_version "$dir")
        if [ "${version:-0}" -gt "$newest" ]; then
            newest=$version
            best=$dir
        fi
    done
    if [ -n "$best" ] && [ "$newest" -lt "$OLDEST_POSTGRES" ]; then
        fail "PostgreSQL $newest is installed; $OLDEST_POSTGRES or newer is needed: https://www.postgresql.org/download"
    fi
    printf '%s\n' "$best"
}

# PostgreSQL's programs. Nothing has to be set up or run: the server and the tests make clusters of their own.
need_postgres() {
    local programs
    programs=$(postgres_programs)
    [ -z "$programs" ] || return 0
    install_packages PostgreSQL postgresql postgresql-server postgresql postgresql@17
    programs=$(postgres_programs)
    [ -n "$programs" ] || fail "PostgreSQL was installed, but its programs are not found; set PG_BIN to their folder"
}
