#!/usr/bin/env bash
# Writes a backup of the database and the uploaded files, and removes backups that have had their time.
#
#   ./scripts/backup-database.sh                   now
#   ./scripts/backup-database.sh --daily 02:30     each day at this time (UTC), for a container; a failure is told and the
#                                                  next day's is made all the same
#   ./scripts/backup-database.sh --check           says whether the newest one is good: not older than 26 hours, no file
#                                                  missing, not found bad by restore-database.sh --verify
#
# A backup is a folder, BACKUP_DIR/swincms-20260131T023000Z, with database.dump (pg_dump's custom format), media.tar, rows.tsv
# (how many rows each table had in the dump) and SHA256SUMS. It gets its name when it is whole: what is called
# `.unfinished-…` is none. Restore it with scripts/restore-database.sh. The last line on standard output is the folder.
#
# It ends with 3 when the backup was made, but uploaded files that the database names are not in MEDIA_ROOT: they stand in
# missing.txt, and a backup of another day may have them.
#
# It connects as DATABASE_URL, POSTGRES_* or PGHOST, PGUSER … say. From the environment also:
#   MEDIA_ROOT    the uploaded files          .data/media
#   BACKUP_DIR    where backups are           .data/backups
#   KEEP_DAYS     how long they are kept      30; the newest one is kept however old it is
set -euo pipefail
# shellcheck source=scripts/database-url.sh
. "$(dirname "${BASH_SOURCE[0]}")/database-url.sh"

daily=''
case "${1:-}" in
    '') ;;
    --daily) daily=${2:-} ;;
    --check) ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
    *) fail "unknown argument: $1" ;;
esac

MEDIA_ROOT=${MEDIA_ROOT:-.data/media}
BACKUP_DIR=${BACKUP_DIR:-.data/backups}
KEEP_DAYS=${KEEP_DAYS:-30}
[[ $KEEP_DAYS =~ ^[1-9][0-9]*$ ]] || fail "KEEP_DAYS is no number of days"
umask 077

# Reads a line of the session that holds the snapshot.
from_session() {
    local line
    IFS= read -r -t 600 line <&"${session[0]}" || fail "the database did not answer, or refused"
    printf '%s' "$line"
}

# The files' names, which are ours; `.partial` is half a file.
media_files() {
    local part
    for part in public private; do
        # Neither is there before the first start of a server.
        [ ! -d "$MEDIA_ROOT/$part" ] || (cd "$MEDIA_ROOT" && find "$part" -type f ! -name '*.partial')
    done | LC_ALL=C sort
}

# Arguments: what tar does with the archive, and the list of files. Files never change, but one may be gone by now (code 1).
archive() {
    local code=0 said
    # 9 is the lock, which must not outlive this script in a child.
    said=$(LC_ALL=C tar --file="$unfinished/media.tar" --directory="$MEDIA_ROOT" --ignore-failed-read --warning=no-failed-read "$@" \
        2>&1 9>&-) || code=$?
    [ "$code" -gt 1 ] || return 0
    say "$said"
    case "$said" in
        *'No space left on device'* | *'Disk quota exceeded'*) fail "there is no room for the uploaded files in $BACKUP_DIR (BACKUP_DIR)" ;;
    esac
    fail "the uploaded files could not be read from $MEDIA_ROOT (MEDIA_ROOT)"
}

one_backup() {
    local name unfinished snapshot table tables=() count missing=0 parts
    command -v pg_dump >/dev/null || fail "pg_dump is not installed"
    mkdir -p "$BACKUP_DIR"
    [ -d "$MEDIA_ROOT" ] || fail "$MEDIA_ROOT is no folder (MEDIA_ROOT)"
    exec 9>"$BACKUP_DIR/.lock"
    flock -n 9 || fail "another backup is being written to $BACKUP_DIR"
    name=swincms-$(date -u +%Y%m%dT%H%M%SZ)
    [ ! -e "$BACKUP_DIR/$name" ] || fail "$BACKUP_DIR/$name is there already"
    # Left behind by a backup that was killed; the lock says that nobody writes it.
    rm -rf "$BACKUP_DIR"/.unfinished-*
    unfinished=$BACKUP_DIR/.unfinished-$name
    mkdir "$unfinished"
    # shellcheck disable=SC2064
    trap "rm -rf $(printf %q "$unfinished")" EXIT

    # The files before the dump and, below, after it: none that the dump names is missing, be it added or removed meanwhile.
    media_files >"$unfinished/files"
    archive --create --files-from="$unfinished/files"
    rm "$unfinished/files"

    # One session keeps a snapshot open, which the dump and the counts share.
    # shellcheck disable=SC2119
    coproc session { ask 2>&1; }
    echo "begin isolation level repeatable read read only; select pg_export_snapshot();" >&"${session[1]}"
    snapshot=$(from_session)
    [[ $snapshot =~ ^[0-9A-F-]+$ ]] || fail "the database refused: $snapshot"
    pg_dump --format=custom --snapshot="$snapshot" --file="$unfinished/database.dump" 9>&- \
        || fail "the dump could not be written to $BACKUP_DIR (BACKUP_DIR)"
    # With the dump's eyes: the files that it names. A schema from before there were files names none.
    {
        echo "begin isolation level repeatable read read only; set transaction snapshot '$snapshot';"
        echo "select case when public and not hidden then 'public/' else 'private/' end || name
                from stored_files where deleted_at is null;"
    } | ask 9>&- | LC_ALL=C sort >"$unfinished/named"
    echo "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.relkind = 'r' and n.nspname = 'public' order by 1; select '.';" >&"${session[1]}"
    while true; do
        table=$(from_session)
        [ "$table" != . ] || break
        tables+=("$table")
    done
    for table in ${tables[@]+"${tables[@]}"}; do
        echo "select count(*) from $table;" >&"${session[1]}"
        count=$(from_session)
        [[ $count =~ ^[0-9]+$ ]] || fail "the rows of $table could not be counted: $count"
        printf '%s\t%s\n' "$table" "$count"
    done >"$unfinished/rows.tsv"
    echo '\q' >&"${session[1]}"
    wait "${session_PID:-}" 2>/dev/null || true

    # What has been added since; a file is on the disk before the row that names it commits.
    comm -13 <(tar --list --file="$unfinished/media.tar" | LC_ALL=C sort) <(media_files) >"$unfinished/added"
    archive --append --files-from="$unfinished/added"
    rm "$unfinished/added"
    LC_ALL=C comm -13 <(tar --list --file="$unfinished/media.tar" | LC_ALL=C sort -u) "$unfinished/named" >"$unfinished/missing.txt"
    rm "$unfinished/named"
    missing=$(wc -l <"$unfinished/missing.txt")
    parts=(database.dump media.tar rows.tsv)
    if [ "$missing" -gt 0 ]; then parts+=(missing.txt); else rm "$unfinished/missing.txt"; fi
    (cd "$unfinished" && sha256sum "${parts[@]}" >SHA256SUMS)
    sync "$unfinished"/* "$unfinished"
    mv "$unfinished" "$BACKUP_DIR/$name"
    trap - EXIT
    sync "$BACKUP_DIR"
    say "$(du -sh "$BACKUP_DIR/$name" | cut -f1) in $name: $(awk -F '\t' '{ n += $2 } END { print n + 0 }' "$BACKUP_DIR/$name/rows.tsv") rows"
    remove_old "$name"
    printf '%s\n' "$BACKUP_DIR/$name"
    if [ "$missing" -gt 0 ]; then
        say "error: uploaded files that the database names are not in $MEDIA_ROOT: $missing; all else is in the backup. They are:"
        head -n 10 "$BACKUP_DIR/$name/missing.txt" | sed 's/^/  /' >&2
        [ "$missing" -le 10 ] || say "  and $((missing - 10)) more, in $BACKUP_DIR/$name/missing.txt"
        return 3
    fi
}

# What a health check and an operator ask; the verdict is that of restore-database.sh --verify.
check() {
    local newest made age verdict=''
    newest=$(newest_backup)
    [ -n "$newest" ] || fail "there is no backup in $BACKUP_DIR"
    made=${newest##*swincms-}
    age=$((($(date -u +%s) - $(date -u -d "${made:0:8} ${made:9:2}:${made:11:2}:${made:13:2}" +%s)) / 3600))
    [ "$age" -lt 26 ] || fail "the newest backup, $newest, is $age hours old"
    [ ! -e "$newest/missing.txt" ] || fail "uploaded files are missing from $newest: $(wc -l <"$newest/missing.txt")"
    [ ! -e "$newest/verdict" ] || verdict=$(cut -f 1 "$newest/verdict")
    [ "$verdict" != bad ] || fail "$newest was found bad: $(cut -f 3 "$newest/verdict")"
    say "$newest is $age hours old, and ${verdict:-not verified yet}"
}

# By the date in the name, whatever the disk says. Only what has a name of ours is touched.
remove_old() {
    local newest=$1 oldest folder
    oldest=swincms-$(date -u -d "-$KEEP_DAYS days" +%Y%m%dT%H%M%SZ)
    for folder in "$BACKUP_DIR"/swincms-[0-9]*T[0-9]*Z; do
        folder=${folder##*/}
        if [[ $folder =~ ^swincms-[0-9]{8}T[0-9]{6}Z$ && $folder < $oldest && $folder != "$newest" ]]; then
            rm -rf "${BACKUP_DIR:?}/$folder"
            say "removed $folder, which is older than $KEEP_DAYS days"
        fi
    done
}

if [ "${1:-}" = --check ]; then
    check
    exit
fi
use_database
if [ -z "$daily" ]; then
    one_backup
    exit
fi
[[ $daily =~ ^([01][0-9]|2[0-3]):[0-5][0-9]$ ]] || fail "a time such as 02:30 is expected after --daily"
# As the first process of a container, a shell without a handler would not hear that it is to stop.
sleeping=''
trap '[ -z "$sleeping" ] || kill "$sleeping"; exit 0' TERM INT
while true; do
    now=$(date -u +%s)
    next=$(date -u -d "today $daily" +%s)
    [ "$next" -gt "$now" ] || next=$(date -u -d "tomorrow $daily" +%s)
    say "the next backup is at $(date -u -d "@$next" +%FT%TZ)"
    sleep $((next - now)) &
    sleeping=$!
    wait "$sleeping"
    sleeping=''
    code=0
    "$0" || code=$?
    case "$code" in 0 | 3) ;; *) say "error: there is no backup of today" ;; esac
done
