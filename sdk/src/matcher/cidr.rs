//! Matching of the address a request comes from.
//!
//! Knows the attribute `source.address` and the header `x-forwarded-for`.

use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compile, compiled};
use crate::config::{joined, number};
use crate::{At, ConfigError, FromConfig, Headers, Problems, RequestView, address, names};

/// The addresses a request may come from: any of `ranges`.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CidrMatch {
    /// Address blocks such as `10.0.0.0/8` or `2001:db8::/32`; an address alone is a block of one. Not empty.
    pub ranges: Vec<String>,
    /// How many proxies in front of this one are trusted to write `x-forwarded-for`, as Envoy's option of that name counts them.
    ///
    /// With 0 the address is what Envoy itself takes for the client's (attribute `source.address`). With n it is the one before the
    /// last n in `x-forwarded-for` as it stands when filters see it: Envoy has added the address of the connection at its end. Where
    /// there are fewer, it is `source.address`. Default: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub xff_num_trusted_hops: u32,
    /// Matches addresses outside the ranges. An address that is not known does not match either way. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert_match: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A compiled [`CidrMatch`].
#[derive(Clone, Debug)]
pub struct CidrMatcher {
    ranges: Vec<Cidr>,
    trusted_hops: u32,
    invert: bool,
}

compiled!(CidrMatch => CidrMatcher);

impl Compile for CidrMatch {
    type Matcher = CidrMatcher;

    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<CidrMatcher> {
        if self.ranges.is_empty() {
            problems.refuse(at, "ranges", "needs at least one block, such as \"10.0.0.0/8\"");
        }
        let mut ranges = Vec::with_capacity(self.ranges.len());
        for (index, range) in self.ranges.iter().enumerate() {
            match Cidr::read(range) {
                Ok(range) => ranges.push(range),
                Err(reason) => problems.add(at.item("ranges", index), reason),
            }
        }
        Some(CidrMatcher { ranges, trusted_hops: self.xff_num_trusted_hops, invert: self.invert_match })
    }
}

impl CidrMatcher {
    /// Whether the request comes from one of the ranges.
    #[must_use]
    pub fn is_match(&self, request: &dyn RequestView) -> bool {
        source_address(request, self.trusted_hops)
            .is_some_and(|address| self.ranges.iter().any(|range| range.contains(address)) != self.invert)
    }
}

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// An IPv6 address, or an IPv4 address mapped into one; 0 behind `length`.
    network: [u8; 16],
    /// In bits. IPv4 lies in ::ffff:0:0/96, the bits of which count, too.
    length: u8,
}

impl FromStr for Cidr {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::read(text).map_err(|reason| ConfigError::invalid("", reason))
    }
}

impl Cidr {
    fn read(text: &str) -> Result<Self, String> {
        let (address, length) = names::cut(text.as_bytes(), b'/');
        let address = address::parse(address);
        let before = if address.is_some_and(|address| address.is_ipv4()) { 96_u8 } else { 0 };
        let bits = 128_u8.saturating_sub(before);
        let length = match length {
            None => Some(bits.into()),
            Some(length) => names::digits(length).filter(|length| *length <= u32::MAX.into()),
        };
        let (Some(address), Some(length)) = (address, length) else {
            let known = "expected an address block such as \"10.0.0.0/8\", found ";
            return Err(joined(known, &crate::config::quoted(text), ""));
        };
        match u8::try_from(length) {
            Ok(length) if length <= bits => {
                let length = before.saturating_add(length);
                let mut network = octets(address);
                mask(&mut network, length);
                Ok(Self { network, length })
            }
            _ => {
                let (bits, length) = (number(bits.into()), number(length));
                Err(joined("expected a length of at most ", &bits, &joined(", found ", &length, "")))
            }
        }
    }

    /// Whether the address lies in the block. An IPv4 address mapped into IPv6 is that IPv4 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let mut network = octets(address);
        mask(&mut network, self.length);
        network == self.network
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Leaves the first bits of an address, and 0 behind them.
#[inline(never)]
pub(crate) fn mask(octets: &mut [u8; 16], length: u8) {
    let mut left = u32::from(length);
    for octet in octets {
        *octet &= !0xff_u8.checked_shr(left).unwrap_or(0);
        left = left.saturating_sub(8);
    }
}

/// The address of the client: what Envoy takes for it, or with `trusted_hops` the one before that many in `x-forwarded-for`
/// ([`CidrMatch::xff_num_trusted_hops`]).
#[must_use]
pub fn source_address(request: &dyn RequestView, trusted_hops: u32) -> Option<IpAddr> {
    forwarded(request, trusted_hops)
        .or_else(|| request.attribute(&["source", "address"]).and_then(|address| parse_address(&address)))
}

fn forwarded(headers: &(impl Headers + ?Sized), trusted_hops: u32) -> Option<IpAddr> {
    if trusted_hops == 0 {
        return None;
    }
    let joined = headers.joined("x-forwarded-for")?;
    let mut before = &*joined;
    let comma = |addresses: &[u8]| addresses.iter().rposition(|byte| *byte == b',');
    for _ in 0..trusted_hops {
        before = before.get(..comma(before)?)?;
    }
    let start = comma(before).map_or(0, |comma| comma.saturating_add(1));
    parse_address(before.get(start..)?.trim_ascii())
}

/// An address, with or without a port.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    address::parse_with_port(text).map(|address| address.to_canonical())
}
