//! From the text of a scalar to an amount of HTTP: a size, a percentage, a status, a share. Each either gives a value
//! that cannot be wrong or says what is wrong and how to write it.

use super::admission::{UNITS, meant_unit};
use super::{Wrong, cut, shown};
use crate::key::{Key, Shape};

/// The largest share of a pool.
pub(crate) const SHARE_MAX: u32 = 10_000;

/// `64KiB`, `10MiB` or `1GiB`, within the bounds of `key`.
pub(crate) fn size(text: &str, key: &Key) -> Result<u64, Wrong> {
    let not_one = |advice: String| Wrong::new(format!("{} is not a size", shown(text)), advice);
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(not_one(key.shape.expected()));
    }
    if unit.is_empty() {
        let number = cut(number);
        return Err(not_one(format!(
            "write the unit: {number}KiB, {number}MiB or {number}GiB"
        )));
    }
    let Some((_, bytes)) = UNITS.iter().find(|(known, _)| *known == unit) else {
        return Err(not_one(match meant_unit(unit) {
            Some(unit) => format!("did you mean `{}{unit}`?", cut(number)),
            None => key.shape.expected(),
        }));
    };
    let within = |size: &u64| match &key.shape {
        Shape::Size { least, most } | Shape::OffOrSize { least, most } => {
            (*least..=*most).contains(size)
        }
        _ => true,
    };
    let size = number.parse::<u64>().ok();
    let size = size.and_then(|number| number.checked_mul(*bytes));
    size.filter(within).ok_or_else(|| out_of_bounds(text, key))
}

/// `off` (`None`), or a size within the bounds of `key`.
pub(crate) fn off_or_size(text: &str, key: &Key) -> Result<Option<u64>, Wrong> {
    match text {
        "off" => Ok(None),
        "0" | "unlimited" | "none" | "-1" => Err(Wrong::new(
            format!("{} is not a size", shown(text)),
            "for any size write `off`",
        )),
        _ => size(text, key).map(Some),
    }
}

/// `20%`: 1 to 100.
pub(crate) fn percent(text: &str, key: &Key) -> Result<u8, Wrong> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || number == text {
        let advice = match is_number {
            true => format!("write {}%", cut(number)),
            false => key.shape.expected(),
        };
        return Err(Wrong::new(
            format!("{} is not a percentage", shown(text)),
            advice,
        ));
    }
    let percent = number.parse().ok();
    percent
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| out_of_bounds(text, key))
}

/// One of the statuses of `key`.
pub(crate) fn status(text: &str, key: &Key) -> Result<u16, Wrong> {
    let known = |status: &u16| match &key.shape {
        Shape::Status(statuses) => statuses.contains(status),
        _ => matches!(status, 425 | 429 | 500..=599),
    };
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let status = text.parse().ok().filter(|_| plain);
    status.filter(known).ok_or_else(|| {
        Wrong::new(
            format!("{} is not a status for `{}`", shown(text), key.name),
            key.shape.expected(),
        )
    })
}

/// The share of a pool: 0 to [`SHARE_MAX`].
pub(crate) fn share(text: &str) -> Result<u32, Wrong> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let share = text.parse().ok().filter(|_| plain);
    share.filter(|share| *share <= SHARE_MAX).ok_or_else(|| {
        Wrong::new(
            format!("{} is not the share of a pool", shown(text)),
            format!("expected a whole number from 0 to {SHARE_MAX}"),
        )
    })
}

fn out_of_bounds(text: &str, key: &Key) -> Wrong {
    Wrong::new(
        format!("{} is out of bounds", shown(text)),
        key.shape.expected(),
    )
}
