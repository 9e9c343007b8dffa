//! `#[derive(FromConfig)]`: what a type of a configuration is made of, as tables for the one decoder in `weir_sdk::config`.
//!
//! Knows no JSON and no wording. What it writes is small on purpose: the places of the fields and a call, where a derived visitor of serde
//! is a decoder of its own per type; decoding was a quarter of a module's code.

mod attributes;
mod shape;

use proc_macro::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, parse_macro_input};

/// Reads a struct with named fields, a struct of one unnamed field (as that field), or an enum (`"name"`, or `{"name": value}`).
///
/// It follows the attributes of serde that `JsonSchema` follows too, so that schema and decoder agree: of types `deny_unknown_fields` (which
/// structs must have), `default`, `rename_all` (of enums), `try_from`; of fields `default`, `default = "function"`, `rename`; of variants
/// `rename`. Attributes for writing are passed over; any other is an error.
///
/// The type gets serde's `Deserialize` as well, through the same code, for tests and for other formats.
#[proc_macro_derive(FromConfig, attributes(serde))]
pub fn from_config(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "FromConfig reads types without parameters"));
    }
    let attributes = attributes::of_type(&input.attrs)?;
    let shape::Impl { blank, read, parts } = match (&attributes.try_from, &input.data) {
        (_, Data::Struct(data)) => shape::of_struct(input, data, &attributes)?,
        (_, Data::Enum(data)) => shape::of_enum(data, &attributes)?,
        (_, Data::Union(_)) => return Err(Error::new_spanned(input, "FromConfig reads no unions")),
    };
    let (read, parts) = match &attributes.try_from {
        Some(from) => (shape::converted(from), None),
        None => (read, parts),
    };
    let name = &input.ident;
    let parts = parts.map(|parts| {
        quote! {
            #[automatically_derived]
            impl ::weir_sdk::config::Parts for #name {
                fn fill_part(
                    &mut self,
                    index: usize,
                    node: &::weir_sdk::config::Node,
                    reader: &mut ::weir_sdk::config::Reader,
                ) -> bool {
                    #parts
                }
            }
        }
    });
    Ok(quote! {
        #parts
        #[automatically_derived]
        impl ::weir_sdk::config::FromConfig for #name {
            fn blank() -> Self {
                #blank
            }
            #read
        }
        #[automatically_derived]
        impl<'de> ::weir_sdk::config::serde::Deserialize<'de> for #name {
            fn deserialize<D>(deserializer: D) -> ::core::result::Result<Self, D::Error>
            where
                D: ::weir_sdk::config::serde::Deserializer<'de>,
            {
                ::weir_sdk::config::through_serde(deserializer)
            }
        }
    })
}
