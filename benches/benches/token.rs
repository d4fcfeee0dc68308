//! What it costs to know a client: by a static token among 1, 1,000 and 100,000, by a signed token that was verified
//! before, and by one that was not. `hot` asks for one client over and over, `many` for another of 500 each time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringgate_config::{Auth, Jwt, JwtKeys};
use ringgate_gateway::auth::{Guard, Handles, KeyRing, Keys, Memory, Presented, Tokens, tokens};

const NOW: u64 = 1_700_000_000;

/// As many different clients as ask in turn.
const ASKING: usize = 500;

fn auth() -> Auth {
    Auth {
        realm: "ringgate".to_owned(),
        tokens_file: None,
        users_file: None,
        jwt: None,
        client_certificate: false,
    }
}

fn is_known(guard: &Guard, authorization: &str, memory: &mut Memory) -> bool {
    let presented = Presented {
        authorization: Some(black_box(authorization.as_bytes())),
        certificate: None,
    };
    guard.check(presented, NOW, memory).is_ok()
}

fn static_tokens(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("static");
    let secret = |number: usize| format!("rg_{number:0>43}");
    for count in [1, 1000, 100_000] {
        let lines = (0..count)
            .map(|number| tokens::line(&format!("app{number}"), secret(number).as_bytes(), &[]));
        let text = lines.collect::<Vec<_>>().join("\n");
        let tokens = Tokens::parse(&text).expect("the lines are good");
        let handles = Handles {
            tokens: Some(Arc::new(ArcSwap::from_pointee(tokens))),
            ..Handles::default()
        };
        let guard = Guard::new(&auth(), handles);
        let mut memory = Memory::new();
        let mut check = |name: &str, values: &[String]| {
            let mut turn = 0;
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    turn = (turn + 1) % values.len();
                    is_known(&guard, &values[turn], &mut memory)
                });
            });
        };
        let value = |number: usize| format!("Bearer {}", secret(number));
        check("hot", &[value(0)]);
        check(
            "many",
            &(0..ASKING.min(count)).map(value).collect::<Vec<_>>(),
        );
        check("wrong", &["Bearer rg_0".to_owned()]);
    }
}

fn signed_tokens(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("signed");
    let pair =
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("there is randomness");
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
    let set = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}]}}"#);
    let keys = Keys::parse(set.as_bytes()).expect("the key is good").keys;
    let jwt = Jwt {
        keys: JwtKeys::File("/nowhere".into()),
        issuer: None,
        audience: Vec::new(),
        algorithms: vec!["ES256".to_owned()],
        leeway: Duration::ZERO,
        consumer_claim: "sub".to_owned(),
        scope_claim: "scope".to_owned(),
    };
    let auth = Auth {
        jwt: Some(jwt),
        ..auth()
    };
    let handles = Handles {
        keys: Some(Arc::new(KeyRing::new(keys))),
        ..Handles::default()
    };
    let guard = Guard::new(&auth, handles);
    let value = |number: usize| {
        let claims = format!(
            r#"{{"iss":"https://login.example.com/","aud":"https://api.example.com","sub":"client{number}","exp":{},"#,
            NOW + 600
        );
        let claims = format!(
            r#"{claims}"scope":"read write","iat":{NOW},"azp":"0123456789abcdef0123456789abcdef"}}"#
        );
        let [header, claims] =
            [r#"{"alg":"ES256","typ":"JWT"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let message = format!("{header}.{claims}");
        let signature = pair.sign(&SystemRandom::new(), message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.expect("the key signs"));
        format!("Bearer {message}.{signature}")
    };
    let values: Vec<String> = (0..ASKING).map(value).collect();
    let mut memory = Memory::new();
    let mut turn = 0;
    group.bench_function("remembered/hot", |bencher| {
        bencher.iter(|| is_known(&guard, &values[0], &mut memory));
    });
    group.bench_function("remembered/many", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % ASKING;
            is_known(&guard, &values[turn], &mut memory)
        });
    });
    group.bench_function("new", |bencher| {
        bencher.iter_batched(
            Memory::new,
            |mut memory| is_known(&guard, &values[0], &mut memory),
            criterion::BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, static_tokens, signed_tokens);
criterion_main!(benches);
