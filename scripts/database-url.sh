# shellcheck shell=bash
# Sourced by the scripts that speak to a database. Turns what the server is configured with (DATABASE_URL or POSTGRES_*) into
# the variables that PostgreSQL's programs read, so that no password stands on a command line.

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

say() { printf '%s\n' "$*" >&2; }

# A value of the setting, or what the file of `NAME_FILE` holds.
setting() {
    local file_name=${1}_FILE
    if [ -n "${!1:-}" ]; then
        printf '%s' "${!1}"
    elif [ -n "${!file_name:-}" ]; then
        [ -r "${!file_name}" ] || fail "$file_name names no file that can be read"
        printf '%s' "$(<"${!file_name}")"
    fi
}

# `%40` is `@`.
decoded() {
    local text=${1//\\/%5C}
    printf '%b' "${text//%/\\x}"
}

# Arguments: the URL. Sets PGHOST and its kin.
use_url() {
    local url=$1 rest query='' login='' place pair name value
    [[ $url =~ ^postgres(ql)?:// ]] || fail "the database's URL does not begin with postgres://"
    rest=${url#*://}
    if [[ $rest == *\?* ]]; then
        query=${rest#*\?}
        rest=${rest%%\?*}
    fi
    place=${rest%%/*}
    export PGDATABASE PGUSER PGPASSWORD PGHOST PGPORT
    [[ $rest != */* ]] || PGDATABASE=$(decoded "${rest#*/}")
    if [[ $place == *@* ]]; then
        login=${place%@*}
        place=${place##*@}
        PGUSER=$(decoded "${login%%:*}")
        [[ $login != *:* ]] || PGPASSWORD=$(decoded "${login#*:}")
    fi
    if [[ $place == \[* ]]; then
        value=${place%%]*}
        PGHOST=${value#[}
        place=${place#*]}
        [[ $place != :* ]] || PGPORT=${place#:}
    elif [ -n "$place" ]; then
        PGHOST=$(decoded "${place%%:*}")
        [[ $place != *:* ]] || PGPORT=${place##*:}
    fi
    while [ -n "$query" ]; do
        pair=${query%%&*}
        if [[ $query == *\&* ]]; then query=${query#*&}; else query=''; fi
        name=${pair%%=*}
        value=$(decoded "${pair#*=}")
        case "$name" in
            host) PGHOST=$value ;;
            port) PGPORT=$value ;;
            dbname) PGDATABASE=$value ;;
            user) PGUSER=$value ;;
            password) PGPASSWORD=$value ;;
            sslmode | ssl-mode) export PGSSLMODE="$value" ;;
            sslrootcert | ssl-root-cert | ssl-ca) export PGSSLROOTCERT="$value" ;;
            sslcert | ssl-cert) export PGSSLCERT="$value" ;;
            sslkey | ssl-key) export PGSSLKEY="$value" ;;
        esac
    done
}

# The database that DATABASE_URL or POSTGRES_* name; with neither, what PGHOST and its kin say already.
use_database() {
    local url host value
    url=$(setting DATABASE_URL)
    host=$(setting POSTGRES_HOST)
    if [ -n "$url" ]; then
        use_url "$url"
    elif [ -n "$host" ]; then
        export PGHOST="$host" PGPORT="${POSTGRES_PORT:-5432}" PGDATABASE="${POSTGRES_DB:-swincms}" PGUSER="${POSTGRES_USER:-swincms}"
        value=$(setting POSTGRES_PASSWORD)
        [ -z "$value" ] || export PGPASSWORD="$value"
    fi
    [ -z "${POSTGRES_SSLMODE:-}" ] || export PGSSLMODE="${PGSSLMODE:-$POSTGRES_SSLMODE}"
    [ -z "${POSTGRES_SSLROOTCERT:-}" ] || export PGSSLROOTCERT="$POSTGRES_SSLROOTCERT"
    [ -z "${POSTGRES_SSLCERT:-}" ] || export PGSSLCERT="$POSTGRES_SSLCERT"
    [ -z "${POSTGRES_SSLKEY:-}" ] || export PGSSLKEY="$POSTGRES_SSLKEY"
    export PGCONNECT_TIMEOUT="${PGCONNECT_TIMEOUT:-10}" PGAPPNAME="${PGAPPNAME:-swincms scripts}"
}

# The newest whole backup in BACKUP_DIR; nothing when there is none.
newest_backup() {
    local folder newest=''
    for folder in "$BACKUP_DIR"/swincms-[0-9]*T[0-9]*Z; do
        [[ ! -d $folder || ! ${folder##*/} =~ ^swincms-[0-9]{8}T[0-9]{6}Z$ ]] || newest=$folder
    done
    printf '%s' "$newest"
}

# psql that stops at the first error, reads no ~/.psqlrc and prints bare values.
ask() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
