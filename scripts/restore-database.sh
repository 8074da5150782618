#!/usr/bin/env bash
# Restores a backup: into a new database first, and only when that is found to be whole it takes the place of the old one.
#
#   ./scripts/restore-database.sh FOLDER              asks before the databases are swapped
#   ./scripts/restore-database.sh FOLDER --yes        does not ask
#   ./scripts/restore-database.sh FOLDER --verify     restores, verifies, and removes what it made: is this backup good?
#
# Verified are the checksums, that every statement of the dump runs, the number of rows of each table, that what always holds
# (tests/invariants.sql) holds, and that each uploaded file is there with the checksum that the database has for it. The old
# database and files stay beside the new, as …_before_…, until you remove them. Stop the servers first: whoever is connected
# when the databases are swapped is disconnected.
#
# It connects as a superuser, by DATABASE_URL, POSTGRES_* or PGHOST, PGUSER …; names of roles are those of init-db.sh. Also
# from the environment:
#   DB_NAME       the database to replace     the one that the URL names, or swincms
#   MEDIA_ROOT    the uploaded files          .data/media
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/database-url.sh
. "$here/database-url.sh"

backup='' yes=false verify_only=false
for argument in "$@"; do
    case "$argument" in
        --yes) yes=true ;;
        --verify) verify_only=true ;;
        -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
        -*) fail "unknown argument: $argument" ;;
        *) [ -z "$backup" ] || fail "one folder is expected"; backup=$argument ;;
    esac
done
[ -n "$backup" ] || fail "say which backup: $0 FOLDER"
[ -d "$backup" ] || fail "$backup is no folder"
case "$(basename "$backup")" in .unfinished-*) fail "$backup was never finished" ;; esac
command -v pg_restore >/dev/null || fail "pg_restore is not installed"

use_database
DB_NAME=${DB_NAME:-${PGDATABASE:-swincms}}
[[ $DB_NAME =~ ^[a-zA-Z_][a-zA-Z0-9_]*$ && $DB_NAME != postgres ]] || fail "DB_NAME is no name of a database of ours"
MEDIA_ROOT=${MEDIA_ROOT:-.data/media}
export PGDATABASE=postgres
stamp=$(date -u +%Y%m%d%H%M%S)
new=${DB_NAME}_new_$stamp
old=${DB_NAME}_before_$stamp
new_media=$MEDIA_ROOT/.new-$stamp
old_media=$MEDIA_ROOT/.before-$stamp
umask 027

swapped=false
clean_up() {
    if ! $swapped; then
        rm -rf "$new_media"
        ask -c "drop database if exists $new" >/dev/null 2>&1 || say "look whether the database $new is left over"
    fi
}

say "1. checksums"
for file in database.dump media.tar rows.tsv SHA256SUMS; do
    [ -f "$backup/$file" ] || fail "$backup has no $file: it is not whole, or no backup of ours"
done
[ "$(awk '{ print $2 }' "$backup/SHA256SUMS" | sort | tr '\n' ' ')" = "database.dump media.tar rows.tsv " ] \
    || fail "SHA256SUMS does not name the three files of a backup"
(cd "$backup" && sha256sum --check --strict --quiet SHA256SUMS) || fail "the backup is damaged; nothing was changed"

say "2. the dump, into the new database $new"
trap clean_up EXIT
if ! said=$(DB_NAME=$new "$here/init-db.sh" 2>&1); then fail "the new database could not be made: $said"; fi
pg_restore --exit-on-error --no-owner --no-privileges --role="${OWNER_ROLE:-swincms_owner}" --dbname="$new" "$backup/database.dump" \
    || fail "the dump cannot be restored; nothing was changed"
if ! said=$(DB_NAME=$new "$here/init-db.sh" --grants 2>&1); then fail "the rights could not be given: $said"; fi

say "3. rows"
while IFS=$'\t' read -r table count; do
    found=$(ask -d "$new" -c "select count(*) from $table") || fail "the table $table is missing; nothing was changed"
    [ "$found" = "$count" ] || fail "$table has $found rows, the backup had $count; nothing was changed"
done <"$backup/rows.tsv"

say "4. what always holds"
broken=0
statement=''
while IFS= read -r line || [ -n "$line" ]; do
    statement+=$line$'\n'
    [[ $line == *\; ]] || continue
    rows=$(ask -d "$new" -c "select count(*) from (${statement%;*}
) broken") || fail "tests/invariants.sql does not fit this backup's schema; nothing was changed"
    if [ "$rows" -ne 0 ]; then
        say "   $rows rows break this: $(grep -m1 '^--' <<<"$statement" | cut -c4-)"
        broken=1
    fi
    statement=''
done <"$here/../tests/invariants.sql"
[ "$broken" -eq 0 ] || fail "the backup breaks what always holds; nothing was changed"

say "5. uploaded files"
mkdir -p "$new_media/public" "$new_media/private"
tar --extract --file="$backup/media.tar" --directory="$new_media" --no-same-owner || fail "the uploaded files cannot be unpacked"
ask -d "$new" -c "select encode(sha256, 'hex') || '  ' || case when public and not hidden then 'public/' else 'private/' end || name
                    from stored_files where deleted_at is null order by id" >"$new_media/.sums"
# With no files there is nothing to check, which sha256sum takes for a fault.
if [ -s "$new_media/.sums" ] && ! (cd "$new_media" && sha256sum --check --strict --quiet .sums >&2); then
    fail "uploaded files are missing or not what the database says; nothing was changed"
fi
rm "$new_media/.sums"
# The server, and nginx beside it, must be able to read what whoever runs this has unpacked.
[ ! -e "$MEDIA_ROOT/public" ] || chown -R --reference="$MEDIA_ROOT/public" "$new_media" 2>/dev/null || true
chmod -R u=rwX,g=rwX,o=rX "$new_media"

if $verify_only; then
    say "The backup is good; nothing was changed."
    exit
fi
if ! $yes; then
    [ -t 0 ] || fail "there is nobody to ask; with --yes it is done without asking. Nothing was changed"
    read -r -p "Everything written since the backup will be put aside. Replace the database $DB_NAME? [yes/no] " answer
    [ "$answer" = yes ] || fail "as you say; nothing was changed"
fi

say "6. the swap"
exists=$(ask -c "select count(*) from pg_database where datname = '$DB_NAME'")
{
    if [ "$exists" = 1 ]; then
        # Nobody comes in between; a database that refuses connections can still be renamed.
        echo "alter database $DB_NAME allow_connections false;"
        echo "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '$DB_NAME';"
        echo "begin; alter database $DB_NAME rename to $old; alter database $new rename to $DB_NAME; commit;"
        echo "alter database $old allow_connections true;"
    else
        echo "alter database $new rename to $DB_NAME;"
    fi
} | ask >/dev/null || {
    ask -c "alter database $DB_NAME allow_connections true" >/dev/null 2>&1 || true
    fail "the databases could not be swapped; the old one is in place"
}
swapped=true
for part in public private; do
    # Beside where it was: who may write the folder above, but not this one, can rename it there and move it nowhere else.
    [ ! -e "$MEDIA_ROOT/$part" ] || mv "$MEDIA_ROOT/$part" "$old_media-$part"
    mv "$new_media/$part" "$MEDIA_ROOT/$part"
done
rm -rf "$new_media"
say "Restored. What was there before: the database $old and the folders $old_media-…; remove them when all is well."
