//! IP addresses as text, without the code of the standard library for it, which is five times as long: a module carries what it uses.
//!
//! Both ways agree with the standard library on every text; the tests compare the two.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{number, push_hex};
use crate::names::{cut, digits};

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

/// Reads an address, and no more than that.
pub(crate) fn parse(text: &[u8]) -> Option<IpAddr> {
    v4(text).map(IpAddr::V4).or_else(|| v6(text).map(IpAddr::V6))
}

/// Reads an address with or without a port, IPv6 with a port in brackets, without one in brackets or not.
pub(crate) fn parse_with_port(text: &[u8]) -> Option<IpAddr> {
    let Some(text) = text.strip_prefix(b"[") else {
        // More than one colon is no port.
        let (address, port) = cut(text, b':');
        return match (v4(address), port) {
            (Some(address), Some(port)) => is_number(port, u16::MAX.into()).then_some(address.into()),
            _ => parse(text),
        };
    };
    let (address, rest) = cut(text, b']');
    let rest = rest?;
    if rest.is_empty() {
        return parse(address);
    }
    if !is_number(rest.strip_prefix(b":")?, u16::MAX.into()) {
        return None;
    }
    let (address, scope) = cut(address, b'%');
    let address = v6(address)?;
    scope.is_none_or(|scope| is_number(scope, u32::MAX.into())).then_some(address.into())
}

/// Whether the text is an address with a port, IPv6 in brackets, such as `192.0.2.1:8080` and `[2001:db8::1]:8080`.
#[must_use]
pub fn is_with_port(text: &[u8]) -> bool {
    parse_with_port(text).is_some() && parse(text).is_none() && !text.ends_with(b"]")
}

/// Whether the text is a decimal number up to this one; zeros before it are accepted.
fn is_number(text: &[u8], most: u64) -> bool {
    digits(text).is_some_and(|value| value <= most)
}

fn v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut rest = Some(text);
    let mut octets = [0; 4];
    for octet in &mut octets {
        let (part, others) = cut(rest?, b'.');
        if part.len() > 1 && part.starts_with(b"0") {
            return None;
        }
        *octet = u8::try_from(digits(part)?).ok()?;
        rest = others;
    }
    rest.is_none().then(|| octets.into())
}

/// The eight groups of an IPv6 address, and how many of them are filled.
#[derive(Default)]
struct Groups {
    all: [u16; 8],
    count: usize,
}

impl Groups {
    /// Reads groups between colons, of which the last may be an IPv4 address, behind those that are there.
    fn read(&mut self, text: &[u8], may_end_in_v4: bool) -> Option<()> {
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (part, others) = cut(text, b':');
            rest = others;
            if may_end_in_v4 && rest.is_none() && part.contains(&b'.') {
                let [a, b, c, d] = v4(part)?.octets();
                self.push(u16::from_be_bytes([a, b]))?;
                self.push(u16::from_be_bytes([c, d]))?;
            } else {
                if part.is_empty() || part.len() > 4 {
                    return None;
                }
                let mut group = 0_u16;
                for byte in part {
                    let digit = char::from(*byte).to_digit(16)?;
                    group = (group << 4) | u16::try_from(digit).ok()?;
                }
                self.push(group)?;
            }
        }
        Some(())
    }

    fn push(&mut self, group: u16) -> Option<()> {
        *self.all.get_mut(self.count)? = group;
        self.count = self.count.saturating_add(1);
        Some(())
    }
}

fn v6(text: &[u8]) -> Option<Ipv6Addr> {
    let gap = text.windows(2).position(|pair| pair == b"::");
    let (before, after) = match gap {
        Some(gap) => (text.get(..gap)?, text.get(gap.saturating_add(2)..)?),
        None => (text, &b""[..]),
    };
    let mut groups = Groups::default();
    if gap.is_none() || !before.is_empty() {
        groups.read(before, gap.is_none())?;
    }
    let head = groups.count;
    if !after.is_empty() {
        groups.read(after, true)?;
    }
    // The gap stands for one group at least.
    let missing = 8_usize.checked_sub(groups.count).filter(|missing| (*missing > 0) == gap.is_some())?;
    let mut whole = [0_u16; 8];
    for (index, group) in groups.all.iter().enumerate().take(groups.count) {
        let place = if index < head { index } else { index.saturating_add(missing) };
        *whole.get_mut(place)? = *group;
    }
    Some(whole.into())
}

/// An address as text: IPv6 in the form of RFC 5952, and an IPv4 address in it in the form of an IPv4 address.
pub(crate) fn text(address: IpAddr) -> Vec<u8> {
    let mut text = String::new();
    match address {
        IpAddr::V4(address) => push_v4(&mut text, address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => {
                text.push_str("::ffff:");
                push_v4(&mut text, address);
            }
            None => push_v6(&mut text, address.octets().as_chunks().0),
        },
    }
    text.into_bytes()
}

fn push_v4(text: &mut String, address: Ipv4Addr) {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        text.push_str(&number(octet.into()));
    }
}

fn push_v6(text: &mut String, groups: &[[u8; 2]]) {
    // The first of the longest runs of zeros.
    let (mut gap, mut longest, mut run) = (8, 1, 0_usize);
    for (index, group) in groups.iter().enumerate() {
        run = if *group == [0, 0] { run.saturating_add(1) } else { 0 };
        if run > longest {
            longest = run;
            gap = index.saturating_add(1).saturating_sub(run);
        }
    }
    for (index, group) in groups.iter().enumerate() {
        let in_gap = index >= gap && index < gap.saturating_add(longest);
        // One colon between two groups, and two for the gap.
        if index == gap || (index > 0 && !in_gap) {
            text.push(':');
        }
        if in_gap {
            if index == 7 {
                text.push(':');
            }
            continue;
        }
        push_hex(text, u16::from_be_bytes(*group).into());
    }
}
