"""The gold ledger, under 64 clients at two server processes.

100,000 random awards and deductions on 200 accounts, every fifth with an Idempotency-Key and sent twice, half of these at
once. Goals: each balance is the sum of what was answered with a success, no key has moved anything twice, nobody has less
than nothing, no answer of 500 or above, every achievement is granted once to whoever reached it, and every statement of
tests/invariants.sql holds.

`ledger.py PROGRAM [OPERATIONS]`
"""

import asyncio
import collections
import json
import random
import sys
import time

from common import SECRET, Connection, Goals, stand, token

ACCOUNTS, STAFF, CLIENTS = 200, 4, 64
GOLD = "/api/social/social-gold/"
AWARD = "/api/social/transactions/award/"

PREPARE = f"""
create temp table people as
    with made as (
        insert into users (email, username, first_name, last_name, password_hash, user_type)
        select 'drill-' || kind || i || '@swin.edu.au', 'drill-' || kind || i, 'Drill', kind || i, '!', kind
          from (select 'student' as kind, generate_series(1, {ACCOUNTS}) as i
                union all select 'staff', generate_series(1, {STAFF})) wanted
        returning id, user_type
    ),
    profile as (
        insert into student_profiles (user_id, student_id, enrollment_date)
        select id, 'D-' || id, current_date from made where user_type = 'student'
    )
    select id, user_type from made;
insert into gold_accounts (student_id) select id from people where user_type = 'student';
insert into achievements (name, points_required) select 'Drill ' || n, n * 500 from generate_series(1, 8) n;
with made as (
    insert into sessions (user_id, refresh_hash, expires_at)
    select id, sha256(id::text::bytea), now() + interval '1 day' from people where user_type = 'staff'
    returning user_id, id
)
select json_build_object('staff', (select json_agg(json_build_array(user_id, id)) from made),
                         'accounts', (select json_agg(json_build_array(a.id, a.student_id)) from gold_accounts a));
"""


async def traffic(goal, ports, staff, accounts, operations):
    moved, earned = collections.Counter(), collections.Counter()
    statuses, entries, odd = collections.Counter(), collections.Counter(), []

    async def client(number):
        dice = random.Random(number)
        lines = [Connection(port) for port in ports]
        for step in range(operations // CLIENTS):
            account, student = dice.choice(accounts)
            amount = dice.randint(1, 100)
            act = dice.choices(["award", "award by id", "deduct"], [35, 15, 50])[0]
            body = {"amount": amount, "reason": "Drill"}
            path = f"{GOLD}{account}/{'deduct' if act == 'deduct' else 'award'}/"
            if act == "award by id":
                path, body = AWARD, body | {"student_id": student, "transaction_type": dice.choice(["AWARD", "BONUS"])}
            bearer = dice.choice(staff)
            if dice.random() < 0.2:
                # The same request twice: at once at both processes, or one after the other.
                key = f"{number}-{step}"
                if dice.random() < 0.5:
                    answers = await asyncio.gather(*(line.call(bearer, "POST", path, body, key) for line in lines))
                else:
                    answers = [await dice.choice(lines).call(bearer, "POST", path, body, key) for _ in range(2)]
            else:
                answers = [await dice.choice(lines).call(bearer, "POST", path, body)]
            done = [answer for status, answer in answers if status in (200, 201)]
            for status, answer in answers:
                statuses[act, status, answer.get("code", "")] += 1
                if status not in (200, 201) and answer.get("code") not in ("not_enough_gold", "request_in_progress"):
                    odd.append((act, status, answer))
            if done:
                # An answer that is given again is the same one.
                if any(answer != done[0] for answer in done):
                    odd.append((act, "two answers to one key", done))
                if done[0]["new_balance"] < 0:
                    odd.append((act, "less than nothing", done))
                entries[done[0]["transaction_id"]] += 1
                moved[student] += -amount if act == "deduct" else amount
                earned[student] += 0 if act == "deduct" else amount
        for line in lines:
            line.close()

    began = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    took = time.monotonic() - began
    total = sum(statuses.values())
    for (act, status, code), count in sorted(statuses.items()):
        print(f"    {act:<12} {status} {code:<20} {count:>7}")
    for one in odd[:10]:
        print("   ", *one)
    failed = sum(count for (_, status, _), count in statuses.items() if status >= 500)
    goal(failed == 0, f"{failed} of {total} requests were answered with 500 or above, in {took:.0f} s ({total / took:.0f}/s)")
    goal(not odd, f"{len(odd)} answers were not what was asked for")
    goal(max(entries.values()) == 1, "no two requests were answered with the same entry, but for those of one key")
    return moved, earned, set(entries)


def main(program, operations=100_000):
    goals = Goals()
    with stand(program, servers=2, SECRET_KEY=SECRET, LOG_LEVEL="warn,swincms=warn,swincms::dev_database=info,swincms::cli=info",
               DB_POOL_SIZE="16") as (made, ports):
        there = json.loads(made.sql(PREPARE))
        staff = [token(user, session) for user, session in there["staff"]]
        moved, earned, entries = asyncio.run(traffic(goals.goal, ports, staff, there["accounts"], operations))

        rows = json.loads(made.sql("select json_agg(json_build_array(student_id, current_balance, lifetime_earned)) from gold_accounts"))
        wrong = [student for student, balance, lifetime in rows if (balance, lifetime) != (moved[student], earned[student])]
        goals.goal(not wrong, f"{len(rows) - len(wrong)} of {len(rows)} balances are the sum of what was answered")
        count, lowest = map(int, made.sql("select count(*), min(balance_after) from gold_transactions").split("|"))
        goals.goal(count == len(entries), f"{count} entries in the ledger, {len(entries)} answered")
        goals.goal(lowest >= 0, f"the lowest balance ever was {lowest}")
        missing = made.sql("""
            select count(*) filter (where s.id is null), count(s.id), count(distinct n.id)
              from gold_accounts a
              join achievements t on t.points_required <= a.lifetime_earned
              left join student_achievements s on s.student_id = a.student_id and s.achievement_id = t.id
              left join notifications n on n.recipient_id = a.student_id and n.target_object_id = t.id
                                       and n.verb = 'Achievement earned'""").split("|")
        granted = int(made.sql("select count(*) from student_achievements"))
        goals.goal(missing == ["0", str(granted), str(granted)], f"{granted} achievements granted and told, each once; {missing[0]} missing")
        audited = int(made.sql("select count(*) from audit_log where resource_type = 'gold_transaction'"))
        goals.goal(audited == count, f"{audited} rows of theirs in the audit log")
        deadlocks = made.sql("select deadlocks from pg_stat_database where datname = current_database()")
        print(f"    deadlocks that the database counted: {deadlocks}")
        broken = made.broken_invariants()
        goals.goal(not broken, "every invariant holds" if not broken else "; ".join(broken))
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *(int(argument) for argument in sys.argv[2:])))
