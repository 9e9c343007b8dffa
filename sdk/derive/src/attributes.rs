//! The attributes `#[serde(…)]` that are followed. Knows no code that is written for them.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, ExprPath, LitStr, Type};

/// Of a type.
#[derive(Default)]
pub(crate) struct OfType {
    pub(crate) denies_unknown: bool,
    /// What is not given is taken from the type's own `Default`.
    pub(crate) has_default: bool,
    pub(crate) case: Option<Case>,
    pub(crate) try_from: Option<Type>,
}

/// How names of variants are written.
#[derive(Clone, Copy)]
pub(crate) enum Case {
    Snake,
    ScreamingSnake,
}

/// Of a field or variant.
#[derive(Default)]
pub(crate) struct OfPart {
    pub(crate) rename: Option<String>,
    pub(crate) default: Option<Absent>,
}

/// What a field holds that is not given.
pub(crate) enum Absent {
    /// `Default::default()`.
    Default,
    /// What this function returns.
    Call(ExprPath),
}

pub(crate) fn of_type(attributes: &[Attribute]) -> syn::Result<OfType> {
    let mut found = OfType::default();
    each(attributes, |meta| {
        if meta.path.is_ident("deny_unknown_fields") {
            found.denies_unknown = true;
        } else if meta.path.is_ident("default") && !meta.input.peek(syn::Token![=]) {
            found.has_default = true;
        } else if meta.path.is_ident("try_from") {
            found.try_from = Some(text(meta)?.parse()?);
        } else if meta.path.is_ident("rename_all") {
            let case = text(meta)?;
            found.case = Some(match case.value().as_str() {
                "snake_case" => Case::Snake,
                "SCREAMING_SNAKE_CASE" => Case::ScreamingSnake,
                _ => {
                    return Err(syn::Error::new_spanned(
                        case,
                        "expected `snake_case` or `SCREAMING_SNAKE_CASE`",
                    ));
                }
            });
        } else {
            return Err(meta.error("FromConfig does not know this attribute"));
        }
        Ok(())
    })?;
    Ok(found)
}

pub(crate) fn of_part(attributes: &[Attribute]) -> syn::Result<OfPart> {
    let mut found = OfPart::default();
    each(attributes, |meta| {
        if meta.path.is_ident("default") {
            let is_call = meta.input.peek(syn::Token![=]);
            found.default = Some(if is_call { Absent::Call(text(meta)?.parse()?) } else { Absent::Default });
        } else if meta.path.is_ident("rename") {
            found.rename = Some(text(meta)?.value());
        } else if meta.path.is_ident("skip_serializing_if") {
            text(meta)?;
        } else {
            return Err(meta.error("FromConfig does not know this attribute"));
        }
        Ok(())
    })?;
    Ok(found)
}

fn each(
    attributes: &[Attribute],
    mut read: impl FnMut(&ParseNestedMeta<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute.parse_nested_meta(|meta| read(&meta))?;
    }
    Ok(())
}

fn text(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    meta.value()?.parse()
}

impl Case {
    /// A variant's name, each word of which begins in upper case.
    pub(crate) fn apply(self, name: &str) -> String {
        let mut whole = String::new();
        for (index, letter) in name.char_indices() {
            if index > 0 && letter.is_uppercase() {
                whole.push('_');
            }
            match self {
                Self::Snake => whole.extend(letter.to_lowercase()),
                Self::ScreamingSnake => whole.extend(letter.to_uppercase()),
            }
        }
        whole
    }
}
