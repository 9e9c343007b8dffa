//! The code for each shape of type: structs, enums, types that another one is converted into. Knows no attribute's syntax.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{DataEnum, DataStruct, DeriveInput, Error, Fields, FieldsNamed, Ident, Type};

use crate::attributes::{self, Absent, OfType};

/// Required fields are bits of a number, as are variants with a content.
const MAX_FIELDS: usize = 64;

/// What is written for a type.
pub(crate) struct Impl {
    /// The body of `blank`.
    pub(crate) blank: TokenStream,
    /// The functions that read.
    pub(crate) read: TokenStream,
    /// The body of `fill_part`, where it is read part by part.
    pub(crate) parts: Option<TokenStream>,
}

/// The functions of a type that is made and returned; the body is `from_config`'s.
fn returned(body: &TokenStream) -> TokenStream {
    quote! {
        #[inline(never)]
        fn from_config(
            node: &::weir_sdk::config::Node,
            reader: &mut ::weir_sdk::config::Reader,
        ) -> ::core::option::Option<Self> {
            #body
        }
    }
}

/// The functions of a type that is read where it belongs; the body is `fill`'s.
fn filled(body: &TokenStream) -> TokenStream {
    quote! {
        fn from_config(
            node: &::weir_sdk::config::Node,
            reader: &mut ::weir_sdk::config::Reader,
        ) -> ::core::option::Option<Self> {
            let mut made = <Self as ::weir_sdk::config::FromConfig>::blank();
            ::weir_sdk::config::FromConfig::fill(&mut made, node, reader).then_some(made)
        }
        #[inline(never)]
        fn fill(&mut self, node: &::weir_sdk::config::Node, reader: &mut ::weir_sdk::config::Reader) -> bool {
            #body
        }
    }
}

/// A type that checks another one.
pub(crate) fn converted(from: &Type) -> TokenStream {
    returned(&quote! {
        let written = <#from as ::weir_sdk::config::FromConfig>::from_config(node, reader)?;
        match <Self as ::core::convert::TryFrom<#from>>::try_from(written) {
            ::core::result::Result::Ok(value) => ::core::option::Option::Some(value),
            ::core::result::Result::Err(reason) => reader.refuse(reason),
        }
    })
}

pub(crate) fn of_struct(input: &DeriveInput, data: &DataStruct, attributes: &OfType) -> syn::Result<Impl> {
    match &data.fields {
        Fields::Named(fields) => {
            if !attributes.denies_unknown {
                let reason = "FromConfig needs `#[serde(deny_unknown_fields)]`: the schema says then what the decoder does";
                return Err(Error::new_spanned(&input.ident, reason));
            }
            let Named { idents, blanks, read } =
                named(fields, attributes.has_default, |_, ident| quote!(&mut self.#ident))?;
            let blank = match attributes.has_default {
                true => quote!(::core::default::Default::default()),
                false => quote!(Self { #(#idents: #blanks,)* }),
            };
            let Read { table, arms } = read;
            let read = filled(&quote!({ #table reader.object(node, &FIELDS, self) }));
            Ok(Impl { blank, read, parts: Some(quote!(match index { #arms })) })
        }
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok(Impl {
            blank: quote!(Self(::weir_sdk::config::FromConfig::blank())),
            read: filled(&quote!(::weir_sdk::config::FromConfig::fill(&mut self.0, node, reader))),
            parts: None,
        }),
        _ => Err(Error::new_spanned(
            &input.ident,
            "FromConfig reads structs with named fields, or with one unnamed",
        )),
    }
}

/// Fields with names.
struct Named {
    idents: Vec<Ident>,
    /// What each holds until it is read, or when it is not given.
    blanks: Vec<TokenStream>,
    read: Read,
}

/// What reads fields with names.
struct Read {
    /// The static `FIELDS`.
    table: TokenStream,
    /// By the variable `index`, from the variable `node`.
    arms: TokenStream,
}

/// Fields by their names; `place` is where one's value goes.
fn named(
    fields: &FieldsNamed,
    has_default: bool,
    place: impl Fn(usize, &Ident) -> TokenStream,
) -> syn::Result<Named> {
    if fields.named.len() > MAX_FIELDS {
        return Err(Error::new_spanned(fields, "FromConfig reads structs of at most 64 fields"));
    }
    let (mut names, mut idents, mut blanks, mut required, mut arms) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (index, field) in fields.named.iter().enumerate() {
        let attributes = attributes::of_part(&field.attrs)?;
        let Some(ident) = &field.ident else { continue };
        let ty = &field.ty;
        names.push(attributes.rename.unwrap_or_else(|| ident.unraw().to_string()));
        let (is_required, blank) = match attributes.default {
            Some(Absent::Default) => (quote!(0), quote!(::core::default::Default::default())),
            Some(Absent::Call(path)) => (quote!(0), quote!(#path())),
            None if has_default => (quote!(0), quote!()),
            None => (
                quote!((!<#ty as ::weir_sdk::config::FromConfig>::IS_OPTIONAL as u64) << #index),
                quote!(<#ty as ::weir_sdk::config::FromConfig>::blank()),
            ),
        };
        required.push(is_required);
        blanks.push(blank);
        let place = place(index, ident);
        arms.push(quote!(#index => ::weir_sdk::config::FromConfig::fill(#place, node, reader)));
        idents.push(ident.clone());
    }
    let names = text_of(&names);
    let table = quote! {
        static FIELDS: ::weir_sdk::config::Fields =
            ::weir_sdk::config::Fields { names: #names, required: 0 #(| #required)* };
    };
    Ok(Named { idents, blanks, read: Read { table, arms: quote!(#(#arms,)* _ => false) } })
}

/// Names in one text, each with a NUL behind it.
fn text_of(names: &[String]) -> String {
    names.iter().flat_map(|name| [name, "\0"]).collect()
}

pub(crate) fn of_enum(data: &DataEnum, attributes: &OfType) -> syn::Result<Impl> {
    let (mut names, mut blanks, mut takes, mut arms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let is_plain = data.variants.iter().all(|variant| matches!(variant.fields, Fields::Unit));
    for variant in &data.variants {
        let ident = &variant.ident;
        names.push(attributes::of_part(&variant.attrs)?.rename.unwrap_or_else(|| {
            let name = ident.unraw().to_string();
            attributes.case.map_or(name.clone(), |case| case.apply(&name))
        }));
        takes.push(!matches!(variant.fields, Fields::Unit));
        match &variant.fields {
            Fields::Unit => blanks.push(quote!(Self::#ident)),
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                blanks.push(quote!(Self::#ident(::weir_sdk::config::FromConfig::blank())));
                arms.push(quote! {
                    Self::#ident(value) => ::weir_sdk::config::FromConfig::fill(value, node, reader)
                });
            }
            Fields::Named(fields) => {
                let local = |index: usize| format_ident!("field_{index}");
                let Named { idents, blanks: parts, read: Read { table, arms: fields } } =
                    named(fields, false, |index, _| local(index).into_token_stream())?;
                let locals = (0..idents.len()).map(local);
                blanks.push(quote!(Self::#ident { #(#idents: #parts,)* }));
                arms.push(quote!(Self::#ident { #(#idents: #locals,)* } => {
                    #table
                    let mut parts = |index: usize, node: &::weir_sdk::config::Node, reader: &mut ::weir_sdk::config::Reader| {
                        match index { #fields }
                    };
                    reader.object(node, &FIELDS, &mut parts)
                }));
            }
            Fields::Unnamed(_) => {
                return Err(Error::new_spanned(
                    variant,
                    "FromConfig reads variants with at most one unnamed field",
                ));
            }
        }
    }
    // The cheapest to make, and no part of itself.
    let first = takes.iter().position(|takes| !takes).unwrap_or(0);
    let Some(blank) = blanks.get(first).cloned() else {
        return Err(Error::new_spanned(&data.variants, "FromConfig reads enums with at least one variant"));
    };
    let last = blanks.len().saturating_sub(1);
    let made = blanks.iter().enumerate().map(|(index, blank)| match index == last {
        true => quote!(_ => #blank),
        false => quote!(#index => #blank),
    });
    let names = text_of(&names);
    if is_plain {
        let read = returned(&quote! {
            ::core::option::Option::Some(match reader.plain_variant(node, #names)? { #(#made,)* })
        });
        return Ok(Impl { blank, read, parts: None });
    }
    if takes.len() > MAX_FIELDS {
        let reason = "FromConfig reads enums with at most 64 variants where one has a content";
        return Err(Error::new_spanned(&data.variants, reason));
    }
    let bits = takes.iter().rev().fold(0_u64, |bits, takes| bits << 1 | u64::from(*takes));
    let rest = takes.contains(&false).then(|| quote!(_ => true,));
    let read = filled(&quote! {
        static NAMES: &str = #names;
        let ::core::option::Option::Some((index, content)) = reader.variant(node, NAMES) else {
            return false;
        };
        *self = match index { #(#made,)* };
        reader.content(NAMES, #bits, index, content, self)
    });
    Ok(Impl { blank, read, parts: Some(quote!(match self { #(#arms,)* #rest })) })
}
