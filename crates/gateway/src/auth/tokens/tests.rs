//! Files of tokens, good and bad, and how long it takes to look in them.

use std::time::Instant;

use super::*;

/// The SHA-256 of `secret`.
const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

#[test]
fn a_secret_finds_its_line() {
    let text = format!(
        "# tokens\n\n  \t\nanna sha256:{HASH} read,write:all\r\n{}\n",
        line("app.one-2@b_c", b"other", &[])
    );
    let tokens = Tokens::parse(&text).unwrap();
    assert_eq!(tokens.len(), 2);
    let anna = tokens.find(b"secret").unwrap();
    let scopes: Vec<&str> = anna.scopes.iter().map(AsRef::as_ref).collect();
    assert_eq!((&*anna.name, scopes), ("anna", vec!["read", "write:all"]));
    assert_eq!(&*tokens.find(b"other").unwrap().name, "app.one-2@b_c");
    assert!(tokens.has_name("anna") && !tokens.has_name("bert"));
    for wrong in [&b""[..], b"Secret", b"secret ", &[b'a'; 513]] {
        assert_eq!(tokens.find(wrong), None);
    }
    assert!(Tokens::parse("").unwrap().is_empty());
    assert_eq!(
        Tokens::parse(&text.to_uppercase().replace("SHA256", "sha256"))
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn bad_lines_are_told_with_their_places() {
    let check = |text: &str, expected: &str| {
        let flaws = Tokens::parse(text).unwrap_err();
        assert_eq!(flaws[0].to_string(), expected, "{text:.200}");
        assert!(!flaws[0].what.contains("hunter2"), "{flaws:?}");
    };
    let hash = format!("sha256:{HASH}");
    check("anna", "1:5: the line ends too early");
    check("\n\n anna hunter2", "3:7: this is no hash of a token");
    check("anna sha256:hunter2", "1:6: this is no hash of a token");
    check(
        &format!("anna sha512:{HASH}"),
        "1:6: this is no hash of a token",
    );
    check(&format!("anna {hash}0"), "1:6: this is no hash of a token");
    check(
        &format!("anna sha256:+{}", &HASH[1..]),
        "1:6: this is no hash of a token",
    );
    check(&format!("a:b {hash}"), "1:1: this is no name");
    check(&format!("zoë {hash}"), "1:1: this is no name");
    check(
        &format!("{} {hash}", "a".repeat(65)),
        "1:1: this is no name",
    );
    check(
        &format!("anna {hash} [read]"),
        "1:78: scopes stand without brackets",
    );
    check(
        &format!("anna {hash} read,"),
        "1:78: one of these is no scope",
    );
    check(
        &format!("anna {hash} a\"b"),
        "1:78: one of these is no scope",
    );
    check(
        &format!("anna {hash} {}a", "a,".repeat(64)),
        "1:78: these are more than 64 scopes",
    );
    check(
        &format!("anna {hash} read write"),
        "1:83: nothing follows the scopes of a line",
    );
    check(
        &format!("anna {hash}\nanna sha256:{}", "0".repeat(64)),
        "2:1: `anna` has a token already",
    );
    check(
        &format!("anna {hash}\nbert {hash}"),
        "2:6: another line has the same token",
    );
    check(
        &" ".repeat(flaw::FILE_BYTES_MAX + 1),
        "1:1: the file is longer than 16 MiB",
    );
    let many = "anna\n".repeat(1000);
    assert_eq!(Tokens::parse(&many).unwrap_err().len(), 100);
}

/// Welch's t of two series of measurements.
fn t(one: &[f64], other: &[f64]) -> f64 {
    let moments = |series: &[f64]| {
        let count = series.len() as f64;
        let mean = series.iter().sum::<f64>() / count;
        let variance = series
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / (count - 1.0);
        (mean, variance / count)
    };
    let ((mean, error), (other_mean, other_error)) = (moments(one), moments(other));
    (mean - other_mean) / (error + other_error).sqrt()
}

/// How far the times differ that `look` takes for two hashes, as the median of the t of several tries: each of
/// interleaved timings, without the outliers that the machine makes.
fn difference(one: &Digest, other: &Digest, look: impl Fn(&Digest)) -> f64 {
    const TRIES: usize = 7;
    const TIMINGS: usize = 30_000;
    // Both are looked at in one place: where it is makes a difference too.
    let mut place = Digest([0; 32]);
    let mut timing = |digest: &Digest| {
        std::hint::black_box(&mut place).0 = digest.0;
        let begun = Instant::now();
        (0..8).for_each(|_| look(std::hint::black_box(&place)));
        begun.elapsed().as_nanos() as f64
    };
    let mut found = [(); TRIES].map(|()| {
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        for turn in 0..TIMINGS {
            // Whoever comes second finds the caches warm, so each is second as often as the other.
            if turn % 2 == 0 {
                ones.push(timing(one));
                others.push(timing(other));
            } else {
                others.push(timing(other));
                ones.push(timing(one));
            }
        }
        let mut all = [&ones[..], &others[..]].concat();
        all.sort_by(f64::total_cmp);
        let limit = all[all.len() * 9 / 10];
        ones.retain(|value| *value <= limit);
        others.retain(|value| *value <= limit);
        t(&ones, &others).abs()
    });
    found.sort_by(f64::total_cmp);
    found[TRIES / 2]
}

/// Two wrong secrets, of which one has the hash of a known token but for its last byte, take the same time; a compare that
/// ends with the first wrong byte is told from that.
#[test]
fn the_time_of_a_look_does_not_depend_on_how_much_is_right() {
    let known = sha256(b"near");
    let (mut near, mut far) = (sha256(b"near"), sha256(b"near"));
    near.0[31] ^= 1;
    far.0[8] ^= 1;
    let text = format!("near sha256:{}\n", to_hex(&known.0));
    let tokens = Tokens::parse(&text).unwrap();
    let ours = difference(&near, &far, |digest| {
        assert!(!tokens.known.contains_key(digest));
    });
    let of_haste = difference(&near, &far, |digest| {
        let mut pairs = known.0.iter().zip(&digest.0);
        assert!(!pairs.all(|(known, own)| known == own));
    });
    // A machine that others use brings t to 5.
    assert!(
        of_haste > 500.0 && ours < of_haste / 50.0,
        "t = {ours}, in haste {of_haste}"
    );
}
