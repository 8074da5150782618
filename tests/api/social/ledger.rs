//! The ledger under many clients; the long form is `scripts/drill ledger`.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;

use super::{ACCOUNTS, account};
use crate::support::TestApp;

#[tokio::test]
async fn no_point_is_lost_or_given_twice_by_64_clients_at_two_processes() {
    let app = TestApp::with(&[("DB_POOL_SIZE", "8")]).await;
    let other = app.second_server().await;
    let staff = app.staff().await;
    let there = staff.at(&other);
    let mut accounts = Vec::new();
    for _ in 0..3 {
        accounts.push(account(&app, app.student().await.id).await);
    }
    // Every award is sent twice, with one key, to both processes.
    let clients = (0..64_usize).map(|client| {
        let (staff, there, accounts) = (&staff, &there, &accounts);
        async move {
            let mut moved = BTreeMap::new();
            for step in 0..4 {
                let place = (client + step) % accounts.len();
                let (verb, sign) = if step % 2 == 0 { ("award", 1) } else { ("deduct", -1) };
                let amount = i64::try_from(client % 7 + 1).unwrap();
                let path = format!("{ACCOUNTS}{}/{verb}/", accounts[place]);
                let (key, body) = (format!("{client}-{step}"), json!({ "amount": amount, "reason": "Drill" }));
                let (here, there) = (staff.with("Idempotency-Key", &key), there.with("Idempotency-Key", &key));
                let (one, two) = tokio::join!(here.post(&path, &body), there.post(&path, &body));
                let done: Vec<_> = [&one, &two].into_iter().filter(|reply| reply.status == 200).collect();
                for reply in [&one, &two] {
                    let known = ["", "request_in_progress", "not_enough_gold"].contains(&reply.refusal().1);
                    assert!(known, "{} {}", reply.status, reply.body);
                }
                if let [first, .., last] = done[..] {
                    assert_eq!(first.body, last.body, "one key, one answer");
                }
                if !done.is_empty() {
                    *moved.entry(place).or_insert(0) += sign * amount;
                }
            }
            moved
        }
    });
    let mut expected = vec![0; accounts.len()];
    for moved in join_all(clients).await {
        for (place, amount) in moved {
            expected[place] += amount;
        }
    }
    for (account, expected) in accounts.iter().zip(expected) {
        let shown = staff.get(&format!("{ACCOUNTS}{account}/")).await;
        assert_eq!(shown.expect(200)["current_balance"], json!(expected));
    }
    app.check_invariants().await;
}
