//! Keys, signed tokens and guards for the tests of this room, made on the spot. Compiled into tests alone.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ringgate_config::{Auth, Jwt, JwtKeys};
use serde_json::{Value, json};

use super::{Denied, Guard, Handles, KeyRing, Keys, Memory, Presented, Tokens, Users};

/// The second at which tests happen.
pub(super) const NOW: u64 = 1_700_000_000;

/// Signs bytes.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// Somebody who signs tokens.
pub(super) struct Signer {
    sign: Sign,
    /// The public key as a member of a set.
    pub(super) jwk: Value,
    /// The public key as PEM.
    pub(super) pem: String,
}

impl Signer {
    pub(super) fn es256() -> Signer {
        Signer::ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32)
    }

    pub(super) fn es384() -> Signer {
        Signer::ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48)
    }

    fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &str, bytes: usize) -> Signer {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(bytes);
        Signer {
            jwk: json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)}),
            pem: pem(&pair.public_key().as_der().unwrap()),
            sign: Box::new(move |message| {
                let signature = pair.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }),
        }
    }

    pub(super) fn ed25519() -> Signer {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = pair.public_key().as_ref();
        Signer {
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": b64(x)}),
            pem: pem(&pair.public_key().as_der().unwrap()),
            sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()),
        }
    }

    pub(super) fn rs256(size: KeySize) -> Signer {
        Signer::rsa(&RSA_PKCS1_SHA256, size)
    }

    pub(super) fn ps256() -> Signer {
        Signer::rsa(&RSA_PSS_SHA256, KeySize::Rsa2048)
    }

    fn rsa(encoding: &'static dyn RsaEncoding, size: KeySize) -> Signer {
        let pair = RsaKeyPair::generate(size).unwrap();
        // RFC 8017 §A.1.1: the modulus, behind the heads of a sequence and a number and a zero, and 65537 at the end.
        let der = pair.public_key().as_ref();
        let modulus = &der[der.len() - 5 - pair.public_modulus_len()..der.len() - 5];
        Signer {
            jwk: json!({"kty": "RSA", "n": b64(modulus), "e": "AQAB"}),
            pem: pem(&pair.public_key().as_der().unwrap()),
            sign: Box::new(move |message| {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                pair.sign(encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }),
        }
    }

    pub(super) fn hs256(secret: &[u8]) -> Signer {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Signer {
            jwk: json!({"kty": "oct", "k": b64(secret)}),
            pem: String::new(),
            sign: Box::new(move |message| hmac::sign(&key, message).as_ref().to_vec()),
        }
    }

    /// The same with another member in its key.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Signer {
        self.jwk[name] = value.into();
        self
    }

    /// A token of these two texts.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_encoded(&b64(header), &b64(claims))
    }

    /// A token of these two parts.
    pub(super) fn sign_encoded(&self, header: &str, claims: &str) -> String {
        let message = format!("{header}.{claims}");
        let signature = b64((self.sign)(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(der: &PublicKeyX509Der<'_>) -> String {
    let body = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n")
}

/// A set of the keys of these.
pub(super) fn set(signers: &[&Signer]) -> String {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    json!({ "keys": keys }).to_string()
}

/// Tokens of `https://issuer.example` for `api`, by these algorithms.
pub(super) fn jwt(algorithms: &[&str]) -> Jwt {
    Jwt {
        keys: JwtKeys::File("/nowhere/keys.json".into()),
        issuer: Some("https://issuer.example".to_owned()),
        audience: vec!["api".to_owned(), "other".to_owned()],
        algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
        leeway: Duration::from_secs(30),
        consumer_claim: "sub".to_owned(),
        scope_claim: "scope".to_owned(),
    }
}

/// A configuration that asks for nothing yet.
pub(super) fn auth() -> Auth {
    Auth {
        realm: "ringgate".to_owned(),
        tokens_file: None,
        users_file: None,
        jwt: None,
        client_certificate: false,
    }
}

/// A guard and what a worker remembers.
pub(super) struct Post {
    pub(super) guard: Guard,
    pub(super) memory: Memory,
    pub(super) handles: Handles,
}

impl Post {
    pub(super) fn new(auth: &Auth, handles: Handles) -> Post {
        Post {
            guard: Guard::new(auth, handles.clone()),
            memory: Memory::new(),
            handles,
        }
    }

    /// One that believes tokens that were signed by these, by these algorithms.
    pub(super) fn of_signers(signers: &[&Signer], algorithms: &[&str]) -> Post {
        let keys = Keys::parse(set(signers).as_bytes()).unwrap().keys;
        Post::of_keys(keys, jwt(algorithms))
    }

    pub(super) fn of_keys(keys: Keys, jwt: Jwt) -> Post {
        let auth = Auth {
            jwt: Some(jwt),
            ..auth()
        };
        let handles = Handles {
            keys: Some(Arc::new(KeyRing::new(keys))),
            ..Handles::default()
        };
        Post::new(&auth, handles)
    }

    /// Who presents that, by name.
    pub(super) fn ask(&mut self, authorization: &str) -> Result<String, Denied> {
        self.ask_at(authorization, NOW)
    }

    pub(super) fn ask_at(&mut self, authorization: &str, now: u64) -> Result<String, Denied> {
        let presented = Presented {
            authorization: Some(authorization.as_bytes()),
            certificate: None,
        };
        let identity = self.guard.check(presented, now, &mut self.memory)?;
        assert!(identity.consumed);
        Ok(identity.consumer.name.as_ref().to_owned())
    }
}

pub(super) fn tokens(text: &str) -> Arc<ArcSwap<Tokens>> {
    Arc::new(ArcSwap::from_pointee(Tokens::parse(text).unwrap()))
}

pub(super) fn users(text: &str) -> Arc<ArcSwap<Users>> {
    Arc::new(ArcSwap::from_pointee(Users::parse(text).unwrap()))
}
