//! Values that all workers share, changed by compare-and-swap.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{HostError, PluginHost, Status, abi};
use crate::limit::Store;

/// How often [`Shared::update`] tries. Another worker must have succeeded for each try that fails, so this is more than ever
/// happens with fewer workers than that; beyond, the caller hears of it instead of blocking its worker.
const ATTEMPTS: u32 = 32;

/// Matches the number of no value that exists; Envoy counts them up from 1. A key that is *not* there accepts any number
/// (`SHR-02`), so with this one of two workers that both found nothing, the second to write is told.
const NOTHING_THERE: u32 = u32::MAX;

/// What is there is no value of the type.
const FOREIGN: HostError = HostError { call: "proxy_get_shared_data", status: Status::ParseFailure };

impl Store for PluginHost {
    /// # Errors
    /// The host refuses; [`Status::CasMismatch`] when 32 attempts in a row came too late, and nothing was written then.
    fn update(
        &self,
        key: &[u8],
        next: &mut dyn FnMut(Option<Vec<u8>>) -> Option<Vec<u8>>,
    ) -> Result<(), HostError> {
        swap(key, next)
    }
}

fn swap(key: &[u8], next: &mut dyn FnMut(Option<Vec<u8>>) -> Option<Vec<u8>>) -> Result<(), HostError> {
    let mut refused = HostError::new("proxy_set_shared_data", Status::CasMismatch);
    for _ in 0..ATTEMPTS {
        let (old, cas) = abi::shared_data(key)?.map_or((None, NOTHING_THERE), |(old, cas)| (Some(old), cas));
        let Some(new) = next(old) else {
            return Ok(());
        };
        match abi::set_shared_data(key, &new, cas) {
            Ok(()) => return Ok(()),
            Err(error) if error.status == Status::CasMismatch => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// How a value is written in shared data.
pub trait SharedValue: Sized {
    /// The bytes.
    fn encode(&self) -> Vec<u8>;
    /// The value of bytes; `None` when they are of something else.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl SharedValue for u64 {
    fn encode(&self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_le_bytes)
    }
}

impl SharedValue for Vec<u8> {
    fn encode(&self) -> Vec<u8> {
        self.clone()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

/// Any serde type, written as JSON. Costs microseconds: on every stream's path write a few bytes by hand instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned> SharedValue for Json<T> {
    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }
}

/// One value of the process, the same for every worker and every plugin with the same `vm_id` (`SHR-01`).
///
/// It lives until the last VM of that `vm_id` is gone, through changes of the configuration and of the module: put a version into
/// the key when its form changes. Plugins of Istio all have the empty `vm_id`, so begin the key with the filter's name.
pub struct Shared<T> {
    key: Rc<[u8]>,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { key: Rc::clone(&self.key), value: PhantomData }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&String::from_utf8_lossy(&self.key)).finish()
    }
}

impl<T: SharedValue> Shared<T> {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self { key: key.into(), value: PhantomData }
    }

    /// The value; `None` when nobody has written one.
    ///
    /// # Errors
    /// The host refuses; [`Status::ParseFailure`] when somebody wrote something else there.
    pub fn get(&self) -> Result<Option<T>, HostError> {
        match abi::shared_data(&self.key)? {
            None => Ok(None),
            Some((bytes, _)) => T::decode(&bytes).map(Some).ok_or(FOREIGN),
        }
    }

    /// Writes a value, whatever is there.
    ///
    /// # Errors
    /// The host refuses.
    pub fn set(&self, value: &T) -> Result<(), HostError> {
        abi::set_shared_data(&self.key, &value.encode(), 0)
    }

    /// Steps the value: `next` makes the new value, and an answer, of the old one. Called again with what is there then when
    /// another worker was faster, so it must do nothing but that.
    ///
    /// # Errors
    /// The host refuses; [`Status::CasMismatch`] when 32 attempts in a row came too late, and nothing was written then;
    /// [`Status::ParseFailure`] when somebody wrote something else there.
    pub fn update<R>(&self, mut next: impl FnMut(Option<T>) -> (T, R)) -> Result<R, HostError> {
        let mut answer = None;
        swap(&self.key, &mut |old| {
            let old = match old {
                None => None,
                Some(bytes) => match T::decode(&bytes) {
                    Some(old) => Some(old),
                    None => {
                        answer = None;
                        return None;
                    }
                },
            };
            let (new, said) = next(old);
            answer = Some(said);
            Some(new.encode())
        })?;
        answer.ok_or(FOREIGN)
    }
}
