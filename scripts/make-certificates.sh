#!/usr/bin/env bash
# Makes a private authority, and with it the certificates by which database and clients know each other.
#
#   ./scripts/make-certificates.sh FOLDER
#
# Afterwards there are FOLDER/ca with the authority's key, which nothing that runs needs; FOLDER/server for PostgreSQL; and a
# folder for each role. Each has tls.crt, tls.key and the authority's ca.crt. What is there and good for another 30 days stays
# as it is, what is not is made anew by the same authority: run it once a month.
#
# From the environment:
#   SERVER_NAMES   names and addresses of the database server           postgres,localhost,127.0.0.1
#   CLIENTS        roles that log in                                    swincms swincms_migrate swincms_backup
#   SITE_NAMES     names of the site; makes FOLDER/site as well, for    none
#                  a trial without a certificate of a public authority
#   DAYS           how long certificates are good                       397
#   OWNERS         whose the files are, as folder=user:group; for root  as who runs it
set -euo pipefail

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

case "${1:-}" in
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
    '' | -*) fail "say into which folder: $0 FOLDER" ;;
esac
[ $# -eq 1 ] || fail "one folder is expected"
command -v openssl >/dev/null || fail "openssl is not installed"

days=${DAYS:-397}
[[ $days =~ ^[0-9]+$ ]] || fail "DAYS is no number"
mkdir -p "$1"
cd "$1"
umask 077

good() { openssl x509 -in "$1" -noout -checkend $((30 * 86400)) >/dev/null 2>&1; }

# A new key, beside the one in use.
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$1" 2>/dev/null; }

if [ ! -f ca/tls.key ]; then
    mkdir -p ca
    new_key ca/tls.key.new
    openssl req -x509 -new -key ca/tls.key.new -sha256 -days 3650 -subj "/CN=SwinCMS private authority" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca/tls.crt
    mv ca/tls.key.new ca/tls.key
    echo "made the authority" >&2
fi
good ca/tls.crt || fail "the authority's certificate ends soon: move the folder ca away, run this again, and restart all that use it"

# Arguments: the folder, the name, what it is used for, and its other names as openssl writes them.
certificate() {
    local folder=$1 name=$2 use=$3 names=${4:-}
    mkdir -p "$folder"
    if [ -f "$folder/tls.key" ] && good "$folder/tls.crt" \
        && openssl verify -CAfile ca/tls.crt "$folder/tls.crt" >/dev/null 2>&1; then
        echo "$folder: kept" >&2
    else
        new_key "$folder/tls.key.new"
        openssl req -new -key "$folder/tls.key.new" -subj "/CN=$name" -out "$folder/request"
        {
            echo "basicConstraints=critical,CA:FALSE"
            echo "keyUsage=critical,digitalSignature"
            echo "extendedKeyUsage=$use"
            [ -z "$names" ] || echo "subjectAltName=$names"
        } >"$folder/extensions"
        openssl x509 -req -in "$folder/request" -CA ca/tls.crt -CAkey ca/tls.key -set_serial "0x00$(openssl rand -hex 16)" \
            -sha256 -days "$days" -extfile "$folder/extensions" -out "$folder/tls.crt.new" 2>/dev/null
        rm "$folder/request" "$folder/extensions"
        mv "$folder/tls.key.new" "$folder/tls.key"
        mv "$folder/tls.crt.new" "$folder/tls.crt"
        echo "$folder: made, good for $days days" >&2
    fi
    cp ca/tls.crt "$folder/ca.crt"
    chmod 644 "$folder/tls.crt" "$folder/ca.crt"
    chmod 755 "$folder"
    chmod 600 "$folder/tls.key"
    local owner
    for owner in ${OWNERS:-}; do
        [ "${owner%%=*}" != "$folder" ] || chown -R "${owner#*=}" "$folder"
    done
}

# `a,b,127.0.0.1` as openssl writes it.
alternatives() {
    local name all='' each
    IFS=, read -ra each <<<"$1"
    for name in "${each[@]}"; do
        if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then all+=",IP:$name"; else all+=",DNS:$name"; fi
    done
    printf '%s' "${all#,}"
}

server_names=${SERVER_NAMES:-postgres,localhost,127.0.0.1}
certificate server "${server_names%%,*}" serverAuth "$(alternatives "$server_names")"
for client in ${CLIENTS:-swincms swincms_migrate swincms_backup}; do
    certificate "$client" "$client" clientAuth
done
if [ -n "${SITE_NAMES:-}" ]; then
    certificate site "${SITE_NAMES%%,*}" serverAuth "$(alternatives "$SITE_NAMES")"
fi
