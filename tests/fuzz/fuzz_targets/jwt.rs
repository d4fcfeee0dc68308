//! Any bytes as a field `Authorization`, and any bytes as header and claims of a token that is signed well: `check` never
//! panics, lets nobody in who has no key, says the same twice, and gives nobody a name that could break a line.
//!
//! In the folder `tests`, with `cargo install cargo-fuzz`:
//!
//! ```text
//! mkdir -p fuzz/corpus/jwt
//! cargo +nightly fuzz run jwt fuzz/corpus/jwt fuzz/seeds/jwt -- -max_len=10000
//! ```

#![no_main]

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use ringgate_config::{Auth, Jwt, JwtKeys};
use ringgate_gateway::auth::{
    Denied, Guard, Handles, KeyRing, Keys, Memory, Presented, TOKEN_BYTES_MAX,
};

const NOW: u64 = 1_700_000_000;
const SECRET: [u8; 32] = [7; 32];

fuzz_target!(|bytes: &[u8]| {
    let mut memory = Memory::new();
    assert!(ask(bytes, &mut memory).is_err());
    let bearer = [b"Bearer ", bytes].concat();
    assert!(ask(&bearer, &mut memory).is_err());
    let _ = Keys::parse(bytes);

    let cut = bytes.iter().position(|byte| *byte == 0);
    let (header, claims) = bytes.split_at(cut.unwrap_or(0));
    let claims = claims.strip_prefix(&[0]).unwrap_or(claims);
    let header = match header {
        b"" => br#"{"alg":"HS256"}"#,
        other => other,
    };
    let signed = signed(header, claims);
    let verdict = ask(signed.as_bytes(), &mut memory);
    assert_eq!(ask(signed.as_bytes(), &mut memory), verdict);
    if let Ok(name) = verdict {
        assert!(
            (1..=256).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
        );
        assert!(signed.len() <= "Bearer ".len() + TOKEN_BYTES_MAX);
        let claims: serde_json::Value = serde_json::from_slice(claims).expect("it was believed");
        assert_eq!(claims["sub"], *name);
        assert!(claims["exp"].as_f64().is_some_and(|end| end > NOW as f64));
        let header: serde_json::Value = serde_json::from_slice(header).expect("it was believed");
        assert!(header["alg"] == "HS256" && header.get("crit").is_none());
    }
});

fn signed(header: &[u8], claims: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    format!("Bearer {message}.{signature}")
}

fn ask(authorization: &[u8], memory: &mut Memory) -> Result<String, Denied> {
    let presented = Presented {
        authorization: Some(authorization),
        certificate: None,
    };
    let identity = guard().check(presented, NOW, memory)?;
    Ok(identity.consumer.name.to_string())
}

fn guard() -> &'static Guard {
    static GUARD: OnceLock<Guard> = OnceLock::new();
    GUARD.get_or_init(|| {
        let secret = URL_SAFE_NO_PAD.encode(SECRET);
        let set = format!(r#"{{"keys":[{{"kty":"oct","k":"{secret}"}}]}}"#);
        let keys = Keys::parse(set.as_bytes()).expect("the key is good").keys;
        let jwt = Jwt {
            keys: JwtKeys::File("/nowhere".into()),
            issuer: None,
            audience: Vec::new(),
            algorithms: vec!["HS256".to_owned()],
            leeway: Duration::ZERO,
            consumer_claim: "sub".to_owned(),
            scope_claim: "scope".to_owned(),
        };
        let auth = Auth {
            realm: "ringgate".to_owned(),
            tokens_file: None,
            users_file: None,
            jwt: Some(jwt),
            client_certificate: false,
        };
        let handles = Handles {
            keys: Some(Arc::new(KeyRing::new(keys))),
            ..Handles::default()
        };
        Guard::new(&auth, handles)
    })
}
