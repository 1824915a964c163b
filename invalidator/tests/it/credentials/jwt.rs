//! An operator, an account with JetStream and a user of NATS, each told by a JWT that the one above has signed.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};

/// What an operator, an account and a user come to.
pub struct Decentral {
    /// What the server has to know: its lines of configuration.
    pub lines: Vec<String>,
    /// The user's credentials file.
    pub credentials: String,
}

impl Decentral {
    /// New ones.
    pub fn new() -> Self {
        let (operator, account, system, user) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_user());
        let unlimited = |storage: i64| {
            json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
                    "mem_storage": storage, "disk_storage": storage, "streams": -1, "consumer": -1 })
        };
        let account_claims = |storage| json!({ "limits": unlimited(storage), "type": "account", "version": 2 });
        let operator_claims = json!({ "system_account": system.public_key(), "type": "operator", "version": 2 });
        let user_claims = json!({ "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
        let [account_jwt, system_jwt] =
            [(&account, -1), (&system, 0)].map(|(key, storage)| signed(&operator, key, "account", account_claims(storage)));
        let user_jwt = signed(&account, &user, "user", user_claims);
        let lines = vec![
            format!("operator: {}", signed(&operator, &operator, "operator", operator_claims)),
            format!("system_account: {}", system.public_key()),
            "resolver: MEMORY".to_owned(),
            format!("resolver_preload: {{ {}: {account_jwt}, {}: {system_jwt} }}", account.public_key(), system.public_key()),
        ];
        Self { lines, credentials: credentials(&user_jwt, &user.seed().expect("a seed")) }
    }
}

/// As the tool `nsc` writes it.
pub fn credentials(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

/// Claims about a key, signed by another.
fn signed(by: &KeyPair, about: &KeyPair, name: &str, claims: Value) -> String {
    let encode = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let id = uuid::Uuid::new_v4().simple().to_string();
    let body =
        json!({ "jti": id, "iat": 1_700_000_000, "iss": by.public_key(), "sub": about.public_key(), "name": name, "nats": claims });
    let text = format!("{}.{}", encode(json!({ "typ": "JWT", "alg": "ed25519-nkey" })), encode(body));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(by.sign(text.as_bytes()).expect("a key that signs"));
    format!("{text}.{signature}")
}
