#!/bin/sh
# Prints nginx.conf with other addresses, paths and settings than those in the repository; what is not set stays.
#
#   scripts/nginx-conf.sh --env /etc/swincms/.env > /etc/nginx/nginx.conf    with the settings of the server's own file
#   scripts/nginx-conf.sh > /etc/nginx/nginx.conf                            with those of the environment
#   DOWN=172.31.250.11:8000 scripts/nginx-conf.sh > …    the same, but nothing is sent to that replica
#
# From the environment:
#   BACKENDS                  addresses of the replicas, with spaces between       172.31.250.11:8000 172.31.250.12:8000
#   DOWN                      those of them that get nothing for now               none
#   HTTP_LISTEN               address and port, or port, for http                  80, IPv4 and IPv6
#   HTTPS_LISTEN              the same for https                                   443, IPv4 and IPv6
#   CERTIFICATE, KEY          the site's certificate with its chain, and its key   /etc/nginx/certificates/site.{crt,key}
#   MEDIA_ROOT, WEB_ROOT      uploaded files; the web page (index.html, static/)   /srv/swincms/media, /srv/swincms/web
#   RUN_DIR                   pid and temporary files; must exist                  /tmp
#   ACME_ROOT                 what an ACME client writes its answers to            /srv/swincms/acme
#   ACCESS_LOG, ERROR_LOG     files                                                /dev/stdout, /dev/stderr
#   ALLOWED_HOSTS             names of the site, as the server has them            any name
#   MAX_UPLOAD_MB, HSTS_PRELOAD, CORS_ALLOWED_ORIGINS   as the server has them     25, false, none
#
# A setting of the server that the environment and the file of --env give different values is refused.
set -eu

# The value of a setting in a file: the words behind its name, without the quotes around them.
of_file() {
    sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$file" | tail -n 1 | tr -d '\r' \
        | sed -e 's/[[:space:]]*$//' -e 's/^"\(.*\)"$/\1/' -e "s/^'\(.*\)'\$/\1/"
}

case "${1:-}" in
    '') ;;
    --env)
        file=${2:-}
        [ -r "$file" ] || { echo "error: --env names no file that can be read: $file" >&2; exit 2; }
        for name in ALLOWED_HOSTS MAX_UPLOAD_MB HSTS_PRELOAD CORS_ALLOWED_ORIGINS; do
            value=$(of_file "$name")
            eval "given=\${$name-$value}"
            if [ "$given" != "$value" ]; then
                echo "error: $name is \`$given\` in the environment and \`$value\` in $file" >&2
                exit 2
            fi
            eval "$name=\$value"
        done
        ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit ;;
    *) echo "error: unknown argument: $1" >&2; exit 2 ;;
esac

# Beside this script in a container, else in the repository's folder.
source=${NGINX_CONF:-$(dirname "$0")/../nginx.conf}

# What stands in a setting ends up in a configuration: no character that could end a word of it.
for name in BACKENDS DOWN HTTP_LISTEN HTTPS_LISTEN CERTIFICATE KEY MEDIA_ROOT WEB_ROOT RUN_DIR ACME_ROOT ACCESS_LOG \
    ERROR_LOG ALLOWED_HOSTS MAX_UPLOAD_MB HSTS_PRELOAD CORS_ALLOWED_ORIGINS; do
    value=''
    eval "value=\${$name:-}"
    case "$value" in
        *[!A-Za-z0-9\ ._:/,@%+=*~\[\]-]*) echo "error: $name has a character that cannot stand in nginx.conf" >&2; exit 2 ;;
    esac
done

awk -v backends="${BACKENDS:-}" -v down=" ${DOWN:-} " -v http="${HTTP_LISTEN:-}" -v https="${HTTPS_LISTEN:-}" \
    -v certificate="${CERTIFICATE:-}" -v key="${KEY:-}" -v media="${MEDIA_ROOT:-}" -v web="${WEB_ROOT:-}" \
    -v run="${RUN_DIR:-}" -v acme="${ACME_ROOT:-}" -v access_log="${ACCESS_LOG:-}" -v error_log="${ERROR_LOG:-}" \
    -v hosts="${ALLOWED_HOSTS:-}" -v upload="${MAX_UPLOAD_MB:-}" -v preload="${HSTS_PRELOAD:-}" -v origins="${CORS_ALLOWED_ORIGINS:-}" '
    function state(address) { return index(down, " " address " ") ? " down" : " max_fails=3 fail_timeout=2s" }
    function swap(pattern, value) { if (value != "") sub(pattern, value) }
    { name = ""; if (match($0, /#= [a-z_0-9]+$/)) name = substr($0, RSTART + 3) }
    name == "backend" {
        if (backends == "") { address = $2; sub(/;$/, "", address); print "        server " address state(address) ";"; next }
        if (!written) { n = split(backends, each, " "); for (i = 1; i <= n; i++) print "        server " each[i] state(each[i]) ";" }
        written = 1
        next
    }
    name == "origins" {
        n = split(origins, each, ",")
        for (i = 1; i <= n; i++) { gsub(/^ +| +$/, "", each[i]); if (each[i] != "") print "        \"" each[i] "\" \"" each[i] "\";" }
        next
    }
    # The name of this machine is always one, for whoever looks after it here.
    name == "any_host" && hosts != "" && hosts !~ /(^|,) *[*] *(,|$)/ { sub(/default 1/, "default 0") }
    name == "hosts" {
        n = split(hosts ",localhost,127.0.0.1", each, ",")
        for (i = 1; i <= n && hosts != ""; i++) {
            gsub(/^ +| +$/, "", each[i])
            sub(/^[*][.]/, ".", each[i])
            if (each[i] ~ /:/ && each[i] !~ /^\[/) each[i] = "[" each[i] "]"
            if (each[i] != "" && each[i] != "*" && !seen[each[i]]++) print "        " each[i] " 1;"
        }
        next
    }
    name == "http" { swap("listen [^ ]+", http == "" ? "" : "listen " http) }
    name == "https" { swap("listen [^ ]+", https == "" ? "" : "listen " https) }
    # An address is for one protocol; a port is for both.
    name == "http6" { if (http ~ /:/) next; swap("::\\]:80", http == "" ? "" : "::]:" http) }
    name == "https6" { if (https ~ /:/) next; swap("::\\]:443", https == "" ? "" : "::]:" https) }
    name == "certificate" { swap("/etc/nginx/certificates/site.crt", certificate) }
    name == "key" { swap("/etc/nginx/certificates/site.key", key) }
    name == "private" || name == "public" { swap("/srv/swincms/media", media) }
    name == "web" { swap("/srv/swincms/web", web) }
    name == "acme" { swap("/srv/swincms/acme", acme) }
    name == "run" { swap("/tmp", run) }
    name == "access_log" { swap("/dev/stdout", access_log) }
    name == "error_log" { swap("/dev/stderr", error_log) }
    name == "upload" { swap("27m", upload == "" ? "" : (upload + 2) "m") }
    name == "hsts" { if (preload == "true") swap("max-age=31536000", "max-age=31536000; includeSubDomains; preload") }
    { sub(/ *#= [a-z_0-9]+$/, ""); print }
' "$source"
