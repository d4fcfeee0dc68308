//! From the text of a scalar to a network, a rate or a bandwidth, and back. Each either gives a value that cannot be
//! wrong or says what is wrong and how to write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;
use std::time::Duration;

use super::{Wrong, cut, duration_text, shown, unit_ms};
use crate::key::{Key, Shape};
use crate::plan::{Bandwidth, Network, Rate};

/// The bits before an IPv4 address that is written as IPv6 (RFC 4291 §2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// The units of a bandwidth and of a size, the largest first.
pub(super) const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// `10.0.0.0/8`, `fd00::/8`, or one address.
pub(crate) fn network(text: &str, key: &Key) -> Result<Network, Wrong> {
    let not_one = || {
        Wrong::new(
            format!("{} is not a network", shown(text)),
            key.shape.expected(),
        )
    };
    if matches!(text, "all" | "any" | "*") {
        let what = format!("{} is not a network", shown(text));
        return Err(Wrong::new(
            what,
            "for everybody write 0.0.0.0/0 and \"::/0\"",
        ));
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| not_one())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(prefix) => self::prefix(text, address, prefix, bits)?,
    };
    let network = Network {
        first: first(address, bits - prefix),
        prefix,
    };
    if let Some(plain) = not_mapped(network) {
        let what = format!("{} is an IPv4 network written as IPv6", shown(text));
        return Err(Wrong::new(what, format!("write {plain}")));
    }
    if network.first != address {
        return Err(Wrong::new(
            format!("{} has bits after its prefix", shown(text)),
            format!(
                "write {network} for the whole network, or {address}/{bits} for this address alone"
            ),
        ));
    }
    Ok(network)
}

fn prefix(text: &str, address: IpAddr, prefix: &str, bits: u8) -> Result<u8, Wrong> {
    let number = prefix.bytes().all(|byte| byte.is_ascii_digit()) && !prefix.is_empty();
    let length = prefix.parse::<u8>().ok().filter(|length| *length <= bits);
    match (number, length) {
        (true, Some(length)) => Ok(length),
        (true, None) => {
            let family = if bits == 32 { "IPv4" } else { "IPv6" };
            let what = format!("{} has a prefix that is too long", shown(text));
            Err(Wrong::new(
                what,
                format!("an {family} address has {bits} bits: expected /0 to /{bits}"),
            ))
        }
        (false, _) => {
            let what = format!("{} is not a network", shown(text));
            let mask = prefix.parse::<Ipv4Addr>().ok().filter(|_| bits == 32);
            let advice = match mask.map(Ipv4Addr::to_bits) {
                Some(mask) if mask.leading_ones() == mask.count_ones() => {
                    format!(
                        "write the length of the prefix: {address}/{}",
                        mask.count_ones()
                    )
                }
                _ => format!("expected a number of bits after the slash, such as {address}/{bits}"),
            };
            Err(Wrong::new(what, advice))
        }
    }
}

/// The address with its last `hosts` bits cleared.
fn first(address: IpAddr, hosts: u8) -> IpAddr {
    let hosts = u32::from(hosts);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(hosts).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(hosts).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

fn not_mapped(network: Network) -> Option<Network> {
    let IpAddr::V6(v6) = network.first else {
        return None;
    };
    Some(Network {
        first: v6.to_ipv4_mapped()?.into(),
        prefix: network.prefix.checked_sub(MAPPED_BITS)?,
    })
}

/// `50/s`, `100/10s` or `6000/m`, within the bounds of `key`.
pub(crate) fn rate(text: &str, key: &Key) -> Result<Rate, Wrong> {
    let not_one = |advice: String| Wrong::new(format!("{} is not a rate", shown(text)), advice);
    let Some((count, period)) = text.split_once('/') else {
        let advice = match is_number(text) {
            true => format!("write the period: {0}/s or {0}/m", cut(text)),
            false => key.shape.expected(),
        };
        return Err(not_one(advice));
    };
    let unit_at = period
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(period.len());
    let (number, unit) = period.split_at(unit_at);
    let number = if number.is_empty() { "1" } else { number };
    let Some(unit_ms) = unit_ms(unit).filter(|_| is_number(count)) else {
        return Err(not_one(key.shape.expected()));
    };
    let period = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms));
    let rate = match (count.parse().ok(), period.map(Duration::from_millis)) {
        (Some(count), Some(period)) => Some(Rate { count, period }),
        _ => None,
    };
    let within = |rate: &Rate| match &key.shape {
        Shape::Rate {
            count_max,
            period_least,
            period_most,
        } => {
            rate.count.get() <= *count_max && (*period_least..=*period_most).contains(&rate.period)
        }
        _ => true,
    };
    rate.filter(within).ok_or_else(|| {
        Wrong::new(
            format!("{} is out of bounds", shown(text)),
            key.shape.expected(),
        )
    })
}

/// A rate as the file writes it.
pub(crate) fn rate_text(rate: &Rate) -> String {
    let period = duration_text(rate.period);
    let period = match period.strip_prefix('1') {
        Some(unit) if !unit.starts_with(|c: char| c.is_ascii_digit()) => unit,
        _ => &period,
    };
    format!("{}/{period}", rate.count)
}

/// `64KiB/s`, `10MiB/s` or `1GiB/s`, within the bounds of `key`.
pub(crate) fn bandwidth(text: &str, key: &Key) -> Result<Bandwidth, Wrong> {
    let not_one =
        |advice: String| Wrong::new(format!("{} is not a bandwidth", shown(text)), advice);
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let (unit, per_second) = match rest.strip_suffix("/s") {
        Some(unit) => (unit, true),
        None => (rest, false),
    };
    if number.is_empty() {
        return Err(not_one(key.shape.expected()));
    }
    let Some((unit, bytes)) = UNITS.iter().find(|(known, _)| *known == unit) else {
        let advice = match meant_unit(unit) {
            Some(unit) => format!("did you mean `{}{unit}/s`?", cut(number)),
            None => key.shape.expected(),
        };
        return Err(not_one(advice));
    };
    if !per_second {
        return Err(not_one(format!("write {}{unit}/s", cut(number))));
    }
    let rate = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*bytes));
    let within = |rate: &u64| match &key.shape {
        Shape::Bandwidth { least, most } => (*least..=*most).contains(rate),
        _ => true,
    };
    rate.filter(within)
        .and_then(NonZeroU64::new)
        .map(Bandwidth)
        .ok_or_else(|| {
            Wrong::new(
                format!("{} is out of bounds", shown(text)),
                key.shape.expected(),
            )
        })
}

/// A bandwidth as the file writes it, in the largest unit that gives a whole number.
pub(crate) fn bandwidth_text(bandwidth: Bandwidth) -> String {
    byte_rate_text(bandwidth.0.get())
}

/// The same for a bound, which may be any number.
pub(crate) fn byte_rate_text(bytes: u64) -> String {
    format!("{}/s", bytes_text(bytes))
}

/// A size as the file writes it, in the largest unit that gives a whole number.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let whole = UNITS.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
    match whole {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => format!("{bytes}B"),
    }
}

/// The unit that was meant by one that is none, such as `MB`.
pub(super) fn meant_unit(unit: &str) -> Option<&'static str> {
    let meant = UNITS.iter().find(|(known, _)| {
        let first = &known[..1];
        unit.eq_ignore_ascii_case(known)
            || unit.eq_ignore_ascii_case(&format!("{first}B"))
            || unit.eq_ignore_ascii_case(first)
    });
    meant.map(|(unit, _)| *unit)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn a_rate_and_a_bandwidth_are_written_as_they_are_read() {
        for (count, seconds, text) in [
            (50, 1, "50/s"),
            (100, 10, "100/10s"),
            (6000, 60, "6000/m"),
            (1, 3600, "1/h"),
        ] {
            let count = NonZeroU32::new(count).unwrap();
            let period = Duration::from_secs(seconds);
            assert_eq!(Rate { count, period }.to_string(), text);
        }
        for (bytes, text) in [
            (1 << 10, "1KiB/s"),
            (10 << 20, "10MiB/s"),
            (1536 << 20, "1536MiB/s"),
            (2 << 40, "2048GiB/s"),
        ] {
            assert_eq!(Bandwidth(NonZeroU64::new(bytes).unwrap()).to_string(), text);
        }
    }
}
