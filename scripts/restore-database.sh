#!/usr/bin/env bash
# Restores a backup: into a new database first, and only when that is found to be whole it takes the place of the old one.
#
#   ./scripts/restore-database.sh FOLDER              asks before the databases are swapped
#   ./scripts/restore-database.sh FOLDER --yes        does not ask
#   ./scripts/restore-database.sh FOLDER --verify     restores, verifies, and removes what it made: is this backup good?
#   ./scripts/restore-database.sh --newest --verify   the newest in BACKUP_DIR, as each week
#
# Verified are the checksums, that every statement of the dump runs, the number of rows of each table, that what always holds
# (tests/invariants.sql) holds, and that each uploaded file is there with the checksum that the database has for it. The old
# database and files stay beside the new, as …_before_…, until you remove them. Stop the servers first: whoever is connected
# when the databases are swapped is disconnected. What --verify finds it also writes into the backup, as `verdict`, which
# `backup-database.sh --check` and `swincms check --deploy` read. Files that were missing when the backup was made (missing.txt)
# are told, and keep nobody from restoring the rest.
#
# It connects as a superuser, by DATABASE_URL, POSTGRES_* or PGHOST, PGUSER …; names of roles are those of init-db.sh. Also
# from the environment:
#   DB_NAME       the database to replace     the one that the URL names, or swincms
#   MEDIA_ROOT    the uploaded files          .data/media
#   BACKUP_DIR    where --newest looks        .data/backups
#   JOBS          how many sessions load      as many as there are cores, at most 4
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/database-url.sh
. "$here/database-url.sh"

backup='' yes=false verify_only=false
for argument in "$@"; do
    case "$argument" in
        --yes) yes=true ;;
        --verify) verify_only=true ;;
        --newest)
            BACKUP_DIR=${BACKUP_DIR:-.data/backups}
            backup=$(newest_backup)
            [ -n "$backup" ] || fail "there is no backup in $BACKUP_DIR (BACKUP_DIR)"
            ;;
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
JOBS=${JOBS:-$(nproc 2>/dev/null || echo 1)}
[[ $JOBS =~ ^[1-9][0-9]*$ ]] || fail "JOBS is no number of sessions"
[ "$JOBS" -le 4 ] || JOBS=4
umask 027

# A step of the work, and how long the one before it took.
step_began=$SECONDS step_name=''
step() {
    [ -z "$step_name" ] || [ $((SECONDS - step_began)) -lt 2 ] || say "   took $((SECONDS - step_began)) s"
    step_began=$SECONDS step_name=$1
    [ -z "$1" ] || say "$1"
}

# What a verification ended with, for those who look at the backup later.
verdict() {
    $verify_only || return 0
    printf '%s\t%s\t%s\n' "$1" "$(date -u +%FT%TZ)" "${2:-}" >"$backup/.verdict" 2>/dev/null \
        && mv -f "$backup/.verdict" "$backup/verdict" \
        || say "warning: the verdict could not be written into $backup"
}
# The backup is no good, which is another thing than that it could not be looked at.
bad() {
    verdict bad "$*"
    fail "$*"
}

swapped=false
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
clean_up() {
    if ! $swapped; then
        rm -rf "$new_media"
        ask -c "drop database if exists $new" >/dev/null 2>&1 || say "look whether the database $new is left over"
    fi
}

step "1. checksums"
for file in database.dump media.tar rows.tsv SHA256SUMS; do
    [ -f "$backup/$file" ] || bad "$backup has no $file: it is not whole, or no backup of ours"
done
has_missing=''
[ ! -e "$backup/missing.txt" ] || has_missing='missing.txt '
[ "$(awk '{ print $2 }' "$backup/SHA256SUMS" | LC_ALL=C sort | tr '\n' ' ')" = "database.dump media.tar ${has_missing}rows.tsv " ] \
    || bad "SHA256SUMS does not name the files of a backup"
(cd "$backup" && sha256sum --check --strict --quiet SHA256SUMS) || bad "the backup is damaged; nothing was changed"

step "2. the dump ($(du -sh "$backup/database.dump" | cut -f1), $(awk -F '\t' '{ n += $2 } END { print n + 0 }' "$backup/rows.tsv") rows), into the new database $new"
trap clean_up EXIT
# A restore that was killed a day ago and more can remove nothing itself. Nobody else makes databases of this name.
while IFS= read -r left; do
    [[ $left =~ ^${DB_NAME}_new_([0-9]{14})$ && ${BASH_REMATCH[1]} < $(date -u -d '-1 day' +%Y%m%d%H%M%S) ]] || continue
    say "   removing $left, which a restore has left behind"
    ask -c "drop database if exists $left" >/dev/null || say "   $left could not be removed"
done < <(ask -c "select datname from pg_database where datname like '${DB_NAME//_/\\_}\\_new\\_%'")
if ! said=$(DB_NAME=$new "$here/init-db.sh" 2>&1); then fail "the new database could not be made: $said"; fi
# It names each table that it has begun, which is all the progress that there is to tell.
LC_ALL=C pg_restore --verbose --jobs="$JOBS" --exit-on-error --no-owner --no-privileges --role="${OWNER_ROLE:-swincms_owner}" \
    --dbname="$new" "$backup/database.dump" 2> >(awk '
        /processing data for table/ { gsub(/.*processing data for table |"/, ""); print "   " $0; fflush(); next }
        /^pg_restore: (connecting|creating|processing|executing|entering|launching|finished|implied|dropping|setting|no item|starting|adding|skipping|reading|while|transferring|reducing|disabling|enabling)/ { next }
        { print }' >&2) \
    || bad "the dump cannot be restored; nothing was changed"
if ! said=$(DB_NAME=$new "$here/init-db.sh" --grants 2>&1); then fail "the rights could not be given: $said"; fi
# Without statistics what follows, and the server after it, would be planned for empty tables.
step "   statistics"
ask -d "$new" -c analyze || fail "the tables could not be analysed; nothing was changed"

step "3. rows"
while IFS=$'\t' read -r table count; do
    found=$(ask -d "$new" -c "select count(*) from $table") || bad "the table $table is missing; nothing was changed"
    [ "$found" = "$count" ] || bad "$table has $found rows, the backup had $count; nothing was changed"
done <"$backup/rows.tsv"

step "4. what always holds"
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
[ "$broken" -eq 0 ] || bad "the backup breaks what always holds; nothing was changed"

step "5. uploaded files"
mkdir -p "$new_media/public" "$new_media/private"
tar --extract --file="$backup/media.tar" --directory="$new_media" --no-same-owner || bad "the uploaded files cannot be unpacked"
ask -d "$new" -c "select encode(sha256, 'hex') || '  ' || case when public and not hidden then 'public/' else 'private/' end || name
                    from stored_files where deleted_at is null order by id" >"$new_media/.sums"
if [ -n "$has_missing" ]; then
    # Their lines are found by name; what is there all the same is checked like the others.
    awk 'NR == FNR { gone[$0]; next } { name = substr($0, 67) } !(name in gone)' "$backup/missing.txt" "$new_media/.sums" >"$new_media/.kept"
    mv "$new_media/.kept" "$new_media/.sums"
    say "   $(wc -l <"$backup/missing.txt") files were missing already when the backup was made: $backup/missing.txt"
fi
# With no files there is nothing to check, which sha256sum takes for a fault.
if [ -s "$new_media/.sums" ] && ! (cd "$new_media" && sha256sum --check --strict --quiet .sums >&2); then
    bad "uploaded files are missing or not what the database says; nothing was changed"
fi
rm "$new_media/.sums"
# The server, and nginx beside it, must be able to read what whoever runs this has unpacked.
[ ! -e "$MEDIA_ROOT/public" ] || chown -R --reference="$MEDIA_ROOT/public" "$new_media" 2>/dev/null || true
chmod -R u=rwX,g=rwX,o=rX "$new_media"

step ''
if $verify_only; then
    verdict good
    say "The backup is good${has_missing:+ but for those files}; nothing was changed. All this took $SECONDS s."
    exit
fi
if ! $yes; then
    [ -t 0 ] || fail "there is nobody to ask; with --yes it is done without asking. Nothing was changed"
    read -r -p "Everything written since the backup will be put aside. Replace the database $DB_NAME? [yes/no] " answer
    [ "$answer" = yes ] || fail "as you say; nothing was changed"
fi

step "6. the swap"
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
