"""Mail as a server of another project takes it: aiosmtpd, over TLS with an authority of our own, with a log-in, and strict about
what it is sent.

Goals: a trial mail and a reset mail arrive, whole by Python's own reader of mails; over STARTTLS with `EMAIL_CA_FILE`, and not
without it; a recipient that is refused for good is given up at once, one that is greylisted comes at the next try.
"""

import email
import email.policy
import os
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from cluster import cluster, migrate, production
from common import Goals, free_port
from site_behind_nginx import ready, until

USER, PASSWORD = b"cms", b"a password of the drill"


class Mailbox:
    """Keeps what it is sent; refuses one recipient for good, and another the first time."""

    def __init__(self):
        self.kept, self.asked = [], []

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.asked.append(address)
        if address.startswith("nobody@"):
            return "550 5.1.1 no such person"
        if address.startswith("later@") and self.asked.count(address) == 1:
            return "451 4.7.1 greylisted, try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.kept.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK: kept by the drill"


def logs_in(server, session, envelope, mechanism, login):
    return AuthResult(success=login.login == USER and login.password == PASSWORD, handled=False)


def main(program):
    goals = Goals()
    with tempfile.TemporaryDirectory(prefix="swincms-drill-") as folder:
        os.chmod(folder, 0o755)
        with cluster(folder, os.environ["PG_BIN"]) as made:
            migrate(made, program, folder)
            made.run(program, "seed", "--force", "--students", "5", env=production(made, folder), cwd=folder)
            drill(made, program, Path(folder), goals.goal)
    return goals.close()


def drill(made, program, folder, goal):
    site = made.certificates / "site"
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(site / "tls.crt", site / "tls.key")
    mailbox = Mailbox()
    server = Controller(mailbox, hostname="127.0.0.1", port=free_port(), server_hostname="localhost", tls_context=tls, require_starttls=True,
                        auth_required=True, authenticator=logs_in, decode_data=False, enable_SMTPUTF8=False)
    server.start()
    try:
        settings = {"EMAIL_HOST": "localhost", "EMAIL_PORT": str(server.port), "EMAIL_USE_TLS": "true", "EMAIL_HOST_USER": USER.decode(),
                    "EMAIL_HOST_PASSWORD": PASSWORD.decode(), "EMAIL_FROM": "Đại học <noreply@campus.example.edu>"}
        trusted = settings | {"EMAIL_CA_FILE": f"{made.certificates}/ca/tls.crt"}
        talk(made, program, folder, goal, mailbox, settings, trusted)
    finally:
        server.stop()


def talk(made, program, folder, goal, mailbox, settings, trusted):
    def check(to, env):
        done = subprocess.run([program, "check", "--mail", to], env=production(made, folder, **env), cwd=folder, text=True, capture_output=True)
        line = next((line for line in done.stdout.splitlines() if "trial_mail" in line), done.stdout + done.stderr)
        return done.returncode, " ".join(line.split())

    code, said = check("ada@swin.edu.au", settings)
    goal(code == 1 and not mailbox.kept and "certificate" in said, f"an unknown authority is refused: {said[:150]}")
    code, said = check("ada@swin.edu.au", trusted)
    goal(code == 0 and "kept by the drill" in said, f"with EMAIL_CA_FILE a trial mail goes out: {said[:150]}")
    code, said = check("ada@swin.edu.au", trusted | {"EMAIL_HOST_PASSWORD": "another"})
    goal(code == 1 and "535" in said, f"a wrong password is told: {said[:150]}")
    code, said = check("nobody@swin.edu.au", trusted)
    goal(code == 1 and "no such person" in said, f"so is a recipient that is refused: {said[:150]}")

    mailbox.kept.clear()
    mailbox.asked.clear()
    made.sql("""update users set email = 'nobody@swin.edu.au' where email = 'demo000001@swin.edu.au';
                update users set email = 'later@swin.edu.au' where email = 'demo000002@swin.edu.au';""")
    port = free_port()
    env = production(made, folder, BIND=f"127.0.0.1:{port}", **trusted)
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen([program], env=env, cwd=folder, stdout=log, stderr=log)
    try:
        until(lambda: ready(port), 20)
        for to in ("student@swin.edu.au", "nobody@swin.edu.au", "later@swin.edu.au"):
            made.sql(f"""insert into mail_outbox (template, recipient, user_id, security_version)
                         select 'password_reset', email, id, security_version from users where email = '{to}'""")
        state = "select string_agg(recipient || ' ' || state, ', ' order by recipient) from mail_outbox"
        until(lambda: made.sql("select count(*) from mail_outbox where attempts > 0 and leased_until is null") == "3", 20)
        goal(made.sql(state) == "later@swin.edu.au queued, nobody@swin.edu.au dead, student@swin.edu.au sent", made.sql(state))
        made.sql("update mail_outbox set next_at = now() where state = 'queued'")
        until(lambda: made.sql("select count(*) from mail_outbox where state = 'sent'") == "2", 20)
        goal(mailbox.asked.count("later@swin.edu.au") == 2, "what was greylisted comes at the next try")
    finally:
        process.terminate()
        process.wait(timeout=60)
    sender, recipients, content = mailbox.kept[0]
    mail = email.message_from_bytes(content, policy=email.policy.strict)
    headers = {name: str(mail[name]) for name in ("From", "To", "Subject", "Message-ID", "Date", "MIME-Version", "Content-Type", "Auto-Submitted")}
    whole = not mail.defects and all(not getattr(mail[name], "defects", ()) for name in headers)
    goal(whole and sender == "noreply@campus.example.edu" and recipients == ["student@swin.edu.au"], f"a mail is whole: {headers}")
    goal("/reset/" in mail.get_content() and headers["From"] == "Đại học <noreply@campus.example.edu>", "its link and its sender's name are read as written")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
