//! What a reference names: a repository of a registry, or an image layout. Reads nothing.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use oci_client::Reference;

use super::OciError;

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a registry: `host/repository:tag`, `host/repository@sha256:…`, with or without `oci://` before it, as Istio writes it.
    Registry(Reference),
    /// In a folder: `oci:FOLDER`, `oci:FOLDER:TAG`, as `skopeo` writes it, or the folder itself.
    Layout {
        /// The folder.
        folder: PathBuf,
        /// The tag; the only image of the layout where there is none.
        tag: Option<String>,
    },
}

impl Place {
    /// Reads a reference. A folder with a file `oci-layout` is a layout.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, OciError> {
        if Path::new(text).join("oci-layout").is_file() {
            return Ok(Self::Layout { folder: PathBuf::from(text), tag: None });
        }
        if let Some(layout) = text.strip_prefix("oci:").filter(|rest| !rest.starts_with("//")) {
            // A tag has no `/`: what follows the last `:` is one unless it is a part of a path.
            let (folder, tag) = match layout.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
                Some((folder, tag)) => (folder, Some(tag.to_owned())),
                None => (layout, None),
            };
            return Ok(Self::Layout { folder: PathBuf::from(folder), tag });
        }
        let name = text.strip_prefix("oci://").unwrap_or(text);
        let wrong = |reason: String| OciError::Reference { reference: text.to_owned(), reason };
        if let Some((scheme, _)) = name.split_once("://") {
            return Err(wrong(format!("`{scheme}://` names no registry")));
        }
        Reference::from_str(name).map(Self::Registry).map_err(|error| wrong(error.to_string()))
    }

    /// Whether a text can only mean an image: `oci:…`, a pinned digest, a layout, or a name whose first part is a host and that is no file.
    #[must_use]
    pub fn is_image(text: &str) -> bool {
        let host = text.split_once('/').map_or("", |(host, _)| host);
        let names_host = host.contains(['.', ':']) && !host.starts_with('.') || host == "localhost";
        text.starts_with("oci:")
            || text.contains("@sha256:")
            || Path::new(text).join("oci-layout").is_file()
            || (names_host && !Path::new(text).exists())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match Place::parse(text) {
            Ok(Place::Registry(reference)) => format!("registry {}", reference.whole()),
            Ok(Place::Layout { folder, tag }) => format!("layout {} {tag:?}", folder.display()),
            Err(error) => error.to_string(),
        };
        assert!(found.starts_with(expected), "{text}: {found}");
    }

    #[test]
    fn references() {
        check("registry.example:5000/weir/canary:1.0", "registry registry.example:5000/weir/canary:1.0");
        check("oci://registry.example/weir/canary:1.0", "registry registry.example/weir/canary:1.0");
        check("registry.example/weir/canary", "registry registry.example/weir/canary:latest");
        check("oci:out/canary", "layout out/canary None");
        check("oci:out/canary:1.0", "layout out/canary Some(\"1.0\")");
        check("oci:/a:b/canary", "layout /a:b/canary None");
        check(
            "https://registry.example/canary.wasm",
            "`https://registry.example/canary.wasm` is no image reference: `https://`",
        );
        check("registry.example/UPPER:1", "`registry.example/UPPER:1` is no image reference");
        check("", "`` is no image reference");
    }

    #[test]
    fn what_can_only_be_an_image() {
        for text in [
            "oci://a/b:1",
            "oci:out",
            "registry.example/a:1",
            "localhost/a",
            "localhost:5000/a",
            "a/b@sha256:00",
        ] {
            assert!(Place::is_image(text), "{text}");
        }
        for text in ["canary", "target/weir/canary.wasm", "./filters/canary", "../canary", "src/oci.rs"] {
            assert!(!Place::is_image(text), "{text}");
        }
    }
}
