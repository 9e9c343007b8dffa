//! Addresses, compared with the standard library.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn by_the_standard_library(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let with_port = text.parse::<SocketAddr>().map(|socket| socket.ip());
    with_port.or_else(|_| bare.unwrap_or(text).parse()).ok()
}

#[track_caller]
fn check(text: &str) {
    assert_eq!(parse(text.as_bytes()), text.parse().ok(), "{text:?}");
    assert_eq!(parse_with_port(text.as_bytes()), by_the_standard_library(text), "{text:?} with a port");
    assert_eq!(is_with_port(text.as_bytes()), text.parse::<SocketAddr>().is_ok(), "{text:?} has a port");
}

#[test]
fn texts_are_read_as_by_the_standard_library() {
    for text in [
        "",
        ":",
        "::",
        ":::",
        "::1",
        "1::",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "1:2:3:4::5:6:7:8",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1::2::3",
        "::1.2.3.4",
        "::ffff:1.2.3.4",
        "1:2:3:4:5:6:1.2.3.4",
        "1:2:3:4:5:6:7:1.2.3.4",
        "1.2.3.4::",
        "1:2:3:4:5:1.2.3.4::",
        "::1.2.3.4:5",
        "::1:2:3:4:5:6:1.2.3.4",
        "::1:2:3:4:5:1.2.3.4",
        "00001::",
        "0001::",
        "g::",
        "FE80::A",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.4",
        "01.2.3.4",
        "0.0.0.0",
        "256.1.1.1",
        "1.2.3.1234",
        "1..2.3",
        "1.2.3.4:80",
        "1.2.3.4:",
        "1.2.3.4:080",
        "1.2.3.4:65535",
        "1.2.3.4:65536",
        "1.2.3.4:1:2",
        "1.2.3.4:+1",
        "[::1]",
        "[::1]:80",
        "[::1]:",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1%5]:80",
        "[::1%4294967296]:80",
        "[::1%]:80",
        "[::1%5]",
        "::1%5",
        "[1.2.3.4]",
        "[1.2.3.4]:80",
        "[]",
        "[]:80",
        "[[::1]]",
        " 1.2.3.4",
        "1.2.3.4 ",
        "[::1]:80:90",
        "[::1%a]:1",
        "1:2",
        "1:80",
        ".:80",
        ":.",
        "[::1]]",
    ] {
        check(text);
    }
}

proptest! {
    #[test]
    fn any_text_is_read_as_by_the_standard_library(text in "[0-9a-fA-F:.\\[\\]%]{0,24}|([0-9]{1,3}\\.){3}[0-9]{1,3}(:[0-9]{1,6})?|\\[?([0-9a-f]{0,5}:){2,8}([0-9a-f]{0,4}|[0-9.]{7,15})(\\]:[0-9]{1,5})?") {
        check(&text);
    }

    #[test]
    fn any_address_is_written_as_by_the_standard_library(groups: [u16; 8], zeros: u8, v4: [u8; 4]) {
        let groups: [u16; 8] = std::array::from_fn(|index| if zeros & (1 << index) == 0 { 0 } else { groups[index] });
        for address in [IpAddr::from(groups), IpAddr::from(v4), Ipv4Addr::from(v4).to_ipv6_mapped().into()] {
            let want = address.to_string();
            prop_assert_eq!(String::from_utf8(text(address)).unwrap(), want.clone());
            check(&want);
        }
    }
}
