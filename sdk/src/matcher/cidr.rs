//! Matching of the address a request comes from.
//!
//! Knows the attribute `source.address` and the header `x-forwarded-for`.

use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compile, compiled};
use crate::{At, ConfigError, FromConfig, Headers, Problems, RequestView, address};

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
    ranges: Box<[Cidr]>,
    trusted_hops: u32,
    invert: bool,
}

compiled!(CidrMatch => CidrMatcher);

impl Compile for CidrMatch {
    type Matcher = CidrMatcher;

    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<CidrMatcher> {
        if self.ranges.is_empty() {
            problems.add(at.field("ranges"), "needs at least one block, such as \"10.0.0.0/8\"");
        }
        let ranges = self.ranges.iter().enumerate();
        let ranges: Vec<Cidr> = ranges
            .filter_map(|(index, range)| problems.take(at.item("ranges", index), range.parse()))
            .collect();
        Some(CidrMatcher {
            ranges: ranges.into(),
            trusted_hops: self.xff_num_trusted_hops,
            invert: self.invert_match,
        })
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
    /// An IPv6 address, or an IPv4 address mapped into one.
    network: u128,
    mask: u128,
}

impl FromStr for Cidr {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refused = |reason: String| ConfigError::invalid("", reason);
        let unknown = || {
            refused(
                ["expected an address block such as \"10.0.0.0/8\", found ", &crate::config::quoted(text)]
                    .concat(),
            )
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address = address::parse(address.as_bytes()).ok_or_else(unknown)?;
        let bits = if address.is_ipv4() { 32_u32 } else { 128 };
        let length = match length {
            None => bits,
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length: u32 = length.parse().map_err(|_| unknown())?;
                if length > bits {
                    return Err(refused(
                        ["expected a length of at most ", &bits.to_string(), ", found ", &length.to_string()]
                            .concat(),
                    ));
                }
                length
            }
            Some(_) => return Err(unknown()),
        };
        // The length 0 shifts everything out.
        let mask = u128::MAX.checked_shl(bits.saturating_sub(length)).unwrap_or_default();
        // IPv4 lies in ::ffff:0:0/96, the upper bits of which count too.
        let mask = if address.is_ipv4() { mask | !u128::from(u32::MAX) } else { mask };
        Ok(Self { network: number(address) & mask, mask })
    }
}

impl Cidr {
    /// Whether the address lies in the block. An IPv4 address mapped into IPv6 is that IPv4 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        number(address) & self.mask == self.network
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
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
    let mut addresses = joined.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    parse_address(addresses.nth(usize::try_from(trusted_hops).ok()?)?)
}

/// An address, with or without a port.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    address::parse_with_port(text).map(|address| address.to_canonical())
}
