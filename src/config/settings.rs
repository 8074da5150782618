//! Every setting, as `.env.example` and the README show it; tests keep the three alike.

/// A setting as `.env.example` and the README show it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What holds when it is not set, for people; empty when nothing does.
    pub default: &'static str,
    /// Whether it is a secret, so that `NAME_FILE` works too.
    pub secret: bool,
    /// What it is for, in a sentence.
    pub explains: &'static str,
}

impl Setting {
    /// Its row in the README's table.
    #[must_use]
    pub fn row(&self) -> String {
        let file = if self.secret { format!(", `{}_FILE`", self.name) } else { String::new() };
        let default = if self.default.is_empty() { "none" } else { self.default };
        format!("| `{}`{file} | {default} | {} |", self.name, self.explains)
    }
}

const fn setting(name: &'static str, default: &'static str, explains: &'static str) -> Setting {
    Setting { name, default, secret: false, explains }
}

const fn secret(name: &'static str, default: &'static str, explains: &'static str) -> Setting {
    Setting { name, default, secret: true, explains }
}

/// Every setting there is, in the order of `.env.example`.
pub const SETTINGS: &[Setting] = &[
    setting(
        "APP_ENV",
        "dev",
        "`dev` or `prod`; prod has no default for secrets, hosts, origins, mail and the database.",
    ),
    setting("BIND", "127.0.0.1:8000", "Address and port to listen on; `0.0.0.0:8000` in a container."),
    setting("METRICS_BIND", "", "Address and port for Prometheus, such as 127.0.0.1:9100; not for the world."),
    setting("PUBLIC_URL", "dev: from the Host header; prod: needed", "The address that users open; https in prod."),
    setting(
        "ALLOWED_HOSTS",
        "dev: localhost,127.0.0.1,::1; prod: needed",
        "Host names that are answered, without port; `.example.edu` also means all below it; `*` in dev only.",
    ),
    setting(
        "CORS_ALLOWED_ORIGINS",
        "dev: http://localhost:3000,http://127.0.0.1:3000; prod: needed",
        "Origins of the web pages that may call the server; `*` in dev only.",
    ),
    setting(
        "TRUSTED_PROXIES",
        "",
        "Addresses or ranges of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    ),
    setting("SECURE_SSL_REDIRECT", "dev: false; prod: true", "Send requests that came over http to https."),
    setting("HSTS_PRELOAD", "false", "Also ask browsers to keep to https for subdomains, and for the preload list."),
    setting("MAX_CONNECTIONS", "4096", "The most connections open at once."),
    setting(
        "REQUEST_TIMEOUT",
        "30s",
        "The longest a request may take. Times are `500ms`, `30s`, `2m`, `1h` or seconds.",
    ),
    setting("DRAIN_SECONDS", "30", "The longest that open requests are waited for at a stop."),
    setting("PAGE_SIZE_DEFAULT", "500", "Rows of a list when the caller does not say."),
    setting("PAGE_SIZE_MAX", "1000", "The most rows a caller may ask for at once."),
    setting("MAX_PENDING", "8", "The most enrolments of a student that wait for a decision at once."),
    setting("PENDING_DAYS", "14", "After so many days an enrolment that nobody decided on is withdrawn."),
    setting(
        "GRADE_BOUNDARIES",
        "",
        "From which marks on which grade is given, such as `HD=80,D=70,C=60,P=50,N=0`; empty checks nothing.",
    ),
    setting(
        "GPA_REPEATS",
        "all",
        "Which of several results in one unit count for the grade point average: `all`, the `best` or the `latest`.",
    ),
    setting(
        "GOLD_EXPIRES_AFTER",
        "0",
        "Gold that was not spent within so many days of being earned expires; 0 is never.",
    ),
    setting("TIME_ZONE", "Asia/Ho_Chi_Minh", "The zone of times that come without one."),
    setting(
        "NAME_ORDER",
        "family_first",
        "Which part of a full name in an imported file is the family name: `family_first` or `given_first`.",
    ),
    setting(
        "ONLINE_LOCATIONS",
        "",
        "More words for a class that meets in no room, with commas between, beside those in docs/classes.md.",
    ),
    secret(
        "DATABASE_URL",
        "dev: a PostgreSQL of its own; prod: this or POSTGRES_HOST needed",
        "postgres://user:password@host:5432/database?sslmode=verify-full; goes before POSTGRES_*.",
    ),
    secret(
        "MIGRATION_DATABASE_URL",
        "as the server",
        "The role that owns the tables, for migrations only, so that the server's own role need not own them.",
    ),
    setting("RUN_MIGRATIONS", "true", "Bring the schema up to date at start-up."),
    setting("POSTGRES_HOST", "", "Host, or folder of the socket, of the database."),
    setting("POSTGRES_PORT", "5432", "Its port."),
    setting("POSTGRES_DB", "dev: swincms; prod: needed", "Its name."),
    setting("POSTGRES_USER", "dev: swincms; prod: needed", "The role to log in as."),
    secret("POSTGRES_PASSWORD", "prod: needed unless there is a client certificate", "The role's password."),
    setting(
        "POSTGRES_SSLMODE",
        "dev: prefer; prod: verify-full",
        "disable, allow, prefer, require, verify-ca or verify-full; in prod nothing less to another machine.",
    ),
    setting(
        "POSTGRES_SSLROOTCERT",
        "the public authorities",
        "File of the authority that signed the database's certificate.",
    ),
    setting("POSTGRES_SSLCERT", "", "File of the client certificate to log in with."),
    setting("POSTGRES_SSLKEY", "", "File of its key."),
    setting("DB_POOL_SIZE", "16", "The most connections to the database, per server process."),
    setting("DB_ACQUIRE_TIMEOUT", "5s", "The longest a request waits for one of them."),
    setting("DB_CONNECT_TIMEOUT", "10s", "The longest it may take to connect."),
    setting("DB_STATEMENT_TIMEOUT", "30s", "The longest a statement may run."),
    setting("DB_IDLE_TX_TIMEOUT", "10s", "The longest a transaction may stay open with nothing to do."),
    setting("DB_MAX_LIFETIME", "600s", "How old a connection grows before it is replaced."),
    setting("PG_BIN", "searched for", "Folder of PostgreSQL's programs, for the database of its own."),
    setting("DATA_DIR", ".data", "What the server keeps in dev: its own database, the secret key, mails."),
    setting("MEDIA_ROOT", "media in DATA_DIR", "Root of the uploaded files."),
    setting("BACKUP_DIR", "", "Where backups are written; `swincms check --deploy` looks at the newest."),
    setting("MAX_UPLOAD_MB", "25", "The largest file that is taken, in MiB."),
    setting(
        "ACCEL_REDIRECT",
        "the server sends files itself",
        "nginx's internal location for private files, such as `/protected/`.",
    ),
    secret(
        "SECRET_KEY",
        "dev: made up, kept in DATA_DIR/secret_key; prod: needed",
        "Signs tokens and links; at least 32 characters. Also DJANGO_SECRET_KEY.",
    ),
    secret(
        "AUDIT_KEY",
        "dev: from SECRET_KEY; prod: needed",
        "Seals the audit log; at least 32 characters. Keep it as long as the log.",
    ),
    setting(
        "REGISTRATION",
        "dev: open; prod: closed",
        "`open`: anyone may create a student account; `confirmed`: anyone who confirms the address by a mailed link; `closed`: admins.",
    ),
    setting(
        "REGISTRATIONS_AT_ONCE",
        "60",
        "How many people register from one address without a pause; a class shares one.",
    ),
    setting("REGISTRATIONS_AN_HOUR", "60", "How many in an hour beyond these."),
    setting(
        "RESETS_AT_ONCE",
        "30",
        "How many links for a new password are asked for from one address without a pause.",
    ),
    setting("RESETS_AN_HOUR", "60", "How many in an hour beyond these."),
    setting(
        "PERSON_WRITES_AT_ONCE",
        "30",
        "How many changes a student or parent makes without a pause, of whatever kind but enrolling.",
    ),
    setting("PERSON_WRITES_A_MINUTE", "5", "How many in a minute beyond these."),
    setting(
        "KEEP_MAIL_DAYS",
        "30",
        "Days after which a mail that was sent, or never could be, is removed from the queue.",
    ),
    setting(
        "KEEP_WORKFLOW_DAYS",
        "90",
        "Days after which a finished call of a workflow, and what came of it, is removed.",
    ),
    setting("KEEP_MESSAGES_DAYS", "365", "Days after which a message that was read is removed."),
    setting("ACCESS_TOKEN_MINUTES", "60", "How long an access token is good."),
    setting("REFRESH_ROTATION", "false", "A refresh token is good once; using it again revokes its session."),
    setting("PASSWORD_RESET_URL", "/reset/ below PUBLIC_URL", "What reset mails link to; the token is appended."),
    setting(
        "EMAIL_CONFIRM_URL",
        "/confirm-email/ below PUBLIC_URL",
        "What mails to a new address link to; the token is appended.",
    ),
    setting("EMAIL_HOST", "dev: files in DATA_DIR/mail; prod: needed", "The mail server."),
    setting("EMAIL_PORT", "587", "Its port; 465 speaks TLS from the first byte."),
    setting("EMAIL_HOST_USER", "", "The user to log in as."),
    secret("EMAIL_HOST_PASSWORD", "", "The user's password."),
    setting("EMAIL_USE_TLS", "true", "Whether mail goes over TLS."),
    setting("EMAIL_CA_FILE", "", "The certificate of an authority of your own that the mail server's is from (PEM)."),
    setting("EMAIL_FROM", "dev: SwinCMS <noreply@localhost>; prod: needed", "The sender of mails."),
    secret(
        "N8N_WEBHOOK_SECRET",
        "calls from n8n are refused",
        "What n8n sends as X-N8N-SECRET; at least 16 characters.",
    ),
    secret("N8N_API_KEY", "", "Sent to the hosts in N8N_API_KEY_HOSTS."),
    setting("N8N_API_KEY_HOSTS", "", "Hosts that are sent N8N_API_KEY."),
    setting("N8N_IMPORT_WEBHOOK", "", "URL that event files are sent to instead of being imported here."),
    setting("WEBHOOK_ALLOWED_HOSTS", "", "Hosts that webhooks may reach though their address is private; any port."),
    setting(
        "WORKFLOW_TIMEOUT",
        "20s",
        "The longest that an answer of a workflow, or of the advisor's endpoint, is waited for.",
    ),
    setting("WEBHOOK_SPEED", "1", "How many times faster than life failed webhooks are tried again; for drills."),
    secret("GEMINI_API_KEY", "", "Lets the advisor ask Gemini."),
    setting("GEMINI_URL", "https://generativelanguage.googleapis.com/v1beta", "Where Gemini is."),
    setting("ADVISOR_URL", "", "An OpenAI-compatible endpoint for the advisor."),
    secret("ADVISOR_API_KEY", "", "Its key."),
    setting("ADVISOR_MODEL", "", "The model the advisor asks for."),
    setting(
        "LOG_LEVEL",
        "info",
        "error, warn, info, debug, trace, or a filter such as `info,sqlx=debug`. Also DJANGO_LOG_LEVEL.",
    ),
    setting("LOG_FORMAT", "dev: text; prod: json", "`text` or `json`."),
    setting("SLOW_REQUEST", "1s", "A request that takes as long is logged with its route."),
    setting(
        "SLOW_STATEMENT",
        "1s",
        "A statement that takes as long is logged with the request's route, never its values.",
    ),
    setting(
        "OTLP_ENDPOINT",
        "",
        "Where traces are sent by OTLP over HTTP, such as http://127.0.0.1:4318; without it none are recorded.",
    ),
    setting("OTLP_SAMPLE", "1", "Which share of the requests is recorded, from 0 to 1."),
    secret("OTLP_HEADERS", "", "Headers that the collector asks for, as `Name=value` with commas between."),
];
