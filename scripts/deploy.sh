#!/usr/bin/env bash
# Brings a new version into the set-up of docker-compose-prod.yaml, without an interruption.
#
#   ./scripts/deploy.sh          shows what the migrations would do, and asks
#   ./scripts/deploy.sh --yes    does not ask
#   IMAGE_TAG=v1.4 ./scripts/deploy.sh --back    goes back to a version whose image is still there: neither images nor
#                                                migrations, the schema stays
#
# A backup, the images, certificates that end soon, the plan of the migrations, the migrations; then each replica in turn: out
# of nginx, drained, replaced, healthy, back in. When a replica does not become healthy, those that were replaced get the
# version back that was there before. Migrations stay: each goes with the version before it, too.
#
# From the environment:
#   IMAGE_TAG        name of the new version           what `git describe` says
#   HEALTH_SECONDS   how long a replica may take       60
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

yes=false back=false
for argument in "$@"; do
    case "$argument" in
        --yes) yes=true ;;
        --back) back=true ;;
        -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
        *) fail "unknown argument: $argument" ;;
    esac
done

new=${IMAGE_TAG:-$(git describe --always --dirty 2>/dev/null || true)}
[ -n "$new" ] || fail "there is no git here to name the version; set IMAGE_TAG"
health_seconds=${HEALTH_SECONDS:-60}
readonly REPLICAS="backend-1 backend-2"

compose() { IMAGE_TAG=$tag docker compose -f docker-compose-prod.yaml "$@"; }

# The address at which nginx knows a replica.
address() {
    case $1 in
        backend-1) echo 172.31.250.11:8000 ;;
        backend-2) echo 172.31.250.12:8000 ;;
    esac
}

# Tells nginx which replica gets nothing; without an argument all get some.
leave_out() {
    compose exec -T -e DOWN="${1:-}" nginx sh -c \
        '/opt/swincms/nginx-conf.sh > /tmp/nginx.conf.new && nginx -t -q -c /tmp/nginx.conf.new \
            && mv /tmp/nginx.conf.new /tmp/nginx.conf && nginx -c /tmp/nginx.conf -s reload'
    # By now the workers that knew nothing of it take no more requests.
    sleep 2
}

healthy() {
    local id state left=$health_seconds
    while [ "$left" -gt 0 ]; do
        id=$(compose ps --quiet "$1")
        state=$(docker inspect --format '{{.State.Health.Status}}' "$id" 2>/dev/null || true)
        [ "$state" != healthy ] || return 0
        sleep 1
        left=$((left - 1))
    done
    return 1
}

# One replica with the images of `tag`. Called in conditions, where bash stops at no failure by itself.
replace() {
    leave_out "$(address "$1")" || return 1
    compose up --detach --no-deps --no-build --force-recreate "$1" || return 1
    healthy "$1" || return 1
    leave_out
}

tag=$new
compose config --quiet || fail "docker-compose-prod.yaml or the settings in .env are not in order"
running=$(compose ps --quiet backend-1 || true)
old=''
if [ -n "$running" ]; then
    image=$(docker inspect --format '{{.Config.Image}}' "$running")
    old=${image##*:}
fi
[ -n "$old" ] || fail "nothing is running; for the first start: IMAGE_TAG=$new docker compose -f docker-compose-prod.yaml up -d --build"
[ "$old" != "$new" ] || fail "version $new is running already"

if $back; then
    docker image inspect "swincms:$new" >/dev/null 2>&1 || fail "there is no image swincms:$new any more; nothing was changed"
fi

say "== backup"
tag=$old
code=0
compose exec -T backup ./scripts/backup-database.sh || code=$?
# 3: uploaded files are missing, which this deployment neither made nor mends; what is there is in the backup.
case "$code" in 0 | 3) ;; *) fail "there is no backup; nothing was changed" ;; esac

tag=$new
if ! $back; then
    say "== images of $new"
    compose build || fail "the images could not be built; nothing was changed"

    say "== certificates and roles"
    compose run --rm --no-deps -T certificates || fail "the certificates could not be looked at; version $old goes on"
    compose run --rm --no-deps -T roles || fail "the roles could not be looked at; version $old goes on"

    say "== migrations"
    compose run --rm --no-deps -T migrate migrate --plan || fail "the database cannot be asked; nothing was changed"
    if ! $yes; then
        [ -t 0 ] || fail "there is nobody to ask; with --yes it is done without asking. Nothing was changed"
        read -r -p "Run these, and replace $old by $new? [yes/no] " answer
        [ "$answer" = yes ] || fail "as you say; nothing was changed"
    fi
    compose run --rm --no-deps -T migrate || fail "a migration failed and was taken back; version $old goes on"
    compose run --rm --no-deps -T grants || fail "the rights could not be given; version $old goes on"
fi

replaced=''
for replica in $REPLICAS; do
    say "== $replica"
    replaced="$replica $replaced"
    if ! replace "$replica"; then
        say "$replica does not become healthy with $new; its last lines:"
        compose logs --no-color --tail 20 "$replica" >&2 || true
        say "== back to $old"
        tag=$old
        for again in $replaced; do replace "$again" || say "error: $again is not healthy with $old either"; done
        leave_out || true
        fail "version $old serves again; the schema is that of $new"
    fi
done

say "== through nginx"
compose exec -T nginx curl --fail --silent --insecure --output /dev/null https://127.0.0.1:8443/health/ready \
    || fail "$new is healthy, but nginx does not reach it: look at docker compose -f docker-compose-prod.yaml logs nginx"
compose up --detach --no-deps --no-build backup
say "Version $new serves. To go back: IMAGE_TAG=$old ./scripts/deploy.sh --back"
say "Put IMAGE_TAG=$new into .env, so that the next docker compose up starts the same."
