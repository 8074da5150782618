//! Tokens that nobody was given. None is accepted, and none makes the server fail.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::support::{Person, TestApp};

/// The server's own, as the tests set it; nobody outside has it, but a token made with it must still be what it says.
const KEY: &[u8] = b"the key of the tests, forty characters long";

const ME: &str = "/api/users/users/me/";
const COURSES: &str = "/api/academic/courses/";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn sign_with(algorithm: hmac::Algorithm, key: &[u8], header: &str, claims: &str) -> String {
    let input = format!("{}.{}", b64(header), b64(claims));
    let tag = hmac::sign(&hmac::Key::new(algorithm, key), input.as_bytes());
    format!("{input}.{}", b64(tag))
}

/// As the server signs, whatever is signed.
fn sign(header: &str, claims: &str) -> String {
    sign_with(hmac::HMAC_SHA256, KEY, header, claims)
}

/// What the server writes itself.
fn header() -> Value {
    json!({ "typ": "JWT", "alg": "HS256" })
}

/// With a member set to each of these values; null removes it.
fn with(whole: &Value, name: &str, value: &Value) -> String {
    let mut changed = whole.clone();
    let members = changed.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value.clone());
    }
    changed.to_string()
}

/// Of these claims of a live session; `other` is somebody else's.
#[allow(clippy::too_many_lines, reason = "a list, read a trick at a time")]
fn tokens(claims: &Value, ann: &Person, other: &Person) -> Vec<String> {
    let (plain, good) = (claims.to_string(), header().to_string());
    let (head, body) = (b64(&good), b64(&plain));
    let genuine = sign(&good, &plain);
    let signature = genuine.rsplit('.').next().unwrap().to_owned();
    let now = claims["iat"].as_i64().unwrap();
    let mut all = Vec::new();

    // No signature, said in every way, with none, the right one, and one of something else.
    for none in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "nonE",
        "noNe",
        " none",
        "none ",
        "none\u{0}",
        "ɴone",
        "",
        "null",
        "HS0",
        "plain",
    ] {
        let header = json!({ "typ": "JWT", "alg": none }).to_string();
        let unsigned = format!("{}.{body}", b64(&header));
        all.extend([
            format!("{unsigned}."),
            unsigned.clone(),
            format!("{unsigned}.{signature}"),
            sign(&header, &plain),
        ]);
    }
    // Other algorithms: named over the right signature, and really used.
    let algorithms = [
        "HS384",
        "HS512",
        "HS1",
        "hs256",
        "Hs256",
        "HS256 ",
        " HS256",
        "HMAC",
        "SHA256",
        "RS256",
        "RS384",
        "RS512",
        "ES256",
        "ES384",
        "ES512",
        "ES256K",
        "PS256",
        "PS384",
        "PS512",
        "EdDSA",
        "Ed25519",
        "dir",
        "A128KW",
        "A256GCMKW",
        "RSA-OAEP",
        "ECDH-ES",
        "PBES2-HS256+A128KW",
    ];
    for algorithm in algorithms {
        let header = json!({ "typ": "JWT", "alg": algorithm }).to_string();
        all.extend([
            sign(&header, &plain),
            format!("{}.{body}.{signature}", b64(&header)),
            format!("{}.{body}.", b64(&header)),
        ]);
    }
    for (name, algorithm) in
        [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512), ("HS1", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)]
    {
        for said in [name, "HS256"] {
            all.push(sign_with(algorithm, KEY, &json!({ "typ": "JWT", "alg": said }).to_string(), &plain));
        }
    }
    for algorithm in [json!(null), json!(256), json!(["HS256"]), json!({ "alg": "HS256" }), json!(true), json!(1e300)] {
        all.push(sign(&json!({ "typ": "JWT", "alg": algorithm }).to_string(), &plain));
    }

    // Other keys: empty, guessed, a part of ours, ours in another spelling, a public key that everybody knows.
    let keys: [&[u8]; 24] = [
        b"",
        b" ",
        b"\0",
        b"secret",
        b"changeme",
        b"your-256-bit-secret",
        b"django-insecure",
        b"SECRET_KEY",
        b"null",
        b"undefined",
        b"swincms",
        b"0",
        b"the key of the tests",
        b"the key of the tests, forty characters long ",
        b"THE KEY OF THE TESTS, FORTY CHARACTERS LONG",
        b"the key of the tests, forty characters lon",
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
        &[0; 32],
        &[0; 64],
        &[255; 32],
        b"HS256",
        b"Bearer",
        b"127.0.0.1",
        b"localhost",
    ];
    for key in keys {
        all.push(sign_with(hmac::HMAC_SHA256, key, &good, &plain));
    }
    let spelt = [BASE64_STANDARD.encode(KEY), b64(KEY), KEY.iter().map(|byte| format!("{byte:02x}")).collect()];
    for key in spelt.iter().map(String::as_bytes).chain([
        ann.email.as_bytes(),
        ann.access.as_bytes(),
        ann.refresh.as_bytes(),
        body.as_bytes(),
    ]) {
        all.push(sign_with(hmac::HMAC_SHA256, key, &good, &plain));
    }

    // Headers that lead to another key, or ask for more than we do: with the right signature and with the key they name.
    let leading = [
        ("kid", json!("../../../../../../dev/null")),
        ("kid", json!("/proc/sys/kernel/randomize_va_space")),
        ("kid", json!("' union select 'x'; --")),
        ("kid", json!("0")),
        ("kid", json!("")),
        ("kid", json!(1)),
        ("kid", json!("$(id)")),
        ("kid", json!("file:///etc/hostname")),
        ("kid", json!({ "a": [] })),
        ("jku", json!("http://127.0.0.1:1/keys.json")),
        ("jku", json!("https://example.edu/.well-known/jwks.json")),
        ("jku", json!("file:///etc/passwd")),
        ("jku", json!([])),
        ("jwk", json!({ "kty": "oct", "k": "" })),
        ("jwk", json!({ "kty": "oct", "k": b64("secret"), "alg": "HS256" })),
        ("jwk", json!("x")),
        ("jwk", json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" })),
        ("x5u", json!("http://127.0.0.1:1/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5c", json!("MIIB")),
        ("x5t", json!("x")),
        ("x5t#S256", json!("x")),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["urn:example:x"])),
        ("crit", json!("exp")),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("cty", json!("JWT")),
        ("url", json!("http://127.0.0.1/")),
        ("nonce", json!("x")),
        ("typ", json!("JWE")),
        ("typ", json!("jwt")),
        ("typ", json!("at+jwt")),
        ("typ", json!("")),
        ("typ", json!(5)),
        ("typ", json!(null)),
        ("exp", json!(now + 60)),
        ("iss", json!("swincms")),
        ("anything", json!("else")),
        ("__proto__", json!({ "alg": "none" })),
        ("p2c", json!(2_147_483_647)),
    ];
    for (name, value) in leading {
        let header = with(&header(), name, &value);
        all.extend([sign(&header, &plain), sign_with(hmac::HMAC_SHA256, b"", &header, &plain)]);
    }

    // Claims that are wrong, missing, of another type, or too many, all signed as ours are.
    let wrong = [
        (
            "token_type",
            vec![
                json!(null),
                json!("refresh"),
                json!("Access"),
                json!("ACCESS"),
                json!(" access"),
                json!("sliding"),
                json!(""),
                json!(1),
                json!(["access"]),
                json!({}),
                json!(true),
            ],
        ),
        (
            "exp",
            vec![
                json!(null),
                json!(now),
                json!(now - 1),
                json!(now - 6),
                json!(now - 3600),
                json!(0),
                json!(-1),
                json!(i64::MIN),
                json!(i64::MAX),
                json!(u64::MAX),
                json!(1e300),
                json!((now + 3600).to_string()),
                json!((now + 3600) * 1000),
                json!(now + 86_400 * 365),
                json!("never"),
                json!(false),
                json!([now + 3600]),
                json!({}),
                json!(3600.5),
                json!(9.9e15),
            ],
        ),
        (
            "iat",
            vec![
                json!(null),
                json!(i64::MAX),
                json!(i64::MIN),
                json!(0),
                json!(-1),
                json!(now.to_string()),
                json!("now"),
                json!([]),
                json!(1e300),
                json!(true),
            ],
        ),
        ("jti", vec![json!(null), json!(5), json!([]), json!({}), json!(true)]),
        (
            "user_id",
            vec![
                json!(null),
                json!(other.id),
                json!(ann.id.0.to_string()),
                json!(0),
                json!(-ann.id.0),
                json!(i64::MAX),
                json!(u64::MAX),
                json!(1e300),
                json!(""),
                json!("1 or 1=1"),
                json!(true),
                json!([ann.id]),
                json!({ "id": ann.id }),
                json!(9_007_199_254_740_993_i64),
                json!("admin"),
                json!("\u{0}"),
            ],
        ),
        (
            "session_id",
            vec![
                json!(null),
                json!(other.session),
                json!(ann.session.0.to_string()),
                json!(0),
                json!(-1),
                json!(ann.session.0 + 1_000_000),
                json!(i64::MAX),
                json!(u64::MAX),
                json!(""),
                json!("1"),
                json!(true),
                json!([]),
                json!("x' or 'x'='x"),
                json!({}),
            ],
        ),
        ("nbf", vec![json!(now + 3600), json!(now - 3600), json!("x")]),
        ("iss", vec![json!("swincms"), json!("https://example.edu/")]),
        ("aud", vec![json!("swincms"), json!(["a", "b"])]),
        ("sub", vec![json!(ann.id), json!(other.id.0.to_string())]),
        ("is_staff", vec![json!(true)]),
        ("is_superuser", vec![json!(true)]),
        ("user_type", vec![json!("admin")]),
        ("permissions", vec![json!(["users.manage:all"])]),
        ("session", vec![json!(ann.session)]),
        ("TOKEN_TYPE", vec![json!("access")]),
        ("", vec![json!("")]),
    ];
    for (name, values) in wrong {
        // One that removes what is not there would change nothing.
        all.extend(
            values
                .iter()
                .filter(|value| !value.is_null() || claims.get(name).is_some())
                .map(|value| sign(&good, &with(claims, name, value))),
        );
    }
    let renamed = |from: &str, to: &str| plain.replace(&format!("\"{from}\""), &format!("\"{to}\""));
    for (from, to) in [
        ("user_id", "User_Id"),
        ("user_id", "user"),
        ("session_id", "sid"),
        ("token_type", "typ"),
        ("exp", "EXP"),
        ("exp", "expires"),
        ("iat", "issued"),
        ("jti", "JTI"),
        ("user_id", "user\u{200b}_id"),
        ("exp", "еxp"),
    ] {
        all.push(sign(&good, &renamed(from, to)));
    }
    // A member twice: whoever reads the last and whoever reads the first see different tokens.
    for twice in [
        format!("\"user_id\":{}", other.id),
        format!("\"exp\":{}", now + 60),
        "\"token_type\":\"access\"".to_owned(),
        format!("\"session_id\":{}", other.session),
    ] {
        all.push(sign(&good, &plain.replacen('{', &format!("{{{twice},"), 1)));
        all.push(sign(&good, &format!("{},{twice}}}", plain.trim_end_matches('}'))));
    }
    let (first, last) =
        (good.replacen('{', "{\"alg\":\"none\",", 1), format!("{},\"alg\":\"none\"}}", good.trim_end_matches('}')));
    all.extend([sign(&first, &plain), sign(&last, &plain)]);
    // Bodies that are no claims.
    let list = json!([claims]).to_string();
    for claims in [
        "",
        "null",
        "true",
        "0",
        "\"\"",
        "[]",
        "{}",
        "{",
        "}",
        "\u{feff}{}",
        list.as_str(),
        "{\"exp\":1e999}",
        "NaN",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\u0000\"}",
        "exp=1&user_id=1",
    ] {
        all.push(sign(&good, claims));
    }
    all.push(sign(&good, &"[".repeat(3000)));
    all.push(sign(&good, &format!("{plain} x")));
    all.push(sign(&good, &format!("{plain}{plain}")));
    all.push(sign(&good, &format!("{}\"x\":{}}}", plain.trim_end_matches('}').to_owned() + ",", "9".repeat(2000))));
    for broken in [
        vec![0xff, 0xfe],
        vec![0xc0, 0x80],
        vec![0],
        vec![0xed, 0xa0, 0x80],
        plain.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    ] {
        let input = format!("{head}.{}", b64(&broken));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), input.as_bytes());
        all.push(format!("{input}.{}", b64(tag)));
        all.push(format!("{}.{body}.{signature}", b64(&broken)));
    }
    for header in ["", "null", "[]", "{}", "\"HS256\"", "{\"alg\"", "{\"typ\":\"JWT\"}"] {
        all.push(sign(header, &plain));
    }

    // The genuine one, cut, lengthened, mended and mangled.
    for length in (0..genuine.len()).step_by(9) {
        all.push(genuine[..length].to_owned());
    }
    all.extend([
        format!("{genuine}."),
        format!(".{genuine}"),
        format!("{genuine}.x"),
        format!("{genuine}.{signature}"),
        format!("{head}..{signature}"),
        format!("{head}.{body}.{body}"),
        format!("{body}.{head}.{signature}"),
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        format!("{head}.{body}..{signature}"),
        format!("{head}.{body}.e30.{signature}"),
        format!("..{signature}"),
        format!("{genuine}="),
        format!("{genuine}=="),
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}=.{signature}"),
        format!("{head}.{body}==.{signature}="),
        format!("{genuine}%3D"),
        format!("{genuine}\\n"),
        format!("{genuine}%00"),
        genuine.replace('.', ","),
        genuine.replace('.', "%2e"),
        genuine.replacen('.', "..", 1),
        genuine.to_uppercase(),
        genuine.to_lowercase(),
        genuine.chars().rev().collect(),
        format!("\"{genuine}\""),
        format!("'{genuine}'"),
        format!("[{genuine}]"),
        format!("token={genuine}"),
        format!("JWT {genuine}"),
        format!("{genuine},{genuine}"),
        format!("{genuine};"),
        b64(&genuine),
        BASE64_STANDARD.encode(&genuine),
        format!("{head}.{body}.{}", "A".repeat(43)),
        format!("{head}.{body}.{}", b64([0; 32])),
        format!("{head}.{body}.{}", b64([0; 31])),
        format!("{head}.{body}.{signature}AAAA"),
        format!("{head}.{body}.{}", &signature[..42]),
        format!("{head}.{body}.{}", &signature[1..]),
        ".".to_owned(),
        "...".to_owned(),
        "....".to_owned(),
        "e30.e30.e30".to_owned(),
        "null".to_owned(),
        "undefined".to_owned(),
        "[object Object]".to_owned(),
        "true".to_owned(),
        "0".to_owned(),
        "*".to_owned(),
        "-".to_owned(),
        "_".to_owned(),
        "../../etc/passwd".to_owned(),
        "' or 1=1 --".to_owned(),
        "Ünïcödé".to_owned(),
        "日本語.日本語.日本語".to_owned(),
        "👍.👍.👍".to_owned(),
        "\u{202e}x.y.z".to_owned(),
        "A".repeat(4097),
        format!("{genuine}{}", "A".repeat(5000)),
        ".".repeat(3000),
        format!("{head}.{}.{signature}", "A".repeat(6000)),
    ]);
    // Bits of the last letter that say nothing: there is one spelling of a signature.
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = letters.find(signature.chars().last().unwrap()).unwrap();
    for other in (0..64).filter(|other| *other != last) {
        all.push(format!("{}{}", &genuine[..genuine.len() - 1], &letters[other..=other]));
    }
    // A letter of each part changed.
    for place in (0..genuine.len()).step_by(7) {
        let mut bytes = genuine.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        all.push(String::from_utf8(bytes).unwrap());
    }
    let distinct: BTreeSet<String> = all.into_iter().filter(|token| *token != genuine).collect();
    distinct.into_iter().collect()
}

/// The claims of a token of ours.
fn claims_of(token: &str) -> Value {
    let claims: Map<String, Value> =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    Value::Object(claims)
}

#[tokio::test]
async fn no_hostile_access_token_is_accepted() {
    let app = TestApp::start().await;
    let (ann, other) = (app.student().await, app.admin().await);
    let claims = claims_of(&ann.access);
    // It is the trick that is refused, not all of it.
    let genuine = sign(&header().to_string(), &claims.to_string());
    let bearing = |token: &str| app.anonymous().with("Authorization", format!("Bearer {token}"));
    assert_eq!(bearing(&genuine).get(ME).await.expect(200)["id"], json!(ann.id));

    let tokens = tokens(&claims, &ann, &other);
    assert!(tokens.len() >= 300, "only {} tokens", tokens.len());
    for token in tokens.iter().chain([&ann.refresh, &other.refresh]) {
        // What no header can carry still fits into a body.
        if token.bytes().all(|byte| byte >= 0x20 && byte != 0x7f) {
            for path in [ME, COURSES] {
                let reply = bearing(token).get(path).await;
                assert_eq!(reply.refusal(), (401, "token_not_valid"), "{path} with {token}: {}", reply.body);
            }
        }
        if token == &ann.refresh || token == &other.refresh {
            continue;
        }
        let reply = app.anonymous().post("/api/token/verify/", &json!({ "token": token })).await;
        let is_refresh = claims_of_hostile(token).is_some_and(|claims| claims["token_type"] == "refresh");
        if is_refresh {
            // A refresh token by its claims, and rightly signed: good, but not for requests.
            continue;
        }
        assert_eq!(reply.refusal(), (401, "token_not_valid"), "verify with {token}: {}", reply.body);
    }
    assert_eq!(bearing(&genuine).get(ME).await.expect(200)["id"], json!(ann.id));
}

fn claims_of_hostile(token: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?).ok()
}

#[tokio::test]
async fn no_hostile_refresh_token_is_accepted() {
    let app = TestApp::start().await;
    let (ann, other) = (app.student().await, app.admin().await);
    let tokens = tokens(&claims_of(&ann.refresh), &ann, &other);
    assert!(tokens.len() >= 300, "only {} tokens", tokens.len());
    for token in tokens.iter().chain([&ann.access]) {
        for path in ["/api/token/refresh/", "/api/token/logout/"] {
            let reply = app.anonymous().post(path, &json!({ "refresh": token })).await;
            let refused = matches!(reply.refusal(), (401, "token_not_valid"));
            // NUL can stand in no text of a body.
            assert!(
                refused || (token.contains('\0') && reply.status.as_u16() == 400),
                "{path} with {token}: {}",
                reply.body
            );
        }
    }
    app.anonymous().post("/api/token/refresh/", &json!({ "refresh": ann.refresh })).await.expect(200);
    ann.get(ME).await.expect(200);
}

#[tokio::test]
async fn somebody_elses_session_does_not_lend_its_user() {
    let app = TestApp::start().await;
    let (ann, admin) = (app.student().await, app.admin().await);
    let mut claims = claims_of(&ann.access);
    for (user, session) in [(admin.id, ann.session), (ann.id, admin.session)] {
        claims["user_id"] = json!(user);
        claims["session_id"] = json!(session);
        let token = sign(&header().to_string(), &claims.to_string());
        let reply = app.anonymous().with("Authorization", format!("Bearer {token}")).get(ME).await;
        assert_eq!(reply.refusal(), (401, "token_not_valid"));
    }
}

#[tokio::test]
async fn a_server_with_another_key_knows_none_of_our_tokens() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let other = app.another_server().with("SECRET_KEY", "another key, also forty characters long.").start().await;
    assert_eq!(ann.at(&other).get(ME).await.refusal(), (401, "token_not_valid"));
    ann.get(ME).await.expect(200);
}
