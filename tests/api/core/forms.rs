//! Forms, and what is sent in with them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{NOW, all_pages, at, id_of, run};
use crate::support::{Person, Reply, TestApp};

const FORMS: &str = "/api/core/forms/";
const SUBMISSIONS: &str = "/api/core/submissions/";

fn form(schema: &Value) -> Value {
    json!({ "name": "Excursion", "slug": "excursion", "schema": schema })
}

/// A form as a convenor may write it.
fn excursion() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["diet"],
        "additionalProperties": false,
        "properties": {
            "diet": { "enum": ["any", "vegetarian"] },
            "email": { "type": "string", "format": "email" },
            "address": { "$ref": "#/$defs/address" },
            "seats": { "type": "array", "items": { "type": "integer", "minimum": 1 }, "maxItems": 3 },
            "a/b": { "type": "boolean" },
        },
        "$defs": {
            "address": {
                "type": "object",
                "required": ["street"],
                "properties": {
                    "street": { "type": "string" },
                    "zip": { "type": "string", "pattern": "^[0-9]{4}$", "maxLength": 4 },
                },
            },
        },
    })
}

async fn made(staff: &Person, schema: &Value) -> Id {
    let reply = staff.post(FORMS, &form(schema)).await;
    reply.expect(201);
    id_of(&reply)
}

async fn send(person: &Person, form: Id, data: &Value) -> Reply {
    person.post(SUBMISSIONS, &json!({ "form": form, "data": data })).await
}

/// What a schema is refused with.
async fn refused(staff: &Person, schema: &Value) -> Vec<String> {
    let reply = staff.post(FORMS, &form(schema)).await;
    assert_eq!(reply.refusal(), (400, "invalid"), "{schema:.200}: {}", reply.body);
    assert_eq!(reply.body["errors"].as_object().unwrap().len(), 1, "{}", reply.body);
    reply.errors("schema").into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_form_is_shown_with_all_its_fields_to_whoever_is_signed_in() {
    let app = TestApp::start().await;
    let (convenor, student) = (app.convenor().await, app.student().await);
    let schema = excursion();
    let id = made(&convenor, &schema).await;
    let wanted = json!({
        "id": id, "name": "Excursion", "slug": "excursion", "description": "", "schema": schema, "schema_version": 1,
        "is_active": true, "created_at": NOW, "updated_at": NOW, "created_by": convenor.id, "updated_by": convenor.id,
        "deleted_at": null, "is_deleted": false,
    });
    for person in [&student, &app.parent().await, &app.auditor().await] {
        assert_eq!(person.get(&at(FORMS, id)).await.expect(200), &wanted);
        assert_eq!(person.get(FORMS).await.expect(200), &json!([wanted]));
    }
    assert_eq!(app.anonymous().get(FORMS).await.refusal(), (401, "not_authenticated"));
}

#[tokio::test]
async fn forms_are_written_by_convenors_and_staff_and_restored_by_administrators() {
    let app = TestApp::start().await;
    let (convenor, staff, admin) = (app.convenor().await, app.staff().await, app.admin().await);
    let id = made(&convenor, &excursion()).await;
    let one = at(FORMS, id);
    for person in [app.student().await, app.parent().await, app.auditor().await] {
        for reply in [
            person.post(FORMS, &form(&excursion())).await,
            person.put(&one, &form(&excursion())).await,
            person.patch(&one, &json!({ "name": "Other" })).await,
            person.delete(&one).await,
        ] {
            assert_eq!(reply.refusal(), (403, "permission_denied"), "{}", person.user_type);
        }
    }
    let renamed = staff.patch(&one, &json!({ "name": "Trip", "id": 9, "schema_version": 7 })).await;
    assert_eq!(renamed.expect(200)["name"], "Trip");
    assert_eq!((&renamed.body["id"], &renamed.body["schema_version"]), (&json!(id), &json!(1)));
    let replaced = convenor.put(&one, &form(&json!({}))).await;
    assert_eq!((&replaced.expect(200)["name"], &replaced.body["schema"]), (&json!("Excursion"), &json!({})));
    staff.delete(&one).await.expect(204);
    assert_eq!(staff.get(&one).await.refusal(), (404, "not_found"));
    assert_eq!(staff.post_bare(&format!("{one}restore/")).await.refusal(), (403, "permission_denied"));
    admin.post_bare(&format!("{one}restore/")).await.expect(200);
    staff.get(&one).await.expect(200);
}

#[tokio::test]
async fn an_inactive_form_is_seen_by_those_who_write_forms_and_by_auditors() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let id = made(&staff, &json!({})).await;
    let (student, parent) = (app.student().await, app.parent().await);
    staff.patch(&at(FORMS, id), &json!({ "is_active": false })).await.expect(200);
    for person in [&student, &parent] {
        assert_eq!(person.get(&at(FORMS, id)).await.refusal(), (404, "not_found"));
        assert_eq!(person.get(FORMS).await.ids(), []);
    }
    for person in [&app.convenor().await, &app.auditor().await, &staff, &admin] {
        assert_eq!(person.get(&at(FORMS, id)).await.expect(200)["is_active"], false);
        assert_eq!(person.get(&format!("{FORMS}?is_active=false")).await.ids(), [id]);
    }
    for person in [&student, &admin] {
        assert_eq!(send(person, id, &json!({})).await.refusal(), (409, "form_inactive"));
    }
    staff.patch(&at(FORMS, id), &json!({ "is_active": true })).await.expect(200);
    send(&student, id, &json!({})).await.expect(201);
}

#[tokio::test]
async fn a_slug_is_plain_and_taken_once() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let nothing = staff.post(FORMS, &json!({})).await;
    assert_eq!(nothing.refusal(), (400, "invalid"));
    for field in ["name", "slug", "schema"] {
        assert_eq!(nothing.errors(field).len(), 1, "{field}: {}", nothing.body);
    }
    for slug in ["A", "a_b", "a--b", "-a", "a-", "a b", "é", "a\nb", ""] {
        let body = json!({ "name": "N", "slug": slug, "schema": {} });
        let reply = staff.post(FORMS, &body).await;
        assert_eq!((reply.refusal(), reply.errors("slug").len()), ((400, "invalid"), 1), "{slug:?}: {}", reply.body);
    }
    for (slug, status) in [("a", 201), ("a-1-b2", 201), ("a", 409)] {
        let body = json!({ "name": "N", "slug": slug, "schema": {} });
        let reply = staff.post(FORMS, &body).await;
        reply.expect(status);
        assert_eq!(reply.errors("slug").len(), usize::from(status == 409));
    }
    let second = staff.get(&format!("{FORMS}?slug=a-1-b2")).await.ids()[0];
    let taken = staff.patch(&at(FORMS, second), &json!({ "slug": "a" })).await;
    assert_eq!(taken.refusal(), (409, "already_taken"));
}

#[tokio::test]
async fn a_schema_that_is_none_is_refused_with_the_place_of_the_fault() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for (schema, says) in [
        (json!(null), "This field is required."),
        (json!(true), "A JSON Schema is expected, as an object."),
        (json!("{}"), "A JSON Schema is expected, as an object."),
        (json!([]), "A JSON Schema is expected, as an object."),
        (json!({ "properties": { "a": { "type": "text" } } }), "#/properties/a/type: "),
        (json!({ "required": "a" }), "#/required: value is not of type \"array\"."),
        (json!({ "properties": { "a": 3 } }), "#/properties/a: "),
        (json!({ "minLength": -1 }), "#/minLength: "),
        (json!({ "$schema": "https://example.org/mine" }), "#"),
        (json!({ "$schema": "http://json-schema.org/draft-07/schema#", "required": "a" }), "#/required: "),
    ] {
        let told = refused(&staff, &schema).await;
        assert!(told.len() == 1 && told[0].starts_with(says), "{schema}: {told:?}");
    }
}

#[tokio::test]
async fn references_stay_within_the_schema_lead_somewhere_and_not_in_circles() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let to = |reference: &str| json!({ "properties": { "a": { "$ref": reference } } });
    for reference in
        ["https://example.org/a.json", "http://127.0.0.1:1/", "file:///etc/passwd", "other.json", "", "a#/b"]
    {
        let told = refused(&staff, &to(reference)).await;
        let says = "#/properties/a/$ref: only references within the schema are allowed, such as `#/$defs/name`.";
        assert_eq!(told, [says], "{reference}");
    }
    // Also where nothing refers to it.
    let aside = json!({ "$defs": { "a": { "items": { "$ref": "https://example.org/" } } } });
    assert!(refused(&staff, &aside).await[0].starts_with("#/$defs/a/items/$ref: "));
    assert_eq!(refused(&staff, &to("#/$defs/no")).await, ["The reference `#/$defs/no` leads to nothing."]);
    assert!(refused(&staff, &to("#anchor")).await[0].contains("plain JSON pointer"));
    for circle in [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "$ref": "#" }] }),
        json!({ "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } } }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "anyOf": [{ "$ref": "#/$defs/a" }] } } }),
    ] {
        let told = refused(&staff, &circle).await;
        assert!(told.iter().all(|says| says.ends_with("leads in a circle.")), "{told:?}");
    }
    for keyword in ["$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef"] {
        let told = refused(&staff, &json!({ "items": { keyword: "#a" } })).await;
        assert_eq!(told, [format!("#/items/{keyword}: this keyword is not supported here.")]);
    }
    let inner = json!({ "items": { "$id": "https://example.org/" } });
    assert_eq!(refused(&staff, &inner).await, ["#/items/$id: this keyword is not supported here."]);

    // A field may well be called like a keyword, and the whole may have a name.
    let fine = json!({
        "$id": "https://example.org/form",
        "properties": { "$ref": { "type": "string" }, "id": { "$ref": "#/$defs/x" }, "$id": { "const": { "$ref": "a" } } },
        "$defs": { "x": { "type": "integer" } },
    });
    let id = made(&staff, &fine).await;
    let reply = send(&staff, id, &json!({ "$ref": 1, "id": "x" })).await;
    assert_eq!(reply.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["data/$ref", "data/id"]);
}

#[tokio::test]
async fn patterns_are_of_the_kind_that_matches_in_linear_time() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for pattern in [r"(a)\1", "(?=a)b", "(?!a)b", "(?<=a)b", "(", "[z-a]", r"((\w{1000}){1000}){10}"] {
        let told = refused(&staff, &json!({ "properties": { "a": { "pattern": pattern } } })).await;
        assert_eq!(told.len(), 1, "{pattern}: {told:?}");
        assert!(told[0].starts_with("#/properties/a/pattern: this is not a regular expression"), "{pattern}: {told:?}");
        let told = refused(&staff, &json!({ "patternProperties": { pattern: {} } })).await;
        assert_eq!(told.len(), 1, "{pattern}: {told:?}");
    }
    let many: Vec<Value> = (0..201).map(|nth| json!({ "pattern": format!("a{nth}") })).collect();
    assert_eq!(refused(&staff, &json!({ "allOf": many })).await, ["Ensure it has no more than 200 patterns."]);

    // What takes other engines for ever.
    let id = made(&staff, &json!({ "type": "string", "pattern": "^(a+)+$" })).await;
    let begun = Instant::now();
    let reply = send(&staff, id, &json!(format!("{}b", "a".repeat(200_000)))).await;
    assert_eq!((reply.refusal(), reply.errors("data").len()), ((400, "invalid"), 1));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_schema_is_bounded_in_size_depth_and_in_what_its_references_come_to() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let empty = json!({ "description": "" }).to_string().len();
    let described = |bytes: usize| json!({ "description": "x".repeat(bytes - empty) });
    assert_eq!(refused(&staff, &described(64 * 1024 + 1)).await, ["Ensure the schema has no more than 64 KiB."]);
    let id = made(&staff, &described(64 * 1024)).await;
    staff.delete(&at(FORMS, id)).await.expect(204);

    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "items": inner }));
    let told = refused(&staff, &nested(65)).await;
    assert_eq!(told, ["Ensure it is nested no deeper than 64 levels, its references followed."]);
    let chain = |links: usize| {
        let mut defs = json!({ "d0": {} });
        for link in 1..=links {
            defs[format!("d{link}")] = json!({ "items": { "$ref": format!("#/$defs/d{}", link - 1) } });
        }
        json!({ "$ref": format!("#/$defs/d{links}"), "$defs": defs })
    };
    assert!(refused(&staff, &chain(500)).await.concat().contains("no deeper than 64"));

    // Each definition asks twice for the next: 2^30 checks in some 1,500 bytes.
    let mut defs = json!({ "d0": { "type": "string" } });
    for link in 1..=30 {
        let next = json!({ "$ref": format!("#/$defs/d{}", link - 1) });
        defs[format!("d{link}")] = json!({ "allOf": [next, next] });
    }
    let begun = Instant::now();
    let told = refused(&staff, &json!({ "$ref": "#/$defs/d30", "$defs": defs })).await;
    assert_eq!(
        told,
        [
            "It asks for more than 5000 checks of one value when its references are followed.",
            "It comes to more than 20000 parts when its references are followed.",
        ]
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    let mut defs = json!({ "d0": { "type": "string" } });
    for link in 1..=30 {
        let next = json!({ "$ref": format!("#/$defs/d{}", link - 1) });
        defs[format!("d{link}")] = json!({ "properties": { "a": next, "b": next } });
    }
    let told = refused(&staff, &json!({ "$ref": "#/$defs/d30", "$defs": defs })).await;
    assert_eq!(told, ["It comes to more than 20000 parts when its references are followed."]);
    // Numbers that take more room in the database than on the wire.
    let large: Vec<f64> = (1..=500_u16).map(|nth| 1e300 * f64::from(nth)).collect();
    let told = refused(&staff, &json!({ "enum": large })).await;
    assert_eq!(told, ["Ensure the schema has no more than 64 KiB."]);

    // As many fields as there is room for, all filled in.
    let fields: serde_json::Map<String, Value> = (0..900)
        .map(|nth| (format!("field{nth}"), json!({ "type": "string", "maxLength": 200, "title": "T" })))
        .collect();
    let id = made(&staff, &json!({ "properties": fields, "additionalProperties": false })).await;
    let data: serde_json::Map<String, Value> =
        (0..900).map(|nth| (format!("field{nth}"), json!("x".repeat(200)))).collect();
    send(&staff, id, &data.into()).await.expect(201);
}

#[tokio::test]
async fn a_submission_is_the_callers_and_shown_with_all_its_fields() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let form = made(&staff, &excursion()).await;
    let data =
        json!({ "diet": "any", "address": { "street": "Wakefield St", "zip": "3122" }, "seats": [1, 2], "a/b": true });
    let sent = student
        .post(
            SUBMISSIONS,
            &json!({ "form": form.to_string(), "data": data, "submitter": staff.id, "schema_version": 9 }),
        )
        .await;
    let wanted = json!({
        "id": id_of(&sent), "form": form, "submitter": student.id, "data": data, "schema_version": 1, "created_at": NOW,
        "updated_at": NOW, "created_by": student.id, "updated_by": student.id, "deleted_at": null, "is_deleted": false,
    });
    assert_eq!(sent.expect(201), &wanted);
    assert_eq!(student.get(&at(SUBMISSIONS, id_of(&sent))).await.expect(200), &wanted);
    assert_eq!(staff.get(SUBMISSIONS).await.expect(200), &json!([wanted]));

    // Null is a value; nothing is not.
    let any = staff.post(FORMS, &json!({ "name": "Any", "slug": "any", "schema": {} })).await;
    assert_eq!(send(&student, id_of(&any), &json!(null)).await.expect(201)["data"], json!(null));
    let empty = student.post(SUBMISSIONS, &json!({})).await;
    assert_eq!((empty.errors("form").len(), empty.errors("data").len()), (1, 1), "{}", empty.body);
    assert_eq!(send(&student, Id(987_654), &json!({})).await.errors("form").len(), 1);
}

#[tokio::test]
async fn data_that_do_not_fit_are_refused_with_every_fault_at_its_pointer() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let form = made(&staff, &excursion()).await;
    let data = json!({
        "email": "nobody", "address": { "zip": "31222x" }, "seats": [0, "two", 3, 4], "a/b": 1, "more~": 1,
    });
    let reply = send(&student, form, &data).await;
    assert_eq!(reply.refusal(), (400, "invalid"));
    let wanted = json!({
        "data/diet": ["This field is required."],
        "data/email": ["Value is not a \"email\"."],
        "data/address/street": ["This field is required."],
        "data/address/zip": ["Value is longer than 4 characters.", "Value does not match \"^[0-9]{4}$\"."],
        "data/seats": ["Value has more than 3 items."],
        "data/seats/0": ["Value is less than the minimum of 1."],
        "data/seats/1": ["Value is not of type \"integer\"."],
        "data/a~1b": ["Value is not of type \"boolean\"."],
        "data/more~0": ["There is no such field in this form."],
    });
    assert_eq!(reply.body["errors"], wanted);
    assert_eq!(
        send(&student, form, &json!([])).await.body["errors"],
        json!({ "data": ["Value is not of type \"object\"."] })
    );
    assert_eq!(staff.get(SUBMISSIONS).await.ids(), []);
}

#[tokio::test]
async fn faults_are_told_up_to_a_bound() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let tests: Vec<Value> = (1..=9).map(|nth| json!({ "minimum": nth })).collect();
    let form =
        made(&staff, &json!({ "items": { "allOf": tests }, "properties": { "a": {} }, "additionalProperties": false }))
            .await;
    let reply = send(&staff, form, &json!(vec![0; 500])).await;
    let errors = reply.body["errors"].as_object().unwrap();
    assert_eq!(errors.len(), 100);
    assert!(errors.values().all(|says| says.as_array().unwrap().len() == 5), "{}", reply.body);
    // Where there is room for millions of faults only the first is told.
    let reply = send(&staff, form, &json!(vec![0; 60_000])).await;
    assert_eq!(reply.body["errors"], json!({ "data/0": ["Value is less than the minimum of 1."] }));
    let names: Value = (0..500).map(|nth| (format!("f{nth}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let reply = send(&staff, form, &names).await;
    assert_eq!(reply.body["errors"].as_object().unwrap().len(), 100);
}

#[tokio::test]
async fn data_are_bounded_in_size_and_in_what_checking_them_takes() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let form = made(&staff, &json!({})).await;
    let text = |bytes: usize| json!("x".repeat(bytes - 2));
    let reply = send(&staff, form, &text(256 * 1024 + 1)).await;
    assert_eq!(reply.errors("data"), ["Ensure the data have no more than 256 KiB."]);
    send(&staff, form, &text(256 * 1024)).await.expect(201);
    let reply = send(&staff, form, &json!(vec![1e300; 2_000])).await;
    assert_eq!(reply.errors("data"), ["Ensure the data have no more than 256 KiB."]);

    let many: Vec<Value> = (0..1_000).map(|_| json!({})).collect();
    let dear = json!({ "name": "Dear", "slug": "dear", "schema": { "items": { "allOf": many } } });
    let dear = id_of(&staff.post(FORMS, &dear).await);
    let reply = send(&staff, dear, &json!(vec![1; 100_000])).await;
    assert_eq!(reply.errors("data"), ["There is more in it than can be checked for this form."]);
    send(&staff, dear, &json!(vec![1; 1_000])).await.expect(201);
}

#[tokio::test]
async fn own_submissions_are_read_and_staff_and_auditors_read_all_the_newest_first() {
    let app = TestApp::start().await;
    let (staff, ann, ben) = (app.staff().await, app.student().await, app.student().await);
    let convenor = app.convenor().await;
    let form = made(&convenor, &json!({})).await;
    let other = id_of(&staff.post(FORMS, &json!({ "name": "Other", "slug": "other", "schema": {} })).await);
    let mut ids = Vec::new();
    for (day, (person, form)) in [(&ann, form), (&ben, form), (&ann, other), (&convenor, form)].into_iter().enumerate()
    {
        let sent = id_of(&send(person, form, &json!({})).await);
        let made = format!("update form_submissions set created_at = '2026-02-0{}' where id = {sent}", 9 - day);
        run(&app.db, made).await;
        ids.push(sent);
    }
    let [first, second, third, fourth] = ids[..] else { panic!("four") };
    for reader in [&staff, &app.auditor().await, &app.admin().await] {
        assert_eq!(reader.get(SUBMISSIONS).await.ids(), [first, second, third, fourth]);
        reader.get(&at(SUBMISSIONS, second)).await.expect(200);
    }
    for (query, wanted) in [
        (format!("?form={other}"), vec![third]),
        (format!("?submitter={}", ann.id), vec![first, third]),
        (format!("?submitter={}&form={form}", ann.id), vec![first]),
        ("?ordering=created_at".to_owned(), vec![fourth, third, second, first]),
        ("?schema_version=2".to_owned(), vec![]),
    ] {
        assert_eq!(staff.get(&format!("{SUBMISSIONS}{query}")).await.ids(), wanted, "{query}");
    }
    assert_eq!(all_pages(&staff, &format!("{SUBMISSIONS}?page_size=1"), async || {}).await, ids);
    assert_eq!(ann.get(SUBMISSIONS).await.ids(), [first, third]);
    assert_eq!(ann.get(&format!("{SUBMISSIONS}?submitter={}", ben.id)).await.ids(), []);
    assert_eq!(convenor.get(SUBMISSIONS).await.ids(), [fourth]);
    for reader in [&ann, &convenor, &app.parent().await] {
        assert_eq!(reader.get(&at(SUBMISSIONS, second)).await.refusal(), (404, "not_found"));
    }
}

#[tokio::test]
async fn what_was_sent_in_stays_and_only_administrators_delete_it() {
    let app = TestApp::start().await;
    let (staff, student, admin) = (app.staff().await, app.student().await, app.admin().await);
    let form = made(&staff, &json!({})).await;
    let sent = id_of(&send(&student, form, &json!({ "a": 1 })).await);
    let one = at(SUBMISSIONS, sent);
    for person in [&student, &admin] {
        assert_eq!(person.put(&one, &json!({ "form": form, "data": {} })).await.status.as_u16(), 405);
        assert_eq!(person.patch(&one, &json!({ "data": {} })).await.status.as_u16(), 405);
    }
    assert_eq!(student.delete(&one).await.refusal(), (403, "permission_denied"));
    assert_eq!(staff.delete(&one).await.refusal(), (403, "permission_denied"));
    assert_eq!(app.student().await.delete(&one).await.refusal(), (404, "not_found"));

    let kept = admin.delete(&at(FORMS, form)).await;
    assert_eq!((kept.refusal(), &kept.body["counts"]), ((409, "still_referred_to"), &json!({ "submissions": 1 })));
    admin.delete(&one).await.expect(204);
    assert_eq!(student.get(&one).await.refusal(), (404, "not_found"));
    admin.delete(&at(FORMS, form)).await.expect(204);
    let restore = format!("{one}restore/");
    assert_eq!(admin.post_bare(&restore).await.refusal(), (409, "cannot_be_restored"));
    admin.post_bare(&format!("{}restore/", at(FORMS, form))).await.expect(200);
    assert_eq!(admin.post_bare(&restore).await.expect(200)["data"], json!({ "a": 1 }));
    student.get(&one).await.expect(200);

    let log = sqlx::query_scalar!(
        r#"select string_agg(details::text, '') as "log!" from audit_log where resource_type = 'submission'"#
    );
    assert!(!log.fetch_one(&app.db).await.unwrap().contains("data"), "what people fill in stands in one place");
}

#[tokio::test]
async fn another_schema_is_a_new_version_and_a_submission_keeps_its_own() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let form = made(&staff, &json!({ "type": "integer" })).await;
    let one = at(FORMS, form);
    let first = id_of(&send(&student, form, &json!(1)).await);
    // Neither another name nor the same schema is a new version.
    let same = staff.patch(&one, &json!({ "name": "Other", "schema": { "type": "integer" } })).await;
    assert_eq!(same.expect(200)["schema_version"], 1);
    let changed = staff.patch(&one, &json!({ "schema": { "type": "string" } })).await;
    assert_eq!((&changed.expect(200)["schema_version"], &changed.body["name"]), (&json!(2), &json!("Other")));
    assert_eq!(send(&student, form, &json!(1)).await.refusal(), (400, "invalid"));
    let second = send(&student, form, &json!("one")).await;
    assert_eq!(second.expect(201)["schema_version"], 2);
    let kept = student.get(&at(SUBMISSIONS, first)).await;
    assert_eq!((&kept.expect(200)["schema_version"], &kept.body["data"]), (&json!(1), &json!(1)));
    assert_eq!(staff.get(&format!("{SUBMISSIONS}?schema_version=1")).await.ids(), [first]);

    // Back to what it was is a version again: they are numbered by time.
    let back = staff.put(&one, &json!({ "name": "Other", "slug": "other", "schema": { "type": "integer" } })).await;
    assert_eq!(back.expect(200)["schema_version"], 3);
    let refused = staff.patch(&one, &json!({ "schema": { "type": "text" } })).await;
    assert_eq!(refused.refusal(), (400, "invalid"));
    let versions = sqlx::query_scalar!(
        r#"select jsonb_agg(jsonb_build_array(version, schema) order by version) as "all!" from form_versions"#
    );
    let wanted = json!([[1, { "type": "integer" }], [2, { "type": "string" }], [3, { "type": "integer" }]]);
    assert_eq!(versions.fetch_one(&app.db).await.unwrap(), wanted);
    app.check_invariants().await;
}

#[tokio::test]
async fn two_changes_of_a_schema_at_once_are_two_versions() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let form = made(&staff, &json!({ "type": "integer" })).await;
    // Somebody else's change, halfway.
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("insert into form_versions (form_id, version, schema) values ({form}, 2, '{{}}')"))
        .await;
    run(&mut *halfway, format!("update forms set version = 2 where id = {form}")).await;
    let path = at(FORMS, form);
    let change = json!({ "schema": { "type": "string" } });
    let (reply, ()) = tokio::join!(staff.patch(&path, &change), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!((&reply.expect(200)["schema_version"], &reply.body["schema"]), (&json!(3), &change["schema"]));
    app.check_invariants().await;
}

#[tokio::test]
async fn what_is_sent_in_while_the_form_changes_is_checked_by_what_it_changes_to() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let form = made(&staff, &json!({ "type": "integer" })).await;
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("select from forms where id = {form} for no key update")).await;
    run(
        &mut *halfway,
        format!("insert into form_versions (form_id, version, schema) values ({form}, 2, '{{\"type\": \"string\"}}')"),
    )
    .await;
    run(&mut *halfway, format!("update forms set version = 2 where id = {form}")).await;
    let data = json!("one");
    let (reply, ()) = tokio::join!(send(&student, form, &data), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.expect(201)["schema_version"], 2);

    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("update forms set is_active = false where id = {form}")).await;
    let (reply, ()) = tokio::join!(send(&student, form, &data), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "form_inactive"));
}

#[tokio::test]
async fn a_form_is_not_deleted_while_it_is_sent_in() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let form = made(&staff, &json!({})).await;
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("select from forms where id = {form} for share")).await;
    run(
        &mut *halfway,
        format!(
            "insert into form_submissions (form_id, version, submitter_id, data) values ({form}, 1, {}, '1')",
            student.id
        ),
    )
    .await;
    let path = at(FORMS, form);
    let (reply, ()) = tokio::join!(staff.delete(&path), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "still_referred_to"));
}

#[tokio::test]
async fn a_submission_with_a_key_happens_once() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let form = made(&staff, &json!({})).await;
    let keyed = student.with("Idempotency-Key", "k");
    let body = json!({ "form": form, "data": { "a": 1 } });
    let first = keyed.post(SUBMISSIONS, &body).await;
    let again = keyed.post(SUBMISSIONS, &body).await;
    assert_eq!(first.expect(201), again.expect(201));
    assert_eq!(student.get(SUBMISSIONS).await.ids(), [id_of(&first)]);
    let other = keyed.post(SUBMISSIONS, &json!({ "form": form, "data": {} })).await;
    assert_eq!(other.refusal(), (422, "idempotency_key_reused"));
}
