//! Shared data: one store per `vm_id`, one compare-and-swap counter for all (`SHR-01`, `SHR-02`).

use std::collections::HashMap;
use std::sync::Arc;

/// All stores.
#[derive(Debug, Default)]
pub(crate) struct SharedData {
    stores: HashMap<Arc<str>, Store>,
    cas: u32,
}

/// Keys with their values and compare-and-swap numbers.
type Store = HashMap<Vec<u8>, (Vec<u8>, u32)>;

/// Nothing was stored: somebody else stored since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CasMismatch;

impl SharedData {
    /// Value and compare-and-swap number of a key.
    pub(crate) fn get(&self, vm_id: &str, key: &[u8]) -> Option<(&[u8], u32)> {
        self.stores.get(vm_id)?.get(key).map(|(value, cas)| (value.as_slice(), *cas))
    }

    /// Stores; a `cas` of 0 or a key that is not there is unconditional.
    pub(crate) fn set(
        &mut self,
        vm_id: &Arc<str>,
        key: &[u8],
        value: &[u8],
        cas: u32,
    ) -> Result<(), CasMismatch> {
        if !self.stores.contains_key(vm_id) {
            self.stores.insert(Arc::clone(vm_id), HashMap::new());
        }
        let Some(store) = self.stores.get_mut(vm_id) else { return Ok(()) };
        let next = self.cas.wrapping_add(1);
        match store.get_mut(key) {
            Some((_, current)) if cas != 0 && cas != *current => return Err(CasMismatch),
            Some(entry) => {
                entry.0.clear();
                entry.0.extend_from_slice(value);
                entry.1 = next;
            }
            None => {
                store.insert(key.to_vec(), (value.to_vec(), next));
            }
        }
        self.cas = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shr_02_compare_and_swap() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut shared = SharedData::default();
        assert_eq!(shared.set(&a, b"k", b"1", 77), Ok(()), "a missing key takes any number");
        assert_eq!(shared.get("a", b"k"), Some((&b"1"[..], 1)));
        assert_eq!(shared.set(&b, b"k", b"2", 0), Ok(()));
        assert_eq!(shared.get("b", b"k"), Some((&b"2"[..], 2)), "one counter for all stores");
        assert_eq!(shared.set(&a, b"k", b"3", 2), Err(CasMismatch));
        assert_eq!(shared.set(&a, b"k", b"3", 1), Ok(()));
        assert_eq!(shared.get("a", b"k"), Some((&b"3"[..], 3)));
        assert_eq!(shared.set(&a, b"k", b"4", 0), Ok(()), "0 is unconditional");
        assert_eq!(shared.get("c", b"k"), None);
    }
}
