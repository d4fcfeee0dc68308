//! Any text as a file of tokens or of users: `parse` never panics, says where each mistake is, and a line that is written
//! by us is read by us behind whatever is good.
//!
//! In the folder `tests`, with `cargo install cargo-fuzz`:
//!
//! ```text
//! mkdir -p fuzz/corpus/tokens_file
//! cargo +nightly fuzz run tokens_file fuzz/corpus/tokens_file fuzz/seeds/tokens_file -- -max_len=5000
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate_gateway::auth::{Flaw, Tokens, Users, tokens};

/// No input has it by chance.
const NAME: &str = "a.name-that@nobody_has";

fuzz_target!(|text: &str| {
    match Tokens::parse(text) {
        Err(flaws) => check(&flaws, text),
        Ok(before) => {
            let with_ours = format!("{text}\n{}", tokens::line(NAME, b"a secret", &[]));
            if before.has_name(NAME) || before.find(b"a secret").is_some() {
                return;
            }
            let after = Tokens::parse(&with_ours).expect("a good line follows good ones");
            assert_eq!(after.len(), before.len() + 1);
            let found = after.find(b"a secret").expect("its line is there");
            assert_eq!(&*found.name, NAME);
        }
    }
    if let Err(flaws) = Users::parse(text) {
        check(&flaws, text);
    }
});

fn check(flaws: &[Flaw], text: &str) {
    assert!((1..=100).contains(&flaws.len()));
    for flaw in flaws {
        let line = text
            .lines()
            .nth(flaw.line - 1)
            .expect("the flaw is in a line");
        assert!((1..=line.chars().count() + 1).contains(&flaw.column));
    }
}
