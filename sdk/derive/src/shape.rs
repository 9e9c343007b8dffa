//! The code for each shape of type: structs, enums, types that another one is converted into. Knows no attribute's syntax.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{DataEnum, DataStruct, DeriveInput, Error, Fields, FieldsNamed, Type};

use crate::attributes::{self, Absent, OfType};

/// Required fields are bits of a number.
const MAX_FIELDS: usize = 64;

/// A type that checks another one.
pub(crate) fn converted(from: &Type) -> TokenStream {
    quote! {
        let written = <#from as ::weir_sdk::config::FromConfig>::from_config(node, reader)?;
        match <Self as ::core::convert::TryFrom<#from>>::try_from(written) {
            ::core::result::Result::Ok(value) => ::core::option::Option::Some(value),
            ::core::result::Result::Err(reason) => reader.refuse(reason),
        }
    }
}

pub(crate) fn of_struct(
    input: &DeriveInput,
    data: &DataStruct,
    attributes: &OfType,
) -> syn::Result<TokenStream> {
    match &data.fields {
        Fields::Named(fields) => {
            if !attributes.denies_unknown {
                let reason = "FromConfig needs `#[serde(deny_unknown_fields)]`: the schema says then what the decoder does";
                return Err(Error::new_spanned(&input.ident, reason));
            }
            named(fields, attributes.has_default, &quote!(node), &quote!(Self))
        }
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            Ok(quote! { ::weir_sdk::config::FromConfig::from_config(node, reader).map(Self) })
        }
        _ => Err(Error::new_spanned(
            &input.ident,
            "FromConfig reads structs with named fields, or with one unnamed",
        )),
    }
}

/// Fields by their names, from what the expression `node` is.
fn named(
    fields: &FieldsNamed,
    has_default: bool,
    node: &TokenStream,
    made: &TokenStream,
) -> syn::Result<TokenStream> {
    if fields.named.len() > MAX_FIELDS {
        return Err(Error::new_spanned(fields, "FromConfig reads structs of at most 64 fields"));
    }
    let (mut names, mut locals, mut types, mut values, mut required, mut idents) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (index, field) in fields.named.iter().enumerate() {
        let attributes = attributes::of_part(&field.attrs)?;
        let Some(ident) = &field.ident else { continue };
        let (local, ty) = (format_ident!("field_{index}"), &field.ty);
        names.push(attributes.rename.unwrap_or_else(|| ident.unraw().to_string()));
        let (is_required, value) = match attributes.default {
            Some(Absent::Default) => (quote!(0), quote!(#local.unwrap_or_default())),
            Some(Absent::Call(path)) => (quote!(0), quote!(#local.unwrap_or_else(#path))),
            None if has_default => (quote!(0), quote!()),
            None => (
                quote!((!<#ty as ::weir_sdk::config::FromConfig>::IS_OPTIONAL as u64) << #index),
                quote!(#local.or_else(<#ty as ::weir_sdk::config::FromConfig>::absent)?),
            ),
        };
        required.push(is_required);
        values.push(value);
        types.push(ty);
        idents.push(ident);
        locals.push(local);
    }
    let value = if has_default {
        quote! {
            let mut made: Self = ::core::default::Default::default();
            #(if let ::core::option::Option::Some(given) = #locals { made.#idents = given; })*
            ::core::option::Option::Some(made)
        }
    } else {
        quote! { ::core::option::Option::Some(#made { #(#idents: #values,)* }) }
    };
    Ok(quote! {
        static FIELDS: ::weir_sdk::config::Fields =
            ::weir_sdk::config::Fields { names: &[#(#names),*], required: 0 #(| #required)* };
        #(let mut #locals: ::core::option::Option<#types> = ::core::option::Option::None;)*
        if !reader.object(#node, &FIELDS, &mut [#(&mut #locals),*]) {
            return ::core::option::Option::None;
        }
        #value
    })
}

pub(crate) fn of_enum(data: &DataEnum, attributes: &OfType) -> syn::Result<TokenStream> {
    let mut names = Vec::new();
    let mut arms = Vec::new();
    let is_plain = data.variants.iter().all(|variant| matches!(variant.fields, Fields::Unit));
    let last = data.variants.len().saturating_sub(1);
    for (index, variant) in data.variants.iter().enumerate() {
        let ident = &variant.ident;
        let written = attributes::of_part(&variant.attrs)?.rename.unwrap_or_else(|| {
            let name = ident.unraw().to_string();
            attributes.case.map_or(name.clone(), |case| case.apply(&name))
        });
        let value = match &variant.fields {
            Fields::Unit if is_plain => quote!(Self::#ident),
            Fields::Unit => quote!(reader.no_value(#written, content).then_some(Self::#ident)),
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                quote!(reader.value(#written, content).map(Self::#ident))
            }
            Fields::Named(fields) => {
                let read = named(fields, false, &quote!(node), &quote!(Self::#ident))?;
                quote!(reader.within(#written, content, |node, reader| { #read }))
            }
            Fields::Unnamed(_) => {
                return Err(Error::new_spanned(
                    variant,
                    "FromConfig reads variants with at most one unnamed field",
                ));
            }
        };
        names.push(written);
        let pattern = if index == last { quote!(_) } else { quote!(#index) };
        arms.push(quote!(#pattern => #value));
    }
    if names.is_empty() {
        return Err(Error::new_spanned(&data.variants, "FromConfig reads enums with at least one variant"));
    }
    let read = if is_plain {
        quote! { ::core::option::Option::Some(match reader.plain_variant(node, NAMES)? { #(#arms,)* }) }
    } else {
        quote! {
            let (index, content) = reader.variant(node, NAMES)?;
            match index { #(#arms,)* }
        }
    };
    Ok(quote! {
        static NAMES: &[&str] = &[#(#names),*];
        #read
    })
}
