//! What the states of a limit mean: as long as it is written alike, they go on being its own; else they are another's.

use std::hash::{Hash, Hasher};

use weir_sdk::fraction::xxh64;

/// Sixteen hexadecimal digits that are the same for what is written alike, in all workers and after every update.
pub(crate) fn meaning(of: impl Hash) -> String {
    let mut written = Written::default();
    of.hash(&mut written);
    written.digits()
}

/// Collects what is hashed; that is short.
#[derive(Default)]
struct Written(Vec<u8>);

impl Written {
    #[inline(never)]
    fn digits(&self) -> String {
        format!("{:016x}", self.finish())
    }
}

impl Hasher for Written {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        xxh64(&self.0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_means_something_else() {
        assert_eq!(meaning(("a", 1_u64)), meaning(("a", 1_u64)));
        assert_ne!(meaning(("a", 1_u64)), meaning(("a", 2_u64)));
        assert_ne!(meaning(["ab", "c"]), meaning(["a", "bc"]));
        assert_eq!(meaning(()).len(), 16);
    }
}
