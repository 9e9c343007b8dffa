//! The last steps of a build: a linked module becomes the one that is shipped.

use std::collections::BTreeMap;

use super::slim::{self, SlimError, Wanted};
use super::{BuildError, Crate, branches, constants, facts, order, outline};
use crate::inspect::{InspectError, METADATA_SECTION, Metadata, inspect, validate};

/// A module that can be shipped.
pub(super) struct Finished {
    pub(super) wasm: Vec<u8>,
    pub(super) names: BTreeMap<u32, String>,
    pub(super) removed: Vec<String>,
}

/// Makes a crate's linked module smaller and has it say what it is.
pub(super) fn of_crate(found: &Crate, linked: &[u8]) -> Result<Finished, BuildError> {
    let failed = |source: SlimError| BuildError::Slim { module: found.name.clone(), source };
    let slim =
        slim::slim(linked, Wanted { callbacks: found.weir.callbacks.as_ref(), panics: found.weir.panics })
            .map_err(failed)?;
    let slim = shortened(slim).map_err(failed)?;
    let inspection = inspect(&slim.wasm).map_err(|error| failed(error.into()))?;
    finished(slim, &facts::metadata(found, &inspection)?)
}

/// Makes any module smaller. It keeps what it said of itself; where it said nothing, it gets its name and what it imports.
pub(super) fn of_file(path: &str, name: &str, linked: &[u8]) -> Result<Finished, BuildError> {
    let failed = |source: SlimError| BuildError::Slim { module: path.to_owned(), source };
    let said = inspect(linked).map_err(|error| failed(error.into()))?.metadata;
    // What is not valid may be so no longer when a part of it is gone, and do something else.
    validate(linked).map_err(|error| failed(InspectError::from(error).into()))?;
    let slim = slim::slim(linked, Wanted::default()).map_err(failed)?;
    let slim = shortened(slim).map_err(failed)?;
    let inspection = inspect(&slim.wasm).map_err(|error| failed(error.into()))?;
    let said = said.unwrap_or_else(|| Metadata { name: name.to_owned(), ..Metadata::default() });
    finished(slim, &Metadata { hostcalls: facts::hostcalls(&inspection), ..said })
}

/// Makes jumps shorter, repeated code functions and long constants globals, and gives the functions that are called most the shortest numbers.
fn shortened(mut slim: slim::Slim) -> Result<slim::Slim, SlimError> {
    slim.wasm = branches::branches(&slim.wasm)?;
    let outlined = outline::outline(&slim.wasm)?;
    if outlined.wasm.len() < slim.wasm.len() {
        let added = outlined.functions.saturating_sub(outlined.added)..outlined.functions;
        slim.names
            .extend(added.filter_map(|index| Some((u32::try_from(index).ok()?, "repeated".to_owned()))));
        slim.wasm = outlined.wasm;
    }
    let ordered = order::order(&constants::constants(&slim.wasm)?)?;
    let number = |old: u32| ordered.numbers.get(usize::try_from(old).ok()?).copied();
    slim.names = slim.names.into_iter().filter_map(|(old, name)| Some((number(old)?, name))).collect();
    slim.wasm = ordered.wasm;
    Ok(slim)
}

fn finished(slim: slim::Slim, metadata: &Metadata) -> Result<Finished, BuildError> {
    let section =
        metadata.to_section().map_err(|source| BuildError::Io { path: METADATA_SECTION.into(), source })?;
    let wasm = slim::with_custom(&slim.wasm, METADATA_SECTION, &section);
    Ok(Finished { wasm, names: slim.names, removed: slim.removed })
}
