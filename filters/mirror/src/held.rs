//! How much memory a worker holds for copies: an account with a limit. Calls nothing.

use std::cell::Cell;
use std::rc::Rc;

/// The account of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Account(Rc<Book>);

#[derive(Debug)]
struct Book {
    used: Cell<usize>,
    limit: usize,
}

/// Bytes of an account, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    account: Account,
    bytes: usize,
}

impl Account {
    /// An empty account with this limit.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Rc::new(Book { used: Cell::new(0), limit }))
    }

    /// Takes bytes; nothing where they are too many.
    #[inline(never)]
    pub(crate) fn take(&self, bytes: usize) -> Option<Held> {
        let mut held = Held { account: self.clone(), bytes: 0 };
        held.grow(bytes).then_some(held)
    }
}

impl Held {
    /// Takes more bytes, or none and answers `false`.
    #[must_use]
    #[inline(never)]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let book = &self.account.0;
        let used = book.used.get().checked_add(bytes).filter(|used| *used <= book.limit);
        if let Some(used) = used {
            book.used.set(used);
            self.bytes = self.bytes.saturating_add(bytes);
        }
        used.is_some()
    }
}

impl Drop for Held {
    #[inline(never)]
    fn drop(&mut self) {
        let used = &self.account.0.used;
        used.set(used.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let account = Account::new(10);
        let mut first = account.take(6).unwrap();
        assert!(account.take(5).is_none() && !first.grow(5) && first.grow(4));
        assert!(account.take(1).is_none());
        drop(first);
        assert!(account.take(10).is_some() && account.0.used.get() == 0);
    }
}
