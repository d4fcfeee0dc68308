//! No two sockets of the plan may claim one address: the kernel would refuse the second, or, with SO_REUSEPORT,
//! silently share the connections between them. It compares what the file says and never asks the kernel.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::fields::Decoder;
use super::listeners::Bound;
use super::process::Doors;
use crate::place::Place;
use crate::plan::Bind;

/// What one socket takes for itself. All addresses of a family and one address of it are two claims: the kernel
/// gives a connection to the more specific of the two.
#[derive(PartialEq, Eq, Hash)]
enum Claim<'a> {
    Ip(SocketAddr),
    Unix(&'a Path),
}

/// Notes every address that is claimed a second time, by a listener or by a door of the operator.
pub(super) fn check(decoder: &mut Decoder<'_, '_>, bound: &[Bound], doors: &Doors) {
    let mut claimed: HashMap<Claim<'_>, (&Bind, Place)> = HashMap::new();
    for Bound { bind, place, .. } in bound {
        for claim in claims(bind) {
            if let Some((first, first_place)) = claimed.get(&claim) {
                twice(decoder, bind, *place, first, *first_place);
                break;
            }
            claimed.insert(claim, (bind, *place));
        }
    }
    check_doors(decoder, bound, doors);
}

fn claims(bind: &Bind) -> Vec<Claim<'_>> {
    match bind {
        Bind::Ip {
            addr,
            dual_stack: true,
        } => {
            vec![
                Claim::Ip(*addr),
                Claim::Ip(SocketAddr::new(
                    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    addr.port(),
                )),
            ]
        }
        Bind::Ip {
            addr,
            dual_stack: false,
        } => vec![Claim::Ip(*addr)],
        Bind::Unix(path) => vec![Claim::Unix(path)],
    }
}

fn twice(
    decoder: &mut Decoder<'_, '_>,
    bind: &Bind,
    place: Place,
    first: &Bind,
    first_place: Place,
) {
    if decoder.is_full() {
        return decoder.mistake(place, "this address is bound twice", [""; 0]);
    }
    let at = decoder.describe(first_place);
    if bind == first {
        return decoder.mistake(
            place,
            format!("`{bind}` is bound twice"),
            [format!("the first is at {at}")],
        );
    }
    let what = format!("`{bind}` overlaps with `{first}`");
    decoder.mistake(
        place,
        what,
        [
            format!("the other is at {at}"),
            "`:PORT` takes IPv4 and IPv6".to_owned(),
        ],
    );
}

/// The doors are opened without SO_REUSEPORT, so that here also one address of all clashes with all of them.
fn check_doors(decoder: &mut Decoder<'_, '_>, bound: &[Bound], doors: &Doors) {
    let http = doors.admin.http.as_ref();
    for Bound { bind, place, .. } in bound {
        let (door, door_place) = match bind {
            Bind::Ip { addr, dual_stack }
                if http.is_some_and(|http| clash(http, addr, *dual_stack)) =>
            {
                ("admin.http", doors.http_place)
            }
            Bind::Unix(path) if *path == doors.admin.socket => ("admin.socket", doors.socket_place),
            _ => continue,
        };
        if decoder.is_full() {
            return decoder.mistake(*place, "this address is bound twice", [""; 0]);
        }
        let set = match door_place {
            Some(place) => format!("`{door}` is set at {}", decoder.describe(place)),
            None => format!("it is not set and has its default; set `{door}` to move it"),
        };
        decoder.mistake(*place, format!("`{bind}` is taken by `{door}`"), [set]);
    }
}

fn clash(door: &SocketAddr, bound: &SocketAddr, dual_stack: bool) -> bool {
    let one_is_all = door.ip().is_unspecified() || bound.ip().is_unspecified();
    let same_family = dual_stack || door.is_ipv4() == bound.is_ipv4();
    door.port() == bound.port() && (door.ip() == bound.ip() || (one_is_all && same_family))
}
