//! From the bytes of a configuration to a filter, or to lines of the log.

use std::rc::Rc;

use log::Level;

use super::super::wire::BufferType;
use super::super::{PluginHost, abi, logger};
use super::failed;
use crate::config::joined;
use crate::names::front;
use crate::{ConfigError, HttpFilter};

pub(super) fn configure<F: HttpFilter>(host: &PluginHost, size: u32) -> Option<Rc<F>> {
    let bytes = match size {
        0 => Ok(None),
        _ => abi::buffer(BufferType::PluginConfiguration, 0, usize::try_from(size).unwrap_or(usize::MAX)),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => {
            failed(host, ": configuration refused", &error);
            return None;
        }
    };
    match crate::parse(bytes.as_deref()).and_then(|config| F::configure(config, host)) {
        Ok(filter) => Some(Rc::new(filter)),
        Err(error) => {
            refused(host, &error);
            None
        }
    }
}

/// Logs why a configuration is refused, a line for each line of the text.
#[cold]
#[inline(never)]
fn refused(host: &PluginHost, error: &ConfigError) {
    let text = error.text();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let line = front(&mut rest, b'\n');
        logger::say(Level::Error, || joined(host.name(), ": configuration refused: ", line));
    }
}
