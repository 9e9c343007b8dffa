//! How values of attributes are written (`PROP-10`).

use std::time::Duration;

/// A value that an attribute can have.
pub trait ToAttribute {
    /// The bytes that Envoy would return.
    fn to_attribute(&self) -> Vec<u8>;
}

impl ToAttribute for str {
    fn to_attribute(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl ToAttribute for [u8] {
    fn to_attribute(&self) -> Vec<u8> {
        self.to_vec()
    }
}

impl ToAttribute for Vec<u8> {
    fn to_attribute(&self) -> Vec<u8> {
        self.clone()
    }
}

impl<T: ToAttribute + ?Sized> ToAttribute for &T {
    fn to_attribute(&self) -> Vec<u8> {
        (**self).to_attribute()
    }
}

impl ToAttribute for i64 {
    fn to_attribute(&self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

impl ToAttribute for u64 {
    fn to_attribute(&self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

impl ToAttribute for f64 {
    fn to_attribute(&self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

impl ToAttribute for bool {
    fn to_attribute(&self) -> Vec<u8> {
        vec![u8::from(*self)]
    }
}

impl ToAttribute for Duration {
    fn to_attribute(&self) -> Vec<u8> {
        (self.as_nanos() as i64).to_attribute()
    }
}
