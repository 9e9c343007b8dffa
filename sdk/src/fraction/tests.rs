//! The hash against published vectors.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn published_vectors() {
    assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
}
